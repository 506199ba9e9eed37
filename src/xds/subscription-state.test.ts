import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { ManualClock } from '#/kit/index.ts';
import { decodeDeltaRequest, decodeDeltaResponse, encodeDeltaRequest } from '#/wire/index.ts';
import type { XdsResource } from './resource-source.ts';
import { ResourceTable } from './resource-table.ts';
import { SubscriptionState } from './subscription-state.ts';
import { TypeFeed } from './type-feed.ts';

const options = { clock: new ManualClock(), identifier: 'c', nonce: () => 'n', maxLoggedNames: 1000 };

type Request = Parameters<typeof encodeDeltaRequest>[0];

const resource = (name: string, version: string, more: Partial<XdsResource> = {}): XdsResource => ({
  name,
  version,
  resource: Buffer.from(name + version),
  ...more,
});

function harness(initial: readonly XdsResource[] = []) {
  const table = new ResourceTable();
  table.apply({ upserts: initial });
  const feed = new TypeFeed('t', table, options, () => {});
  const request = (fields: Request) => decodeDeltaRequest(encodeDeltaRequest({ typeUrl: 't', ...fields }));
  return {
    feed,
    table,
    request,
    open: (fields: Request = {}, implicit: readonly string[] = []) =>
      new SubscriptionState(feed, request(fields), implicit),
    change(upserts: readonly XdsResource[], removed: readonly string[] = []) {
      table.apply({ upserts, removed });
      feed.commit();
    },
  };
}

/** What the next push holds, as `name@version` and `-name`, sorted. */
function told(state: SubscriptionState): string[] | string {
  const batch = state.next();
  if (typeof batch === 'string') return batch;
  const { resources, removedResources } = decodeDeltaResponse(batch.bytes);
  assert.equal(resources.length, batch.resources);
  assert.equal(removedResources.length, batch.removed);
  return [
    ...resources.map(({ name, version }) => `${name}@${version}`),
    ...removedResources.map((name) => `-${name}`),
  ].sort();
}

suite('a wildcard client', () => {
  for (const [how, fields] of [
    ['by asking for nothing', {}],
    ['by asking for "*"', { resourceNamesSubscribe: ['*'] }],
    ['by asking for "*" and a name', { resourceNamesSubscribe: ['*', 'a'] }],
  ] as const)
    test(`${how} gets everything, then what changes, each name once`, () => {
      const { open, change } = harness([resource('a', '1'), resource('b', '1')]);
      const state = open(fields as Request);
      assert.equal(state.wildcard, true);
      assert.deepEqual(told(state), ['a@1', 'b@1']);
      assert.equal(state.owed, false);
      change([resource('a', '2')]);
      change([resource('a', '3'), resource('c', '1')], ['b']);
      assert.equal(state.owed, true);
      assert.deepEqual(told(state), ['-b', 'a@3', 'c@1']);
      assert.equal(told(state), 'nothing');
    });

  test('is answered though there is nothing', () => {
    const { open } = harness();
    assert.deepEqual(told(open()), []);
  });

  test('that comes back is told only what is new, changed, gone or without a version', () => {
    const { open } = harness([
      resource('same', '1'),
      resource('new', '1'),
      resource('old', '2'),
      resource('none', ''),
    ]);
    const state = open({ initialResourceVersions: { same: '1', old: '1', gone: '1', none: '' } });
    assert.deepEqual(told(state), ['-gone', 'new@1', 'none@', 'old@2']);
  });

  test('that comes back to an unchanged mesh is told so', () => {
    const { open } = harness([resource('same', '1')]);
    assert.deepEqual(told(open({ initialResourceVersions: { same: '1' } })), []);
  });

  test('that asks for a name is told it again', () => {
    const { open, request } = harness([resource('a', '1'), resource('b', '1', { aliases: ['/10.0.0.1'] })]);
    const state = open();
    told(state);
    state.change(request({ resourceNamesSubscribe: ['/10.0.0.1', 'nobody'] }));
    assert.deepEqual(told(state), ['-nobody', 'b@1']);
  });

  test('too far behind has to start over', () => {
    const { open, change } = harness([resource('a', '1')]);
    const state = open();
    told(state);
    for (let i = 0; i < 3; i++) change(Array.from({ length: 600 }, (_, n) => resource(`r${i}-${n}`, '1')));
    assert.equal(told(state), 'behind');
  });
});

suite('an on-demand client', () => {
  const service = resource('ns/web', '1', { aliases: ['net/10.0.0.1'] });
  const pods = [
    resource('pod-1', '1', { aliases: ['net/10.1.0.1'], groups: ['ns/web', 'node/n1'] }),
    resource('pod-2', '1', { aliases: ['net/10.1.0.2'], groups: ['ns/web', 'node/n2'] }),
    resource('pod-3', '1', { aliases: ['net/10.1.0.3'], groups: ['node/n1'] }),
  ];
  const nothing = { resourceNamesSubscribe: ['*'], resourceNamesUnsubscribe: ['*'] };

  test('gets nothing until it asks', () => {
    const { open, change } = harness([service, ...pods]);
    const state = open(nothing);
    assert.equal(state.wildcard, false);
    assert.deepEqual(told(state), []);
    change([resource('ns/web', '2', { aliases: ['net/10.0.0.1'] })]);
    assert.equal(told(state), 'nothing');
  });

  test('gets the workloads of its own node without asking', () => {
    const { open, change } = harness([service, ...pods]);
    const state = open(nothing, ['node/n1']);
    assert.deepEqual(told(state), ['pod-1@1', 'pod-3@1']);
    change([
      resource('pod-4', '1', { groups: ['node/n1'] }),
      resource('pod-5', '1', { groups: ['node/n2'] }),
    ]);
    assert.deepEqual(told(state), ['pod-4@1']);
  });

  test('that asks for an alias gets the service and all its workloads, and follows both', () => {
    const { open, change, request } = harness([service, ...pods]);
    const state = open(nothing);
    told(state);
    state.change(request({ resourceNamesSubscribe: ['net/10.0.0.1'] }));
    assert.deepEqual(told(state), ['ns/web@1', 'pod-1@1', 'pod-2@1']);
    change([resource('pod-6', '1', { groups: ['ns/web'] })], ['pod-2']);
    assert.deepEqual(told(state), ['-pod-2', 'pod-6@1']);
    // It leaves the service, and is followed still, since the client has it.
    change([resource('pod-6', '2', { groups: [] })]);
    assert.deepEqual(told(state), ['pod-6@2']);
    // The service takes another address.
    change([resource('ns/web', '2', { aliases: ['net/10.0.0.9'] })]);
    assert.deepEqual(told(state), ['ns/web@2']);
  });

  test('that asks for a name that is unknown is told so, and of its coming', () => {
    const { open, change, request } = harness();
    const state = open(nothing);
    told(state);
    state.change(request({ resourceNamesSubscribe: ['net/10.1.0.1', 'pod-9'] }));
    assert.deepEqual(told(state), ['-net/10.1.0.1', '-pod-9']);
    change(pods);
    assert.deepEqual(told(state), ['pod-1@1']);
    change([], ['pod-1']);
    assert.deepEqual(told(state), ['-pod-1']);
  });

  test('that asks again is answered again', () => {
    const { open, request } = harness(pods);
    const state = open({ resourceNamesSubscribe: ['pod-1'] });
    assert.deepEqual(told(state), ['pod-1@1']);
    state.change(request({ resourceNamesSubscribe: ['pod-1'] }));
    assert.deepEqual(told(state), ['pod-1@1']);
  });

  test('hears no more of what it no longer wants', () => {
    const { open, change, request } = harness(pods);
    const state = open({ resourceNamesSubscribe: ['pod-1', 'pod-2'] });
    told(state);
    state.change(request({ resourceNamesUnsubscribe: ['pod-1'] }));
    change([resource('pod-1', '2'), resource('pod-2', '2')]);
    assert.deepEqual(told(state), ['pod-2@2']);
  });

  test('that comes back is told what is new, changed or gone of what it has', () => {
    const { open } = harness([service, ...pods]);
    const state = open({
      resourceNamesSubscribe: ['*', 'net/10.0.0.1'],
      resourceNamesUnsubscribe: ['*'],
      initialResourceVersions: { 'ns/web': '1', 'pod-1': '0', 'pod-8': '1', 'pod-3': '1' },
    });
    assert.deepEqual(told(state), ['-pod-8', 'pod-1@1', 'pod-2@1']);
  });

  test('can go over to everything, and back', () => {
    const { open, change, request } = harness(pods);
    const state = open(nothing);
    told(state);
    state.change(request({ resourceNamesSubscribe: ['*'] }));
    assert.deepEqual(told(state), ['pod-1@1', 'pod-2@1', 'pod-3@1']);
    state.change(request({ resourceNamesUnsubscribe: ['*'] }));
    change([resource('pod-1', '2')]);
    assert.equal(told(state), 'nothing');
  });

  test('may not ask for names without end', () => {
    const { open, request } = harness();
    const state = open(nothing);
    const names = (from: number) => Array.from({ length: 100_001 }, (_, i) => `n${from + i}`);
    state.change(request({ resourceNamesSubscribe: names(0) }));
    assert.throws(() => state.change(request({ resourceNamesSubscribe: names(200_000) })), {
      status: 'RESOURCE_EXHAUSTED',
    });
  });
});

test('the bytes of a push are the same object for all who are at the same place', () => {
  const { open, change } = harness(Array.from({ length: 10 }, (_, i) => resource(`r${i}`, '1')));
  const [a, b] = [open(), open()];
  assert.equal(a.next(), b.next());
  change([resource('r1', '2')]);
  assert.equal(a.next(), b.next());
});
