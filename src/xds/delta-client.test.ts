import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { afterEach, before, suite, test } from 'node:test';
import { ServerCredentials, status } from '@grpc/grpc-js';
import { CertificateAuthority } from '#/identity/index.ts';
import { silentLogger, systemClock, type Clock } from '#/kit/index.ts';
import { DeltaClient, type DeltaClientOptions } from './delta-client.ts';
import type { Push, Rejection } from './held-resources.ts';
import { ScriptedServer } from './scripted.ts';

const address = 'type.googleapis.com/istio.workload.Address';
const policy = 'type.googleapis.com/istio.security.Authorization';

const open: (() => void)[] = [];
afterEach(() => {
  for (const close of open.splice(0).reverse()) close();
});

let authority: CertificateAuthority;
before(async () => {
  authority = await CertificateAuthority.selfSigned({ trustDomain: 'cluster.local' });
});

/** Real time, except that waiting is only noted down: every delay is over at once. */
function hasty(limit = Infinity): { clock: Clock; delays: number[] } {
  const delays: number[] = [];
  const sleep = (ms: number, signal?: AbortSignal): Promise<void> => {
    delays.push(Math.round(ms));
    return delays.length < limit
      ? new Promise((resolve) => setImmediate(resolve))
      : systemClock.sleep(3_600_000, signal);
  };
  return { clock: { ...systemClock, sleep }, delays };
}

async function until(done: () => boolean): Promise<void> {
  for (let i = 0; i < 1000 && !done(); i++) await new Promise((resolve) => setTimeout(resolve, 2));
  assert.ok(done(), 'did not happen');
}

async function serve(credentials?: ServerCredentials) {
  const server = new ScriptedServer();
  open.push(() => server[Symbol.dispose]());
  return { server, port: await server.listen(credentials) };
}

function start(port: number, options: Partial<DeltaClientOptions> = {}) {
  const pushes: Push[] = [];
  const states: string[] = [];
  const rejections: Rejection[] = [];
  const stop = new AbortController();
  open.push(() => stop.abort());
  const { clock, delays } = hasty();
  const client = new DeltaClient({
    address: `http://127.0.0.1:${port}`,
    rootCert: () => undefined,
    token: () => 'a-token',
    node: {
      id: 'ztunnel~10.0.0.1~z.istio-system~istio-system.svc.cluster.local',
      metadata: { NODE_NAME: 'n1' },
    },
    types: [address, policy],
    log: silentLogger,
    clock,
    onPush(push) {
      pushes.push({ ...push, upserts: push.upserts.map((one) => ({ ...one })) });
      return rejections;
    },
    onState: (state) => states.push(state),
    ...options,
  });
  client.start(stop.signal);
  return { client, pushes, states, rejections, delays, stop };
}

suite('a stream', () => {
  test('begins with the node and the types in order, and the headers', async () => {
    const { server, port } = await serve();
    start(port, { metadata: { 'X-Extra': 'yes' } });
    const stream = await server.streams.next();
    assert.equal(stream.header('authorization'), 'Bearer a-token');
    assert.equal(stream.header('x-extra'), 'yes');
    const [first, second] = [await stream.next(), await stream.next()];
    assert.deepEqual([first.typeUrl, second.typeUrl], [address, policy]);
    assert.equal(first.node?.id, 'ztunnel~10.0.0.1~z.istio-system~istio-system.svc.cluster.local');
    assert.deepEqual(first.node?.metadata, { NODE_NAME: 'n1' });
    for (const request of [first, second]) {
      assert.deepEqual(request.resourceNamesSubscribe, []);
      assert.deepEqual(request.resourceNamesUnsubscribe, []);
      assert.equal(request.responseNonce, '');
    }
  });

  test('acknowledges, and the client is synced after one full acceptance of every type', async () => {
    const { server, port } = await serve();
    const { client, pushes, rejections } = start(port);
    let synced = false;
    void client.synced.then(() => (synced = true));
    const stream = await server.streams.next();
    await stream.next();
    await stream.next();
    stream.respond({ typeUrl: address, nonce: 'n1', resources: [{ name: 'a' }] });
    const ack = await stream.next();
    assert.deepEqual([ack.typeUrl, ack.responseNonce, ack.errorDetail], [address, 'n1', undefined]);
    rejections.push({ name: 'p', reason: 'bad range' }, { name: 'q', reason: 'bad port' });
    stream.respond({
      typeUrl: policy,
      nonce: 'n2',
      resources: [{ name: 'p' }, { name: 'q' }, { name: 'r' }],
    });
    const nack = await stream.next();
    assert.equal(nack.responseNonce, 'n2');
    assert.equal(nack.errorDetail?.message, 'p: bad range; q: bad port');
    assert.equal(nack.errorDetail?.code, status.INVALID_ARGUMENT);
    assert.equal(synced, false);
    rejections.length = 0;
    stream.respond({ typeUrl: policy, nonce: 'n3', removed: ['r'] });
    await stream.next();
    await client.synced;
    assert.deepEqual(
      pushes.map(({ typeUrl, upserts, removed, first }) => [
        typeUrl,
        upserts.map(({ name }) => name),
        removed,
        first,
      ]),
      [
        [address, ['a'], [], true],
        [policy, ['p', 'q', 'r'], [], true],
        [policy, [], ['r'], false],
      ],
    );
    assert.equal(client.stats.messages.get(policy)?.count, 2);
    assert.ok((client.stats.messages.get(address)?.bytes ?? 0) > 50);
    assert.equal(client.state, 'connected');
  });

  test('answers a type that was not asked for with a refusal', async () => {
    const { server, port } = await serve();
    const { pushes } = start(port);
    const stream = await server.streams.next();
    await stream.next();
    await stream.next();
    stream.respond({ typeUrl: 'other', nonce: 'n1', resources: [{ name: 'a' }] });
    assert.match((await stream.next()).errorDetail?.message ?? '', /^other: this type was not asked for$/);
    assert.deepEqual(pushes, []);
  });

  test('that brings garbage is given up and made anew', async () => {
    const { server, port } = await serve();
    const { client } = start(port);
    const stream = await server.streams.next();
    stream.write(Buffer.from('12ff', 'hex'));
    await stream.cancelled;
    await server.streams.next();
    assert.equal(client.stats.terminations.Error, 1);
  });

  test('ends when the client is stopped, and no other follows', async () => {
    const { server, port } = await serve();
    const { client, stop, states } = start(port);
    const stream = await server.streams.next();
    await until(() => client.state === 'connected');
    stop.abort();
    await stream.cancelled;
    await until(() => client.stats.terminations.Complete === 1);
    assert.deepEqual(states, ['connecting', 'connected', 'disconnected']);
    assert.equal(server.streams.size, 0);
  });
});

suite('after a loss', () => {
  test('the client tells what it has, but not what it refused', async () => {
    const { server, port } = await serve();
    const { rejections } = start(port);
    let stream = await server.streams.next();
    await stream.next();
    await stream.next();
    stream.respond({
      typeUrl: address,
      nonce: 'n1',
      resources: [{ name: 'a' }, { name: 'b' }, { name: 'gone' }],
    });
    await stream.next();
    rejections.push({ name: 'b', reason: 'x' }, { name: 'c', reason: 'x' });
    stream.respond({
      typeUrl: address,
      nonce: 'n2',
      resources: [{ name: 'a', version: '2' }, { name: 'b', version: '2' }, { name: 'c' }],
      removed: ['gone'],
    });
    await stream.next();
    stream.end();
    stream = await server.streams.next();
    const first = await stream.next();
    assert.equal(first.typeUrl, address);
    assert.notEqual(first.node, undefined);
    assert.deepEqual(first.initialResourceVersions, { a: '2', b: '1' });
    assert.deepEqual((await stream.next()).initialResourceVersions, {});
  });

  test('the token is read again, and so are the roots', async () => {
    const { certPem, keyPem } = await authority.issueServing({ dnsNames: ['istiod.istio-system.svc'] });
    const pair = { cert_chain: Buffer.from(certPem), private_key: Buffer.from(keyPem) };
    const { server, port } = await serve(ServerCredentials.createSsl(null, [pair]));
    const foreign = await CertificateAuthority.selfSigned({ trustDomain: 'x' });
    let reads = 0;
    let tokens = 0;
    const { client } = start(port, {
      address: `https://127.0.0.1:${port}`,
      altHostname: 'istiod.istio-system.svc',
      rootCert: () => Buffer.from(reads++ === 0 ? foreign.rootsPem : authority.rootsPem),
      token: () => `token-${tokens++}`,
    });
    const stream = await server.streams.next();
    assert.ok(reads >= 2);
    assert.ok(client.stats.terminations.ConnectionError >= 1);
    const before = stream.header('authorization');
    stream.end();
    const next = await server.streams.next();
    assert.notEqual(next.header('authorization'), before);
  });

  test('a server with the wrong name is not accepted', async () => {
    const { certPem, keyPem } = await authority.issueServing({ dnsNames: ['other.svc'] });
    const pair = { cert_chain: Buffer.from(certPem), private_key: Buffer.from(keyPem) };
    const { server, port } = await serve(ServerCredentials.createSsl(null, [pair]));
    const reasons: (string | undefined)[] = [];
    const { client } = start(port, {
      address: `https://127.0.0.1:${port}`,
      rootCert: () => Buffer.from(authority.rootsPem),
      onState: (state, reason) => state === 'disconnected' && reasons.push(reason),
    });
    await until(() => client.stats.terminations.ConnectionError >= 2);
    assert.equal(server.streams.size, 0);
    assert.match(reasons[0] ?? '', /127\.0\.0\.1/);
  });

  test('a list of versions that the server found too long is left out once', async () => {
    const { server, port } = await serve();
    const { pushes } = start(port, { types: [address] });
    let stream = await server.streams.next();
    await stream.next();
    stream.respond({ typeUrl: address, nonce: 'n1', resources: [{ name: 'a' }, { name: 'b' }] });
    await stream.next();
    stream.fail(status.RESOURCE_EXHAUSTED, 'message larger than max');
    stream = await server.streams.next();
    assert.deepEqual((await stream.next()).initialResourceVersions, {});
    stream.respond({ typeUrl: address, nonce: 'n2', resources: [{ name: 'a' }] });
    await stream.next();
    assert.deepEqual(pushes[1]?.removed, ['b']);
    stream.end();
    stream = await server.streams.next();
    assert.deepEqual((await stream.next()).initialResourceVersions, { a: '1' });
  });
});

suite('the delay before the next try', () => {
  test('doubles from 10 ms to 15 s while nobody is there', async () => {
    const closed = createServer().listen(0, '127.0.0.1');
    await once(closed, 'listening');
    const { port } = closed.address() as AddressInfo;
    closed.close();
    const { clock, delays } = hasty(13);
    const { client } = start(port, { clock });
    await until(() => delays.length === 13);
    assert.deepEqual(delays, [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5120, 10_240, 15_000, 15_000]);
    assert.equal(client.stats.terminations.ConnectionError, 13);
  });

  for (const [what, code, expected] of [
    ['grows when the server refuses', status.UNAUTHENTICATED, [10, 20, 40]],
    ['grows when the server is not ready', status.UNAVAILABLE, [10, 20, 40]],
    ['stays short after an unknown error', status.UNKNOWN, [10, 10, 10]],
    ['stays short after a cancellation', status.CANCELLED, [10, 10, 10]],
    ['stays short after a deadline', status.DEADLINE_EXCEEDED, [10, 10, 10]],
  ] as const)
    test(what, async () => {
      const { server, port } = await serve();
      const { clock, delays } = hasty(3);
      start(port, { clock });
      for (let i = 0; i < 3; i++) (await server.streams.next()).fail(code, 'no');
      await until(() => delays.length === 3);
      assert.deepEqual(delays, expected);
    });

  test('stays short after an end in good order, and after the connection is dropped', async () => {
    const { server, port } = await serve();
    const { client, delays } = start(port);
    (await server.streams.next()).end();
    await server.streams.next();
    assert.deepEqual(delays, [10]);
    assert.equal(client.stats.terminations.Reconnect, 1);
    server[Symbol.dispose]();
    await until(() => delays.length >= 2);
    assert.equal(delays[1], 10);
  });

  test('is not spent on a host that takes connections and says nothing, beyond a limit', async () => {
    const silent = createServer((socket) => socket.resume()).listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const accepted = once(silent, 'connection') as Promise<[Socket]>;
    open.push(() => silent.close());
    const { port } = silent.address() as AddressInfo;
    const reasons: (string | undefined)[] = [];
    const { clock } = hasty(1);
    start(port, {
      clock,
      connectTimeoutMs: 30,
      onState: (state, reason) => state === 'disconnected' && reasons.push(reason),
    });
    await until(() => reasons.length > 0);
    assert.match(reasons[0] ?? '', /no connection within 30 ms/);
    // And nothing of the attempt is left.
    const [socket] = await accepted;
    if (!socket.closed) await once(socket, 'close');
  });
});

suite('on demand', () => {
  const types = [{ typeUrl: address, onDemand: true }, policy];

  test('names are asked for as they come, taken back, and asked for again after a loss', async () => {
    const { server, port } = await serve();
    const { client } = start(port, { types });
    let stream = await server.streams.next();
    const first = await stream.next();
    assert.deepEqual([first.resourceNamesSubscribe, first.resourceNamesUnsubscribe], [['*'], ['*']]);
    assert.deepEqual((await stream.next()).resourceNamesSubscribe, []);
    client.subscribe(address, ['net/10.0.0.1', 'net/10.0.0.2']);
    client.subscribe(address, ['net/10.0.0.1']);
    const asked = await stream.next();
    assert.deepEqual(asked.resourceNamesSubscribe, ['net/10.0.0.1', 'net/10.0.0.2']);
    assert.equal(asked.responseNonce, '');
    client.unsubscribe(address, ['net/10.0.0.2', 'never']);
    assert.deepEqual((await stream.next()).resourceNamesUnsubscribe, ['net/10.0.0.2']);
    stream.end();
    stream = await server.streams.next();
    assert.deepEqual((await stream.next()).resourceNamesSubscribe, ['*', 'net/10.0.0.1']);
  });

  test('there is nothing to wait for; types that are not on demand cannot be asked', async () => {
    const { server, port } = await serve();
    const { client } = start(port, { types: [{ typeUrl: address, onDemand: true }] });
    await client.synced;
    assert.throws(() => client.subscribe(policy, ['a']), /not subscribed on demand/);
    await server.streams.next();
  });
});

test('a client starts only once', async () => {
  const { port } = await serve();
  const { client } = start(port);
  assert.throws(() => client.start(new AbortController().signal), /started already/);
});

test('an address that is none is a failure to connect, said in words', async () => {
  const reasons: (string | undefined)[] = [];
  const { clock } = hasty(1);
  start(1, {
    address: 'istiod:15012',
    clock,
    onState: (state, reason) => state === 'disconnected' && reasons.push(reason),
  });
  await until(() => reasons.length > 0);
  assert.match(reasons[0] ?? '', /https:\/\/host:port is needed/);
});
