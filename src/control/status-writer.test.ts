import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { ManualClock, silentLogger } from '#/kit/index.ts';
import { readFacts, type WantedCondition } from '#/translate/index.ts';
import { FakeApi, type FakeObject } from './fake-api.ts';
import { StatusWriter } from './status-writer.ts';

const services = '/api/v1/services';

interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason?: string;
  readonly lastTransitionTime?: string;
}

async function setUp(t: TestContext) {
  const api = await new FakeApi().listen();
  const client = api.client();
  const stop = new AbortController();
  t.after(async () => {
    stop.abort();
    client.close();
    await api[Symbol.asyncDispose]();
  });
  const clock = new ManualClock(Date.parse('2026-05-01T00:00:00Z'));
  const writer = new StatusWriter({ client, log: silentLogger, clock });
  /** Tells the writer of an object as the API has it. */
  const observe = () => {
    const object = api.get(services, 'shop', 'web') as FakeObject;
    const facts = readFacts('Service', object);
    const { conditions } = (object['status'] ?? {}) as { conditions?: unknown };
    writer.observe('Service', 'shop/web', { metadata: object.metadata, facts, conditions });
  };
  const conditions = () =>
    ((api.get(services, 'shop', 'web')?.['status'] as { conditions?: Condition[] } | undefined)?.conditions ??
      []) as readonly Condition[];
  const settle = async () => {
    const end = Date.now() + 5000;
    while (writer.waiting > 0 && Date.now() < end) await new Promise((resolve) => setTimeout(resolve, 2));
  };
  return { api, clock, writer, observe, conditions, settle, signal: stop.signal };
}

const wanted = (status: boolean, reason: string): WantedCondition => ({
  type: 'istio.io/WaypointBound',
  status,
  reason,
  message: 'text',
});

const origin = { kind: 'Service', key: 'shop/web' } as const;
const object = (conditions: readonly unknown[] = []): FakeObject => ({
  metadata: { name: 'web', namespace: 'shop' },
  status: { conditions },
});

test('nobody but the leader writes; who takes over writes what is missing', async (t) => {
  const { api, writer, observe, conditions, settle, signal } = await setUp(t);
  api.put(services, object([{ type: 'Other', status: 'True' }]));
  observe();
  writer.want(origin, [wanted(true, 'WaypointAccepted')]);
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.deepEqual(api.writes, []);
  writer.lead(signal);
  await settle();
  assert.deepEqual(api.writes, ['PATCH /api/v1/namespaces/shop/services/web/status']);
  assert.deepEqual(
    conditions().map(({ type, status }) => [type, status]),
    [
      ['Other', 'True'],
      ['istio.io/WaypointBound', 'True'],
    ],
  );
  // Seen again with what was written: nothing to do.
  observe();
  await settle();
  assert.equal(api.writes.length, 1);
});

test('the time of a transition stays while the status does', async (t) => {
  const { api, clock, writer, observe, conditions, settle, signal } = await setUp(t);
  writer.lead(signal);
  api.put(services, object());
  observe();
  const write = async (condition: WantedCondition) => {
    writer.want(origin, [condition]);
    await settle();
    observe();
    return conditions()[0]?.lastTransitionTime;
  };
  assert.equal(await write(wanted(false, 'WaypointIsNotReady')), '2026-05-01T00:00:00Z');
  clock.advance(60_000);
  assert.equal(await write(wanted(false, 'AttachmentDenied')), '2026-05-01T00:00:00Z');
  assert.equal(await write(wanted(true, 'WaypointAccepted')), '2026-05-01T00:01:00Z');
});

test('without server-side apply, conditions of others are kept and ours are taken out at the end', async (t) => {
  const { api, writer, observe, conditions, settle, signal } = await setUp(t);
  api.apply = false;
  writer.lead(signal);
  api.put(services, object([{ type: 'Other', status: 'True' }]));
  observe();
  writer.want(origin, [wanted(true, 'WaypointAccepted')]);
  await settle();
  observe();
  assert.deepEqual(
    conditions().map(({ type }) => type),
    ['Other', 'istio.io/WaypointBound'],
  );
  writer.want(origin, []);
  await settle();
  assert.deepEqual(
    conditions().map(({ type }) => type),
    ['Other'],
  );
});

test('an object that is gone is forgotten', async (t) => {
  const { api, writer, observe, settle, signal } = await setUp(t);
  writer.lead(signal);
  api.put(services, object());
  observe();
  api.delete(services, 'shop', 'web');
  writer.want(origin, [wanted(true, 'WaypointAccepted')]);
  await settle();
  writer.observe('Service', 'shop/web', undefined);
  writer.want(origin, [wanted(false, 'x')]);
  await settle();
  assert.equal(writer.waiting, 0);
});
