// The life of a node's proxy: workers that die, certificates that are renewed or refused, pods that come again, and
// the end, with connections open.
import assert from 'node:assert/strict';
import { readdirSync, readlinkSync } from 'node:fs';
import { after, afterEach, before, suite, test } from 'node:test';
import type { PeerCertificate } from 'node:tls';
import type { Identity } from '#/model/index.ts';
import { hungUp, tlsIdentity, tlsOver } from './raw-peer.ts';
import { Talk } from './talk.ts';
import { World, type Pod } from './world.ts';

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Descriptors of this process that stand for network namespaces. */
function namespaces(): number {
  let count = 0;
  for (const fd of readdirSync('/proc/self/fd'))
    try {
      if (readlinkSync(`/proc/self/fd/${fd}`).startsWith('net:[')) count++;
    } catch {
      // Closed meanwhile.
    }
  return count;
}

/** Calls again until it is answered. */
async function comesBack<T>(attempt: () => Promise<T>): Promise<T> {
  for (let i = 0; ; i++)
    try {
      return await attempt();
    } catch (error) {
      if (i === 100) throw error;
      await pause(50);
    }
}

suite('a data worker that dies', () => {
  let world: World;
  let client: Pod;
  let local: Pod;
  let web: Pod;

  before(async () => {
    world = await World.make();
    client = await world.pod({ name: 'client', node: 'one' });
    local = await world.pod({ name: 'local', node: 'one' });
    web = await world.pod({ name: 'web', node: 'two' });
    world.echo(local);
    world.echo(web);
  });
  after(() => world[Symbol.asyncDispose]());

  test('on the other node, in the middle of a transfer: the client sees a reset, and connects again', async () => {
    const talk = await world.talk(client, web.ip);
    const bystander = await world.talk(client, local.ip);
    const source = setInterval(() => talk.socket.write(Buffer.alloc(256 * 1024)), 1);
    await talk.until(() => talk.received.length > 2 * 1024 * 1024);
    const watch = world.node('one').watch();
    await world.node('two').crash();
    assert.equal(await talk.end(2000), 'ECONNRESET');
    clearInterval(source);
    await bystander.echo('not disturbed');
    const line = await watch.one(`dst.addr=${web.ip}:15008`, 'connection complete');
    assert.match(line, /\terror\t.* error="/);
    assert.match(await comesBack(() => world.call(client, web.ip, 8080)), /^web sees/);
    await bystander.echo('still not');
    assert.equal(world.node('two').workers.crashes, 1);
    bystander.socket.end();
  });

  test('on its own node: the pods are served again, by what the worker before knew', async () => {
    const node = world.node('one');
    const talk = await world.talk(client, web.ip);
    const issued: Identity[] = [];
    const { certificate } = world;
    world.certificate = (identity) => {
      issued.push(identity);
      return certificate.call(world, identity);
    };
    await node.crash();
    await talk.end(2000);
    const stopping = node.workers.stop('unknown');
    assert.match(await comesBack(() => world.call(client, web.ip, 8080)), /^web sees/);
    await stopping;
    world.certificate = certificate;
    assert.deepEqual(issued, [], 'certificates are handed over, not asked for again');
    assert.deepEqual(node.lost, []);
    await world.quiet();
    for (let i = 0; (await node.metric('istio_tcp_sockets_open', 'source')) > 0 && i < 100; i++)
      await pause(10);
    assert.equal(
      await node.metric('istio_tcp_sockets_open', 'source'),
      0,
      'sockets of the dead are not counted',
    );
  });

  test('while it is away, a pod cannot be started, and one that goes is gone', async () => {
    const node = world.node('one');
    await node.crash();
    await assert.rejects(world.start(client), /data worker 0 is being started again|has ended/);
    await node.workers.stop(local.workload.uid);
    await comesBack(() => world.start(client));
    assert.match(await comesBack(() => world.call(client, web.ip, 8080)), /^web sees/);
    await assert.rejects(world.call(client, local.ip, 8080), /ECONNRESET/);
  });
});

suite('certificates', () => {
  let world: World;
  let client: Pod;
  let outsider: Pod;
  let web: Pod;

  before(async () => {
    world = await World.make();
    client = await world.pod({ name: 'client', node: 'one' });
    outsider = await world.pod({ name: 'outsider', node: 'one', plain: true });
    web = await world.pod({ name: 'web', node: 'two' });
    world.echo(web);
  });
  after(() => world[Symbol.asyncDispose]());
  afterEach(() => world.quiet());

  /** What the pod shows to a peer. The hand-shake is over on both sides when it returns. */
  async function presented(): Promise<PeerCertificate> {
    const identity = tlsIdentity(await world.certificate(world.identity(client)));
    const tls = await tlsOver(world.connect(outsider, web.ip, 15008), identity);
    const certificate = tls.getPeerCertificate();
    tls.resume();
    // The server's first frame: it has taken the client for what it is.
    await new Promise((resolve) => tls.once('data', resolve));
    tls.destroy();
    return certificate;
  }

  test('renewed: new sessions show the new one, open connections live on', async () => {
    const open = await world.talk(client, web.ip);
    const first = await presented();
    assert.equal(first.subjectaltname, `URI:${world.identity(web)}`);
    const node = world.node('two');
    node.workers.certificate(await world.issue(world.identity(web), world.authority));
    await world.settled();
    const second = await presented();
    assert.notEqual(second.serialNumber, first.serialNumber);
    await open.echo('lives on');
    open.socket.end();
  });

  test('dropped with its last pod, and asked for again when one is back', async () => {
    const node = world.node('two');
    const first = await presented();
    node.workers.forgetCertificate(world.identity(web));
    world.answer(world.identity(web), world.issue(world.identity(web), world.authority));
    assert.notEqual((await presented()).serialNumber, first.serialNumber);
  });

  test('refused: the connection fails on both sides with the reason; when it is issued, it works', async () => {
    const node = world.node('two');
    const identity = world.identity(web);
    const good = world.certificate(identity);
    node.workers.forgetCertificate(identity);
    world.answer(identity, Promise.reject(new Error('PERMISSION_DENIED: not on this node')));
    const watch = node.watch();
    const tls = tlsOver(world.connect(outsider, web.ip, 15008), { rejectUnauthorized: false });
    await tls.then(hungUp, () => {});
    assert.match(
      await watch.one('connection failed'),
      / error="identity error: no certificate for spiffe:\/\/cluster.local\/ns\/default\/sa\/web: PERMISSION_DENIED: not on this node"$/,
    );
    world.answer(identity, good);
    assert.equal((await presented()).subjectaltname, `URI:${identity}`);
  });

  test('slow: connections wait for it', async () => {
    const identity = world.identity(web);
    const good = await world.certificate(identity);
    world.node('two').workers.forgetCertificate(identity);
    let give = (): void => {};
    world.answer(identity, new Promise((resolve) => (give = () => resolve(good))));
    const waiting = [presented(), presented()];
    await pause(50);
    give();
    for (const { subjectaltname } of await Promise.all(waiting))
      assert.equal(subjectaltname, `URI:${identity}`);
  });
});

suite('a pod that goes', () => {
  let world: World;
  let client: Pod;
  let web: Pod;

  before(async () => {
    world = await World.make();
    client = await world.pod({ name: 'client', node: 'one' });
    web = await world.pod({ name: 'web', node: 'two' });
    world.echo(web);
    world.echo(client);
  });
  after(() => world[Symbol.asyncDispose]());
  afterEach(() => world.quiet());

  test('its connections end at once, with a line each, and it can come again', async () => {
    const outward = await world.talk(client, web.ip);
    const inward = await world.talk(web, client.ip);
    const waiting = new Talk(world.connect(client, '10.99.250.250', 80));
    await pause(20);
    const watch = world.node('one').watch();
    await world.node('one').workers.stop(client.workload.uid);
    for (const talk of [outward, inward, waiting]) assert.equal(await talk.end(1000), 'ECONNRESET');
    await world.settled();
    const drained = await watch.find('error="connection closed due to connection drain"');
    assert.equal(drained.length, 3, watch.lines.join('\n'));
    assert.equal(watch.lines.length, 3, watch.lines.join('\n'));
    await assert.rejects(world.call(client, web.ip, 8080), /ECONNREFUSED/);
    await world.start(client);
    assert.match(await world.call(client, web.ip, 8080), /^web sees/);
    assert.match(await world.call(web, client.ip, 8080), /^client sees/);
  });

  test('handed over twice: the second takes the place of the first', async () => {
    await world.start(client);
    await world.start(client);
    assert.match(await world.call(client, web.ip, 8080), /^web sees/);
    await world.node('one').workers.stop(client.workload.uid);
    await assert.rejects(
      world.call(client, web.ip, 8080),
      /ECONNREFUSED/,
      'no listener of the first is left',
    );
    await world.start(client);
  });

  test('however often it comes and goes, no handle on its namespace is left', async () => {
    const before = namespaces();
    for (let i = 0; i < 20; i++) {
      await world.node('one').workers.stop(client.workload.uid);
      await world.start(client);
    }
    assert.equal(namespaces(), before);
    assert.match(await world.call(client, web.ip, 8080), /^web sees/);
  });

  test('a port in its namespace is taken: refused with the address, and nothing is left of the attempt', async (t) => {
    await world.node('one').workers.stop(client.workload.uid);
    const taken = world.listen(client, 15001, () => {});
    t.after(() => taken.close());
    await assert.rejects(world.start(client), /bind.*15001.*EADDRINUSE|EADDRINUSE.*15001/);
    const refused = new Talk(world.connect(web, client.ip, 15008));
    assert.equal(await refused.end(), 'ECONNRESET');
    const before = namespaces();
    for (let i = 0; i < 5; i++) await assert.rejects(world.start(client), /EADDRINUSE/);
    assert.equal(namespaces(), before);
    await new Promise((resolve) => taken.close(resolve));
    await world.start(client);
    assert.match(await world.call(client, web.ip, 8080), /^web sees/);
  });
});

suite('shutting down', () => {
  async function fixture(t: { after(fn: () => Promise<void>): void }) {
    const world = await World.make();
    t.after(() => world[Symbol.asyncDispose]());
    const client = await world.pod({ name: 'client', node: 'one' });
    const web = await world.pod({ name: 'web', node: 'two' });
    world.echo(web);
    return { world, client, web };
  }

  test('takes nothing new, lets what is open finish, then ends', async (t) => {
    const { world, client, web } = await fixture(t);
    const node = world.node('two');
    const open = await world.talk(client, web.ip);
    let closed = false;
    const closing = node.workers.close(5000).then(() => {
      closed = true;
    });
    await pause(50);
    await open.echo('still here');
    await assert.rejects(world.call(client, web.ip, 8080), /ECONNRESET/);
    assert.equal(closed, false);
    open.socket.end();
    assert.equal(await open.end(), 'end');
    const start = Date.now();
    await closing;
    assert.ok(Date.now() - start < 1000);
    assert.equal(node.lines.filter((line) => line.includes('connection drain')).length, 0);
    assert.equal(node.workers.crashes, 0);
  });

  test('an upgrade: the new one serves beside the old, which lets its connections finish', async (t) => {
    const { world, client, web } = await fixture(t);
    const open = await world.talk(client, web.ip);
    const old = [await world.upgrade('two'), await world.upgrade('one')];
    const closing = Promise.all(old.map((node) => node.workers.close(5000)));
    await pause(50);
    for (let i = 0; i < 20; i++) assert.match(await world.call(client, web.ip, 8080), /^web sees/);
    await open.echo('still here');
    open.socket.end();
    assert.equal(await open.end(), 'end');
    await closing;
    assert.match(await world.call(client, web.ip, 8080), /^web sees/);
    for (const { lines } of old)
      assert.ok(
        lines.every((line) => !line.includes('error=')),
        lines.join('\n'),
      );
  });

  test('a reader that is slow gets the last byte before the end', async (t) => {
    const { world, client, web } = await fixture(t);
    const size = 3 * 1024 * 1024;
    world.listen(web, 9000, (socket) => socket.end(Buffer.alloc(size, 'x')));
    const slow = new Talk(world.connect(client, web.ip, 9000));
    await slow.until(() => slow.received.length > 0);
    slow.socket.pause();
    slow.socket.end();
    await pause(100);
    const closing = Promise.all([
      world.node('two').workers.close(5000),
      world.node('one').workers.close(5000),
    ]);
    await pause(100);
    slow.socket.resume();
    assert.equal(await slow.end(), 'end');
    assert.equal(slow.received.length, size);
    await closing;
  });

  test('ends what is left when the time is up, and says so', async (t) => {
    const { world, client, web } = await fixture(t);
    const [one, two] = [world.node('one'), world.node('two')];
    const open = await world.talk(client, web.ip);
    const watch = two.watch();
    const start = Date.now();
    await two.workers.close(200);
    assert.ok(Date.now() - start < 1500);
    assert.equal(await open.end(1000), 'ECONNRESET');
    await watch.one('direction="inbound"', 'error="connection closed due to connection drain"');
    await one.workers.close(200);
    await two.workers.stop(web.workload.uid);
  });
});
