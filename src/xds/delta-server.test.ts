import assert from 'node:assert/strict';
import { afterEach, suite, test } from 'node:test';
import { Server, status } from '@grpc/grpc-js';
import { RpcError } from '#/identity/index.ts';
import { ManualClock, silentLogger } from '#/kit/index.ts';
import { DeltaServer, xdsServerOptions, type DeltaServerOptions } from './delta-server.ts';
import type { XdsResource } from './resource-source.ts';
import { ResourceTable, resourceVersion } from './resource-table.ts';
import { bind, DeafClient, ScriptedClient } from './scripted.ts';

const address = 'type.googleapis.com/istio.workload.Address';
const policy = 'type.googleapis.com/istio.security.Authorization';

const resource = (name: string, text = name): XdsResource => {
  const bytes = Buffer.from(text);
  return { name, version: resourceVersion(bytes), resource: bytes };
};

const open: Disposable[] = [];
afterEach(() => {
  for (const one of open.splice(0).reverse()) one[Symbol.dispose]();
});
const kept = <T extends Disposable>(one: T): T => {
  open.push(one);
  return one;
};

/** A server on loopback whose clock stands still: pushes go out when the test flushes. */
async function harness(options: Partial<DeltaServerOptions<string>> = {}) {
  const clock = new ManualClock(1_000_000);
  const [addresses, policies] = [new ResourceTable(), new ResourceTable()];
  const delta = kept(
    new DeltaServer<string>({
      authenticate: () => Promise.resolve('caller'),
      sources: new Map([
        [address, addresses],
        [policy, policies],
      ]),
      log: silentLogger,
      clock,
      ...options,
    }),
  );
  const server = new Server(xdsServerOptions());
  kept({ [Symbol.dispose]: () => server.forceShutdown() });
  delta.addTo(server);
  const port = await bind(server);
  const connect = (o?: ConstructorParameters<typeof ScriptedClient>[1]) => kept(new ScriptedClient(port, o));
  return { delta, clock, addresses, policies, connect, port };
}

/** Waits until something that happens by itself has happened. */
async function until(done: () => boolean): Promise<void> {
  for (let i = 0; i < 500 && !done(); i++) await new Promise((resolve) => setTimeout(resolve, 2));
  assert.ok(done(), 'did not happen');
}

const names = (response: { resources: readonly { name: string }[]; removedResources: readonly string[] }) => [
  ...response.resources.map(({ name }) => name),
  ...response.removedResources.map((name) => `-${name}`),
];

suite('a client of everything', () => {
  test('gets it, with versions, and is synced when it has acknowledged', async () => {
    const { delta, addresses, connect } = await harness({ identifier: 'control-1' });
    addresses.apply({ upserts: [resource('a'), resource('b')] });
    const client = connect();
    client.open(address);
    const response = await client.responses.next();
    assert.deepEqual(names(response), ['a', 'b']);
    assert.equal(response.typeUrl, address);
    assert.equal(response.controlPlane?.identifier, 'control-1');
    const [first] = response.resources;
    assert.equal(first?.version, resourceVersion(Buffer.from('a')));
    assert.equal(first?.resource?.typeUrl, address);
    assert.equal(Buffer.from(first?.resource?.value ?? []).toString(), 'a');
    const state = () => delta.status()[0]?.types[0];
    assert.equal(state()?.state, 'stale');
    client.ack(response);
    await until(() => state()?.state === 'synced');
    assert.equal(state()?.ackedNonce, response.nonce);
    assert.equal(state()?.wildcard, true);
    assert.equal(delta.status()[0]?.nodeId, 'node-1');
  });

  test('gets changes when the burst is over, workloads before policies', async () => {
    const { clock, addresses, policies, connect } = await harness();
    const client = connect();
    client.open(address);
    client.open(policy);
    for (let i = 0; i < 2; i++) client.ack(await client.responses.next());
    policies.apply({ upserts: [resource('n/p')] });
    addresses.apply({ upserts: [resource('a')] });
    clock.advance(99);
    addresses.apply({ upserts: [resource('b')], removed: ['a'] });
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(client.responses.size, 0);
    clock.advance(100);
    const first = await client.responses.next();
    assert.deepEqual([first.typeUrl, names(first)], [address, ['b', '-a']]);
    const second = await client.responses.next();
    assert.deepEqual([second.typeUrl, names(second)], [policy, ['n/p']]);
  });

  test('that does not answer gets no more, and later one response with all that has happened', async () => {
    const { delta, addresses, connect } = await harness();
    const client = connect();
    client.open(address);
    const first = await client.responses.next();
    for (let i = 0; i < 50; i++) {
      addresses.apply({ upserts: [resource('a', `${i}`), resource(`n${i}`)], removed: [`n${i - 1}`] });
      delta.flush();
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(client.responses.size, 0);
    assert.equal(delta.status()[0]?.types[0]?.state, 'stale');
    client.ack(first);
    const second = await client.responses.next();
    const told = names(second);
    assert.equal(new Set(told).size, told.length);
    assert.ok(told.includes('a') && told.includes('n49') && told.includes('-n0') && told.includes('-n48'));
    assert.equal(
      Buffer.from(second.resources.find(({ name }) => name === 'a')?.resource?.value ?? []).toString(),
      '49',
    );
  });

  test('is told of policies though an earlier response about workloads is unanswered, unless there is more of those', async () => {
    const { delta, addresses, policies, connect } = await harness();
    const client = connect();
    client.open(address);
    client.open(policy);
    const first = await client.responses.next();
    const second = await client.responses.next();
    assert.deepEqual([first.typeUrl, second.typeUrl], [address, policy]);
    client.ack(second);
    policies.apply({ upserts: [resource('n/p')] });
    delta.flush();
    const third = await client.responses.next();
    assert.equal(third.typeUrl, policy);
    client.ack(third);
    addresses.apply({ upserts: [resource('a')] });
    policies.apply({ upserts: [resource('n/q')] });
    delta.flush();
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(client.responses.size, 0);
    client.ack(first);
    assert.deepEqual(names(await client.responses.next()), ['a']);
    assert.deepEqual(names(await client.responses.next()), ['n/q']);
  });

  test('that comes back is told only what is different', async () => {
    const { addresses, connect } = await harness();
    addresses.apply({ upserts: [resource('same'), resource('changed')] });
    const client = connect();
    const version = resourceVersion(Buffer.from('same'));
    client.open(address, { initialResourceVersions: { same: version, changed: 'old', gone: 'old' } });
    assert.deepEqual(names(await client.responses.next()), ['changed', '-gone']);
  });
});

test('an on-demand client is told of what it asks for', async () => {
  const { delta, addresses, connect } = await harness({ implicitGroups: (_type, { id }) => [`node/${id}`] });
  addresses.apply({
    upserts: [
      { ...resource('mine'), groups: ['node/node-1'] },
      { ...resource('other'), aliases: ['/10.0.0.1'] },
    ],
  });
  const client = connect();
  client.open(address, { resourceNamesSubscribe: ['*'], resourceNamesUnsubscribe: ['*'] });
  const first = await client.responses.next();
  assert.deepEqual(names(first), ['mine']);
  client.ack(first);
  client.send({ typeUrl: address, resourceNamesSubscribe: ['/10.0.0.1'] });
  const second = await client.responses.next();
  assert.deepEqual(names(second), ['other']);
  assert.deepEqual(second.resources[0]?.aliases, ['/10.0.0.1']);
  assert.equal(delta.status()[0]?.types[0]?.wildcard, false);
});

suite('an answer', () => {
  test('with a stale nonce, or with one that was never sent, counts for nothing', async () => {
    const { delta, addresses, connect } = await harness();
    const client = connect();
    client.open(address);
    const first = await client.responses.next();
    client.ack(first);
    addresses.apply({ upserts: [resource('a')] });
    delta.flush();
    await client.responses.next();
    addresses.apply({ upserts: [resource('b')] });
    delta.flush();
    client.ack(first);
    client.send({ typeUrl: address, responseNonce: 'made up', errorDetail: { message: 'no' } });
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(client.responses.size, 0);
    assert.equal(delta.status()[0]?.types[0]?.nacks, 0);
  });

  test('that rejects is kept for status until a later response is accepted, and does not stop pushes', async () => {
    const { delta, addresses, connect } = await harness();
    const client = connect();
    client.open(address);
    client.ack(await client.responses.next(), 'a: bad port');
    await until(() => delta.status()[0]?.types[0]?.state === 'rejected');
    assert.equal(delta.status()[0]?.types[0]?.error, 'a: bad port');
    assert.equal(delta.stats.get(address)?.nacks, 1);
    addresses.apply({ upserts: [resource('a')] });
    delta.flush();
    client.ack(await client.responses.next());
    await until(() => delta.status()[0]?.types[0]?.state === 'synced');
    assert.equal(delta.status()[0]?.types[0]?.error, undefined);
    assert.equal(delta.status()[0]?.types[0]?.nacks, 1);
  });
});

suite('a stream is refused', () => {
  const refused = async (
    options: Partial<DeltaServerOptions<string>>,
    act: (client: ScriptedClient) => void,
    code: number,
    details: RegExp,
  ): Promise<void> => {
    const { delta, connect } = await harness(options);
    const client = connect({ headers: { authorization: 'Bearer x' } });
    act(client);
    const end = await client.ended;
    assert.equal(end.code, code, end.details);
    assert.match(end.details, details);
    await until(() => delta.status().length === 0);
  };

  test('when the caller is nobody', () =>
    refused(
      {
        authenticate: (call) =>
          Promise.reject(new RpcError('UNAUTHENTICATED', `not ${call.header('authorization')}`)),
      },
      (client) => client.open(address),
      status.UNAUTHENTICATED,
      /^not Bearer x$/,
    ));

  test('without a word of why when authentication itself breaks', () =>
    refused(
      { authenticate: () => Promise.reject(new Error('secret')) },
      (client) => client.open(address),
      status.INTERNAL,
      /^internal error$/,
    ));

  test('when the caller may not be that node', () =>
    refused(
      {
        checkNode: (caller, node) => {
          throw new RpcError('PERMISSION_DENIED', `${caller} is not ${node.id}`);
        },
      },
      (client) => client.open(address),
      status.PERMISSION_DENIED,
      /^caller is not node-1$/,
    ));

  test('when it does not say who it is', () =>
    refused(
      {},
      (client) => client.send({ typeUrl: address }),
      status.INVALID_ARGUMENT,
      /must name its node/,
    ));

  test('when it speaks something else', () =>
    refused(
      {},
      (client) => client.stream.write(Buffer.from('0aff', 'hex')),
      status.INVALID_ARGUMENT,
      /not a DeltaDiscoveryRequest/,
    ));

  test('when its request is larger than 4 MiB', () =>
    refused(
      {},
      (client) => client.open(address, { resourceNamesSubscribe: ['x'.repeat(5_000_000)] }),
      status.RESOURCE_EXHAUSTED,
      /larger than max/,
    ));

  test('when there are too many', () =>
    refused(
      { maxConnections: 0 },
      (client) => client.open(address),
      status.RESOURCE_EXHAUSTED,
      /more than 0/,
    ));

  test('when it asks for names without end', () =>
    refused(
      {},
      (client) => {
        const many = (from: number) => Array.from({ length: 110_000 }, (_, i) => `n${from + i}`);
        client.open(address, { resourceNamesSubscribe: many(0) });
        client.send({ typeUrl: address, resourceNamesSubscribe: many(1_000_000) });
      },
      status.RESOURCE_EXHAUSTED,
      /names on demand/,
    ));
});

suite('one client', () => {
  test('that asks for a type that is not served gets the others', async () => {
    const { connect } = await harness();
    const client = connect();
    client.open('type.googleapis.com/unknown');
    client.open(policy);
    assert.equal((await client.responses.next()).typeUrl, policy);
  });

  test('that hangs up is forgotten', async () => {
    const { delta, connect } = await harness();
    const [polite, rude] = [connect(), connect()];
    polite.open(address);
    rude.open(address);
    await Promise.all([polite.responses.next(), rude.responses.next()]);
    assert.equal(delta.status().length, 2);
    polite.stream.end();
    assert.equal((await polite.ended).code, status.OK);
    rude.stream.cancel();
    await until(() => delta.status().length === 0);
  });

  test('that does not read is cut off, and the others do not notice', async () => {
    const { delta, clock, addresses, connect, port } = await harness({ maxUnsentBytes: 1 });
    addresses.apply({ upserts: [{ ...resource('large'), resource: Buffer.alloc(8_000_000) }] });
    const deaf = kept(new DeafClient(port, { typeUrl: address, node: { id: 'deaf' } }));
    const other = connect();
    await until(() => delta.stats.get(address)?.pushes === 1);
    // The budget for bytes under way is used up by the first.
    other.open(address);
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.equal(other.responses.size, 0);
    clock.advance(60_000);
    assert.deepEqual(names(await other.responses.next()), ['large']);
    const cancelled = 8;
    assert.equal(await deaf.closed, cancelled);
    await until(() => delta.status().length === 1);
  });

  test('too far behind is sent away to start over', async () => {
    const { delta, addresses, connect } = await harness({ maxLoggedNames: 10 });
    const client = connect();
    client.open(address);
    const first = await client.responses.next();
    for (let i = 0; i < 30; i++) {
      addresses.apply({ upserts: [resource(`n${i}`)] });
      delta.flush();
    }
    client.ack(first);
    const end = await client.ended;
    assert.deepEqual([end.code, end.details], [status.UNAVAILABLE, 'too far behind, connect again']);
  });
});

test('clients that come all at once take turns and are all served', async () => {
  const { addresses, connect } = await harness({ maxUnsentBytes: 1 });
  addresses.apply({ upserts: Array.from({ length: 2000 }, (_, i) => resource(`n${i}`, 'x'.repeat(200))) });
  const clients = Array.from({ length: 12 }, () => connect());
  for (const client of clients) client.open(address);
  const counts = await Promise.all(
    clients.map(async (client) => (await client.responses.next()).resources.length),
  );
  assert.deepEqual(new Set(counts), new Set([2000]));
});

test('a server that is closed ends its streams and takes no more', async () => {
  const { delta, connect } = await harness();
  const client = connect();
  client.open(address);
  await client.responses.next();
  delta[Symbol.dispose]();
  assert.equal((await client.ended).code, status.UNAVAILABLE);
  const late = connect();
  late.open(address);
  assert.equal((await late.ended).code, status.UNAVAILABLE);
});
