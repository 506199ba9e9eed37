import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import type { Item } from '../json.ts';
import { eventually } from '../test-server.ts';
import { keyOf } from './collection.ts';
import { Persistence } from './persistence.ts';
import {
  matches,
  matchesFields,
  parseFieldSelector,
  parseLabelSelector,
  parseSelectorObject,
} from './selectors.ts';
import { snapshotAt } from './snapshot.ts';
import { Store } from './store.ts';

function temporary(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'aura-store-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

const item = (namespace: string, name: string, value = ''): Item => ({
  kind: 'ConfigMap',
  apiVersion: 'v1',
  metadata: { name, namespace, uid: `${namespace}-${name}` },
  data: { value },
});

test('objects and the count of revisions are there after a restart', (t) => {
  const dir = temporary(t);
  {
    using persistence = new Persistence({ dir });
    const store = new Store(persistence);
    const maps = store.collection('configmaps');
    const a = store.create(maps, item('x', 'a'));
    const b = store.create(maps, item('x', 'b'));
    store.update(maps, a, item('x', 'a', 'new'));
    store.remove(maps, b, item('x', 'b'));
    assert.equal(store.revision, 4);
  }
  using persistence = new Persistence({ dir });
  const store = new Store(persistence);
  // The last revision was that of a removal, which no row has.
  assert.equal(store.revision, 4);
  store.load(() => {});
  const maps = store.collection('configmaps');
  assert.deepEqual(
    maps.list(undefined).map(({ name, rv }) => [name, rv]),
    [['a', 3]],
  );
  assert.match(
    maps.get('x', 'a')?.json ?? '',
    /^\{"kind":"ConfigMap","apiVersion":"v1".*"resourceVersion":"3".*"new"/,
  );
});

test('what has been written moves from the log into the database, beside the writer', async (t) => {
  const dir = temporary(t);
  {
    using persistence = new Persistence({ dir });
    const store = new Store(persistence);
    const maps = store.collection('configmaps');
    for (let i = 0; i < 100; i++) store.create(maps, item('x', `n${i}`, 'v'.repeat(100_000)));
    // It waits for the disk, which may be busy with others' writes.
    await eventually(() => (statSync(join(dir, 'objects.db')).size > 5e6 ? true : undefined), 120_000);
    store.create(maps, item('x', 'last'));
  }
  using persistence = new Persistence({ dir });
  assert.equal([...persistence.load()].length, 101);
});

test('a second server on the same directory is refused', (t) => {
  const dir = temporary(t);
  using first = new Persistence({ dir });
  assert.equal(first.revision(), 0);
  assert.throws(() => new Persistence({ dir }), /is in use: another API server/);
});

test('lists are in the order of namespace and name, also where one name begins like another', (t) => {
  using persistence = new Persistence({ dir: temporary(t) });
  const store = new Store(persistence);
  const maps = store.collection('configmaps');
  for (const [namespace, name] of [
    ['b', 'x'],
    ['a-b', 'x'],
    ['a', 'z'],
    ['a', 'a.b'],
    ['a', 'a'],
    ['a', 'a-b'],
  ] as const)
    store.create(maps, item(namespace, name));
  assert.deepEqual(
    maps.list(undefined).map(({ namespace, name }) => `${namespace}/${name}`),
    ['a/a', 'a/a-b', 'a/a.b', 'a/z', 'a-b/x', 'b/x'],
  );
  assert.deepEqual(
    maps.list('a').map(({ name }) => name),
    ['a', 'a-b', 'a.b', 'z'],
  );
  assert.deepEqual(
    [...maps.inOrder('a', keyOf('a', 'a-b'))].map(({ name }) => name),
    ['a.b', 'z'],
  );
});

test('a snapshot shows an earlier revision, page by page', (t) => {
  using persistence = new Persistence({ dir: temporary(t) });
  const store = new Store(persistence);
  const maps = store.collection('configmaps');
  const b = store.create(maps, item('x', 'b', '1'));
  const d = store.create(maps, item('x', 'd', '1'));
  const before = store.revision;
  store.create(maps, item('x', 'a', '2'));
  store.update(maps, b, item('x', 'b', '2'));
  store.remove(maps, d, item('x', 'd'));
  store.create(maps, item('x', 'c', '2'));
  const at = (rv: number, after = ''): string[] =>
    [...(snapshotAt(maps, rv, undefined, after) ?? [])].map(({ name, rv: own }) => `${name}@${own}`);
  assert.deepEqual(at(before), ['b@1', 'd@2']);
  assert.deepEqual(at(before, keyOf('x', 'b')), ['d@2']);
  assert.deepEqual(at(store.revision), ['a@3', 'b@4', 'c@6']);
});

test('the log forgets the oldest, and says so', (t) => {
  using persistence = new Persistence({ dir: temporary(t) });
  const store = new Store(persistence, { entries: 3, size: 1e9 });
  const maps = store.collection('configmaps');
  for (let i = 0; i < 5; i++) store.create(maps, item('x', `n${i}`));
  assert.equal(maps.log.after(1), undefined);
  assert.equal(maps.log.floor, 2);
  const from = maps.log.after(3) as number;
  assert.equal(maps.log.at(from)?.rv, 4);
  assert.equal(snapshotAt(maps, 1, undefined, ''), undefined);
});

test('the log is bounded in size as well', (t) => {
  using persistence = new Persistence({ dir: temporary(t) });
  const store = new Store(persistence, { entries: 1000, size: 5000 });
  const maps = store.collection('configmaps');
  for (let i = 0; i < 20; i++) store.create(maps, item('x', `n${i}`, 'v'.repeat(1000)));
  assert.ok(maps.log.next - maps.log.first <= 4);
});

const labels = { app: 'web', tier: 'db', empty: '', size: '5' };
const selectors: [string, boolean | RegExp][] = [
  ['', true],
  ['app=web', true],
  ['app==web,tier=db', true],
  ['app!=web', false],
  ['other!=x', true],
  ['app in (web, api)', true],
  ['app notin (web,api)', false],
  ['other notin (a)', true],
  ['app', true],
  ['!app', false],
  ['!other', true],
  ['empty=', true],
  ['size>4,size<6', true],
  ['example.com/x=y', false],
  ['a b', /unable to parse requirement/],
  ['app=web,', /after the last comma/],
  ['=x', /unable to parse/],
  ['app in web', /unable to parse/],
  ['app=we b', /unable to parse/],
];

for (const [text, wanted] of selectors)
  test(`label selector "${text}"`, () => {
    if (wanted instanceof RegExp) assert.throws(() => parseLabelSelector(text), wanted);
    else assert.equal(matches(parseLabelSelector(text), labels), wanted);
  });

test('selectors as objects', () => {
  const selector = {
    matchLabels: { app: 'web' },
    matchExpressions: [
      { key: 'tier', operator: 'In', values: ['db'] },
      { key: 'x', operator: 'DoesNotExist' },
    ],
  };
  assert.equal(matches(parseSelectorObject(selector), labels), true);
  assert.equal(
    matches(parseSelectorObject({ matchExpressions: [{ key: 'app', operator: 'Nonsense' }] }), labels),
    false,
  );
});

test('field selectors', () => {
  const stored = {
    id: 1,
    namespace: 'n',
    name: 'a',
    uid: '',
    rv: 1,
    json: '',
    labels: undefined,
    fields: { 'spec.nodeName': 'x' },
    owners: undefined,
    deleting: false,
  };
  const match = (text: string): boolean =>
    matchesFields(
      parseFieldSelector(text, (path) => path === 'spec.nodeName'),
      stored,
    );
  assert.equal(match('spec.nodeName=x,metadata.name!=b'), true);
  assert.equal(match('metadata.namespace=other'), false);
  assert.throws(() => match('spec.foo=x'), /field label not supported: spec.foo/);
  assert.throws(() => match('nonsense'), /invalid field selector/);
});
