import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '#/kit/index.ts';
import type { KubeClient } from './client.ts';
import type { ListResult, WatchEvent } from './request-options.ts';
import { Informer } from './informer.ts';
import { KubeError } from './kube-error.ts';
import type { ConfigMap } from './objects.ts';
import { configMaps } from './resources.ts';

const object = (name: string, version: string, data: Record<string, string> = {}, uid = name): ConfigMap => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name, namespace: 'n', uid, resourceVersion: version, managedFields: [{ manager: 'x' }] },
  data,
});

type Step = WatchEvent<ConfigMap> | 'end' | Error;

/** A client that plays lists and watches from a script, and notes from where each watch began. */
function scripted(lists: (readonly ConfigMap[] | Error)[], watches: Step[][]) {
  const from: string[] = [];
  let listed = 0;
  let version = 100;
  const idle = Promise.withResolvers<void>();
  const client = {
    async *pages(): AsyncGenerator<ListResult<ConfigMap>> {
      await Promise.resolve();
      const next = lists[listed++];
      if (next === undefined || next instanceof Error) throw next ?? new Error('no more lists');
      yield { items: structuredClone(next.slice(0, 1)), resourceVersion: String(version), continue: 'more' };
      yield { items: structuredClone(next.slice(1)), resourceVersion: String(version++) };
    },
    async *watch(_resource: unknown, options: { resourceVersion: string; signal: AbortSignal }) {
      from.push(options.resourceVersion);
      const steps = watches.shift();
      if (steps === undefined) {
        idle.resolve();
        await new Promise<void>((resolve) => options.signal.addEventListener('abort', () => resolve()));
        return;
      }
      for (const step of steps) {
        await Promise.resolve();
        if (step instanceof Error) throw step;
        if (step === 'end') return;
        yield step;
      }
    },
  };
  return { client: client as unknown as KubeClient, from, idle: idle.promise, lists: () => listed };
}

async function play(lists: (readonly ConfigMap[] | Error)[], watches: Step[][]) {
  const script = scripted(lists, watches);
  const clock = new ManualClock();
  const informer = new Informer(script.client, configMaps, { clock, random: () => 0.5 });
  const heard: string[] = [];
  informer.on('add', (item) => heard.push(`add ${item.metadata.name}`));
  informer.on('update', (item, old) =>
    heard.push(`update ${item.metadata.name} ${JSON.stringify(old.data)}→${JSON.stringify(item.data)}`),
  );
  informer.on('delete', (item) => heard.push(`delete ${item.metadata.name}`));
  const stop = new AbortController();
  informer.start(stop.signal);
  let over = false;
  void script.idle.then(() => (over = true));
  for (let i = 0; i < 200 && !over; i++) {
    clock.advance(10_000);
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.ok(over, 'the script has been played');
  stop.abort();
  return { heard, from: script.from, informer, lists: script.lists() };
}

test('lists, then watches', async () => {
  const { heard, informer, from } = await play(
    [[object('a', '1')]],
    [
      [
        { type: 'ADDED', object: object('b', '101') },
        { type: 'MODIFIED', object: object('a', '102', { x: '1' }) },
        { type: 'DELETED', object: object('b', '103') },
        { type: 'BOOKMARK', resourceVersion: '110' },
        'end',
      ],
    ],
  );
  assert.deepEqual(heard, ['add a', 'add b', 'update a {}→{"x":"1"}', 'delete b']);
  assert.deepEqual(from, ['100', '110']);
  assert.equal(informer.get('n', 'a')?.data?.['x'], '1');
  assert.equal(informer.size, 1);
  await informer.synced;
});

test('what became equal raises nothing', async () => {
  const { heard, informer } = await play(
    [[object('a', '1')]],
    [[{ type: 'MODIFIED', object: object('a', '105') }, 'end']],
  );
  assert.deepEqual(heard, ['add a']);
  assert.equal(informer.get('n', 'a')?.metadata.resourceVersion, '105');
  assert.equal(informer.get('n', 'a')?.metadata.managedFields, undefined);
});

test('a broken watch goes on where it was', async () => {
  const { from, lists } = await play(
    [[object('a', '1')]],
    [[{ type: 'ADDED', object: object('b', '104') }, new Error('connection reset')], ['end']],
  );
  assert.deepEqual(from, ['100', '104', '104']);
  assert.equal(lists, 1);
});

test('410 makes a new list, and only differences are told', async () => {
  const { heard, lists } = await play(
    [
      [object('a', '1'), object('b', '2'), object('c', '3')],
      [object('a', '1'), object('b', '9', { x: '1' }), object('d', '10')],
    ],
    [[new KubeError(410, 'Expired', 'too old resource version')]],
  );
  assert.equal(lists, 2);
  assert.deepEqual(heard, ['add a', 'add b', 'add c', 'update b {}→{"x":"1"}', 'add d', 'delete c']);
});

test('an object that was made anew under its name is another one', async () => {
  const { heard } = await play(
    [[object('a', '1')], [object('a', '9', {}, 'other')]],
    [[new KubeError(410, 'Expired', '')]],
  );
  assert.deepEqual(heard, ['add a', 'delete a', 'add a']);
});

test('a list that fails is tried again, later each time', async () => {
  const { heard, lists } = await play([new Error('refused'), new Error('refused'), [object('a', '1')]], []);
  assert.equal(lists, 3);
  assert.deepEqual(heard, ['add a']);
});

test('a subscriber that fails does not stop the others', async () => {
  const script = scripted([[object('a', '1')]], []);
  const informer = new Informer(script.client, configMaps);
  const heard: string[] = [];
  informer.on('add', () => {
    throw new Error('mine');
  });
  informer.on('add', (item) => heard.push(item.metadata.name));
  const stop = new AbortController();
  informer.start(stop.signal);
  await informer.synced;
  assert.deepEqual(heard, ['a']);
  assert.throws(() => informer.start(stop.signal), /has been started before/);
  stop.abort();
});

test('stopped before the first list, `synced` says so', async () => {
  const script = scripted([], []);
  const informer = new Informer(script.client, configMaps);
  const stop = new AbortController();
  informer.start(stop.signal);
  stop.abort();
  await assert.rejects(informer.synced, /stopped before it had a list/);
});
