// The ZDS server against scripted ztunnels on real sockets; namespaces are real, handed over as fds.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { test, type TestContext } from 'node:test';
import { ManualClock, createLogger } from '#/kit/index.ts';
import {
  createNetns,
  deleteNetns,
  linuxKernel,
  sameNetns,
  SeqpacketConnection,
  type Kernel,
  type Netns,
} from '#/sys/index.ts';
import { encodeAck } from '#/wire/index.ts';
import { Ztunnel } from './test-ztunnel.ts';
import { ZdsServer, type ZdsPod } from './zds-server.ts';

interface Fixture {
  readonly kernel: Kernel;
  readonly server: ZdsServer;
  readonly pods: Map<string, ZdsPod>;
  readonly clock: ManualClock;
  readonly log: string[];
  readonly path: string;
  pod(uid: string): ZdsPod & { netns: Netns };
  /** Waits until `test` holds, by turns of the event loop. */
  until(test: () => boolean): Promise<void>;
}

function fixture(t: TestContext): Fixture {
  const dir = mkdtempSync(`${tmpdir()}/aura-zds-`);
  const kernel = linuxKernel();
  const pods = new Map<string, ZdsPod>();
  const clock = new ManualClock(1_000_000);
  const log: string[] = [];
  const path = `${dir}/ztunnel.sock`;
  const server = new ZdsServer({
    path,
    kernel,
    clock,
    log: createLogger({ level: 'debug', format: 'plain', write: (line) => log.push(line) }, 'cni'),
    snapshot: () => [...pods.values()],
  });
  server.listen();
  const made: [string, Netns][] = [];
  t.after(() => {
    server.close();
    for (const [file, netns] of made) {
      netns[Symbol.dispose]();
      deleteNetns(file);
    }
    rmSync(dir, { recursive: true });
  });
  return {
    kernel,
    server,
    pods,
    clock,
    log,
    path,
    pod: (uid) => {
      const netns = createNetns(`${dir}/${uid}`);
      made.push([`${dir}/${uid}`, netns]);
      const pod = { uid, info: { name: `name-${uid}`, namespace: 'shop', serviceAccount: 'sa' }, netns };
      pods.set(uid, pod);
      return pod;
    },
    until: async (test) => {
      const deadline = Date.now() + 5000;
      while (!test()) {
        assert.ok(Date.now() < deadline, `never happened; the log:\n${log.join('')}`);
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
    },
  };
}

test('a ztunnel is told of every pod, then of every change, one by one', async (t) => {
  const f = fixture(t);
  const a = f.pod('a');
  f.pods.set('b', { uid: 'b', info: { name: 'b', namespace: 'shop', serviceAccount: 'sa' } });
  await assert.rejects(f.server.add(a), { kind: 'no-ztunnel', message: /no ztunnel is connected/ });
  const z = await Ztunnel.connect(t, f);
  assert.deepEqual(await z.snapshot(), ['add a', 'keep b']);
  const first = z.heard[0];
  assert.deepEqual(first?.request, {
    kind: 'add',
    uid: 'a',
    info: { name: 'name-a', namespace: 'shop', serviceAccount: 'sa' },
  });
  assert.ok(sameNetns(first.netns as Netns, a.netns));

  const [c, d] = [f.pod('c'), f.pod('d')];
  const added = [f.server.add(c), f.server.add(d)];
  await z.next();
  let second = false;
  const more = z.next().then((request) => ((second = true), request));
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(second, false, 'a second request before the first was acknowledged');
  await z.ack();
  await added[0];
  assert.deepEqual(await more, { kind: 'add', uid: 'd', info: d.info });
  await z.ack('no proxy for you');
  await assert.rejects(added[1] as Promise<void>, {
    kind: 'refused',
    message: /refused add d: no proxy for you/,
  });
  const gone = f.server.del('c');
  assert.deepEqual(await z.take(), { kind: 'del', uid: 'c' });
  await gone;
});

test('a change during the snapshot comes after it', async (t) => {
  const f = fixture(t);
  f.pod('a');
  const z = await Ztunnel.connect(t, f);
  await f.until(() => f.server.connected === 1);
  const added = f.server.add(f.pod('b'));
  const gone = f.server.del('a');
  assert.deepEqual(await z.snapshot(), ['add a']);
  assert.equal((await z.take())?.kind, 'add');
  assert.deepEqual(await z.take(), { kind: 'del', uid: 'a' });
  await Promise.all([added, gone]);
});

test('a pod that ztunnel refuses in the snapshot does not keep the others', async (t) => {
  const f = fixture(t);
  f.pod('a');
  f.pod('b');
  const z = await Ztunnel.connect(t, f);
  assert.equal((await z.take('bad netns'))?.kind, 'add');
  assert.deepEqual(await z.snapshot(), ['add b']);
  await f.until(() => f.log.some((line) => /refused a pod of the snapshot.*uid=a.*bad netns/.test(line)));
});

test('the newest gets new pods, all hear of removals, the previous takes over', async (t) => {
  const f = fixture(t);
  f.pod('a');
  const old = await Ztunnel.connect(t, f);
  assert.deepEqual(await old.snapshot(), ['add a']);
  const young = await Ztunnel.connect(t, f);
  assert.deepEqual(await young.snapshot(), ['add a']);
  assert.equal(f.server.connected, 2);
  const added = f.server.add(f.pod('b'));
  assert.equal((await young.take())?.kind, 'add');
  await added;
  const gone = f.server.del('a');
  f.pods.delete('a');
  assert.deepEqual(await young.take(), { kind: 'del', uid: 'a' });
  assert.deepEqual(await old.take(), { kind: 'del', uid: 'a' });
  await gone;
  young.close();
  const missed = await old.take();
  assert.deepEqual([missed?.kind, missed !== undefined && 'uid' in missed && missed.uid], ['add', 'b']);
  const next = f.server.add(f.pod('c'));
  await old.take();
  await next;
});

test('garbage ends its own connection and no other', async (t) => {
  const f = fixture(t);
  f.pod('a');
  const z = await Ztunnel.connect(t, f);
  await z.snapshot();
  const garbage: [Uint8Array, RegExp][] = [
    [Buffer.from('GET / HTTP/1.1\r\n\r\n'), /not a ztunnel/],
    [Buffer.from([8, 99]), /not a ztunnel.*99/],
    [Buffer.alloc(1024, 0xff), /not a ztunnel/],
  ];
  for (const [bytes, reason] of garbage) {
    const bad = await Ztunnel.connect(t, f, bytes);
    assert.equal(await bad.next(), undefined);
    await f.until(() => f.log.some((line) => reason.test(line)));
    f.clock.advance(1000);
  }
  const big = await SeqpacketConnection.connect(f.path, { maxDatagram: 5000 });
  await big.send(Buffer.alloc(4000));
  assert.equal(await big.receive(), undefined);
  f.clock.advance(1000);

  // A ztunnel that breaks the rules after its greeting.
  const breaks: ((z: Ztunnel) => Promise<unknown>)[] = [
    async (bad) => {
      await bad.snapshot();
      await bad.ack();
    },
    async (bad) => {
      await bad.next();
      await bad.socket.send(Buffer.from([0xff, 0xff]));
    },
    async (bad) => {
      await bad.next();
      await bad.socket.send(encodeAck(), [f.pod('x').netns.fd]);
      f.pods.delete('x');
    },
  ];
  for (const rude of breaks) {
    const bad = await Ztunnel.connect(t, f);
    await rude(bad);
    assert.equal(await bad.next(), undefined);
    f.clock.advance(1000);
  }
  const added = f.server.add(f.pod('b'));
  assert.equal((await z.take())?.kind, 'add');
  await added;
  assert.equal(f.server.connected, 1);
});

test('silence ends a connection after five seconds', async (t) => {
  const f = fixture(t);
  const mute = await SeqpacketConnection.connect(f.path);
  t.after(() => mute.close());
  f.pod('a');
  const z = await Ztunnel.connect(t, f);
  await z.snapshot();
  const added = f.server.add(f.pod('b'));
  await z.next();
  f.clock.advance(5000);
  await assert.rejects(added, { kind: 'lost', message: /no answer to add b within 5000 ms/ });
  assert.equal(await z.next(), undefined);
  assert.equal(await mute.receive(), undefined);
  assert.equal(f.server.connected, 0);
});

test('queues are bounded, and what waits fails when the connection ends', async (t) => {
  const f = fixture(t);
  const z = await Ztunnel.connect(t, f);
  await z.snapshot();
  await f.until(() => f.log.some((line) => line.includes('ztunnel has the pods')));
  const results = Array.from({ length: 105 }, async (_, i) => {
    const pod = f.pod(`uid-${i}`);
    await f.server.add(pod).catch((error: Error) => error.message);
    return f.server.connected;
  });
  const first = await Promise.race(results);
  assert.equal(first, 1, 'one that does not fit is refused at once');
  z.close();
  await Promise.all(results);
  assert.equal(f.server.connected, 0);
});

test('a ztunnel that is too far behind to hear of a removal starts anew', async (t) => {
  const f = fixture(t);
  const z = await Ztunnel.connect(t, f);
  await z.snapshot();
  await f.until(() => f.log.some((line) => line.includes('ztunnel has the pods')));
  await Promise.all(Array.from({ length: 102 }, (_, i) => f.server.del(`uid-${i}`)));
  assert.equal(f.server.connected, 0);
  assert.ok(f.log.some((line) => /ztunnel disconnected.*it was not told that uid-101 is gone/.test(line)));
});

test('no more than five connections are served in a second', async (t) => {
  const f = fixture(t);
  const clients: Ztunnel[] = [];
  for (let i = 0; i < 7; i++) clients.push(await Ztunnel.connect(t, f));
  await f.until(() => f.server.connected === 5);
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(f.server.connected, 5);
  f.clock.advance(1000);
  await f.until(() => f.server.connected === 7);
});

test('a second agent at the same path is refused; the socket goes with the agent', async (t) => {
  const f = fixture(t);
  const other = new ZdsServer({
    path: f.path,
    kernel: f.kernel,
    clock: f.clock,
    log: createLogger({ level: 'error', format: 'plain', write: () => {} }, 'x'),
    snapshot: () => [],
  });
  assert.throws(() => other.listen(), /in use/);
  f.server.close();
  await assert.rejects(SeqpacketConnection.connect(f.path), { code: 'ENOENT' });
});
