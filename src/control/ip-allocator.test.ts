import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { silentLogger } from '#/kit/index.ts';
import { readFacts, type SourceObject } from '#/translate/index.ts';
import { FakeApi, type FakeObject } from './fake-api.ts';
import { IpAllocator } from './ip-allocator.ts';
import { IpPool } from './ip-pool.ts';

const entries = '/apis/networking.istio.io/v1/serviceentries';

async function setUp(t: TestContext) {
  const api = await new FakeApi().listen();
  const client = api.client();
  const stop = new AbortController();
  t.after(async () => {
    stop.abort();
    client.close();
    await api[Symbol.asyncDispose]();
  });
  const allocator = new IpAllocator({ client, log: silentLogger });
  const observe = (name: string) => {
    const object = api.get(entries, 'shop', name);
    allocator.observe(
      `shop/${name}`,
      object === undefined
        ? undefined
        : { metadata: object.metadata, facts: readFacts('ServiceEntry', object as SourceObject) },
    );
  };
  const settle = async () => {
    while (allocator.waiting > 0) await new Promise((resolve) => setTimeout(resolve, 2));
  };
  /** Writes an entry, lets it be seen, and gives what it got. */
  const entry = async (name: string, spec: object, day = 1, more: object = {}) => {
    const old = api.get(entries, 'shop', name);
    const object = {
      ...old,
      metadata: {
        name,
        namespace: 'shop',
        creationTimestamp: `2026-01-0${day}T00:00:00Z`,
        ...more,
      },
      spec: { resolution: 'DNS', ports: [], ...spec },
    } as FakeObject;
    api.put(entries, object);
    observe(name);
    await settle();
    observe(name);
    await settle();
    return addresses(name);
  };
  const addresses = (name: string) =>
    (
      (api.get(entries, 'shop', name)?.['status'] as { addresses?: { value: string }[] } | undefined)
        ?.addresses ?? []
    ).map(({ value }) => value);
  return { api, allocator, entry, addresses, observe, settle, signal: stop.signal };
}

test('each host gets one address of each family, in order, and keeps them', async (t) => {
  const { allocator, entry, signal, api } = await setUp(t);
  allocator.lead(signal);
  assert.deepEqual(await entry('one', { hosts: ['a.example', 'b.example'] }), [
    '240.240.0.1',
    '2001:2::1',
    '240.240.0.2',
    '2001:2::2',
  ]);
  const writes = api.writes.length;
  assert.deepEqual(await entry('one', { hosts: ['b.example', 'c.example'] }), [
    '240.240.0.2',
    '2001:2::2',
    '240.240.0.3',
    '2001:2::3',
  ]);
  assert.equal(api.writes.length, writes + 1);
});

test('only entries that need addresses get them, and what no longer qualifies loses them', async (t) => {
  const { allocator, entry, signal } = await setUp(t);
  allocator.lead(signal);
  assert.deepEqual(await entry('none', { hosts: ['a.example'], resolution: 'NONE' }), []);
  assert.deepEqual(await entry('own', { hosts: ['a.example'], addresses: ['10.0.0.1'] }), []);
  assert.deepEqual(await entry('wild', { hosts: ['*.example'] }), []);
  assert.equal((await entry('dynamic', { hosts: ['*.example'], resolution: 'DYNAMIC_DNS' })).length, 2);
  const labels = { 'networking.istio.io/enable-autoallocate-ip': 'false' };
  assert.deepEqual(await entry('off', { hosts: ['a.example'] }, 1, { labels }), []);
  assert.equal((await entry('was', { hosts: ['a.example'] })).length, 2);
  assert.deepEqual(await entry('was', { hosts: ['a.example'], addresses: ['10.0.0.2'] }), []);
});

test('of two holders of an address the older keeps it, and a spec wins over both', async (t) => {
  const { allocator, api, entry, addresses, observe, settle, signal } = await setUp(t);
  const claim = (name: string, day: number) =>
    api.put(entries, {
      metadata: { name, namespace: 'shop', creationTimestamp: `2026-01-0${day}T00:00:00Z` },
      spec: { resolution: 'DNS', hosts: [`${name}.example`], ports: [] },
      status: {
        addresses: [
          { host: `${name}.example`, value: '240.240.0.7' },
          { host: `${name}.example`, value: `2001:2::${day}` },
        ],
      },
    });
  claim('young', 2);
  claim('old', 1);
  observe('young');
  observe('old');
  allocator.lead(signal);
  await settle();
  for (const name of ['young', 'old']) observe(name);
  await settle();
  assert.equal(addresses('old')[0], '240.240.0.7');
  assert.equal(addresses('young')[0], '240.240.0.1');
  await entry('user', { hosts: ['user.example'], addresses: ['240.240.0.7'] }, 9);
  await settle();
  assert.notEqual(addresses('old')[0], '240.240.0.7');
});

test('an address is not given again when its entry has gone', async (t) => {
  const { allocator, api, entry, observe, signal } = await setUp(t);
  allocator.lead(signal);
  await entry('one', { hosts: ['a.example'] });
  api.delete(entries, 'shop', 'one');
  observe('one');
  assert.equal((await entry('two', { hosts: ['a.example'] }))[0], '240.240.0.2');
});

test('a pool wraps around and says when it is empty', () => {
  const pool = new IpPool();
  const taken = new Set<string>();
  for (let i = 0; i < 65_534; i++) taken.add(pool.take(4, (ip) => taken.has(ip)) as string);
  assert.equal(taken.size, 65_534);
  assert.ok(taken.has('240.240.255.254') && taken.has('240.240.1.0'));
  assert.equal(
    pool.take(4, (ip) => taken.has(ip)),
    undefined,
  );
  taken.delete('240.240.3.3');
  assert.equal(
    pool.take(4, (ip) => taken.has(ip)),
    '240.240.3.3',
  );
  assert.equal(pool.familyOf('2001:2::ffff'), 6);
  assert.equal(pool.familyOf('10.0.0.1'), undefined);
});
