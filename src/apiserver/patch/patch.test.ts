import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Json, JsonObject } from '../json.ts';
import { loadBuiltinTypes, type Schema } from '../schema/schema.ts';
import { applyJsonPatch } from './json-patch.ts';
import { applyMergePatch } from './merge-patch.ts';
import { applyStrategicPatch } from './strategic.ts';

const pod = loadBuiltinTypes().get('Pod') as Schema;

const jsonPatches: [string, JsonObject, Json, JsonObject | RegExp][] = [
  ['adds to an object', { a: 1 }, [{ op: 'add', path: '/b', value: 2 }], { a: 1, b: 2 }],
  ['adds into a list', { a: [1, 3] }, [{ op: 'add', path: '/a/1', value: 2 }], { a: [1, 2, 3] }],
  ['adds to the end of a list', { a: [1] }, [{ op: 'add', path: '/a/-', value: 2 }], { a: [1, 2] }],
  ['replaces', { a: { b: 1 } }, [{ op: 'replace', path: '/a/b', value: 2 }], { a: { b: 2 } }],
  [
    'does not replace what is not there',
    { a: 1 },
    [{ op: 'replace', path: '/b', value: 2 }],
    /does not exist/,
  ],
  ['removes', { a: 1, b: [1, 2] }, [{ op: 'remove', path: '/b/0' }], { a: 1, b: [2] }],
  ['does not remove what is not there', { a: 1 }, [{ op: 'remove', path: '/b' }], /does not exist/],
  [
    'reads ~0 and ~1',
    { 'a/b': 1, 'c~d': 2 },
    [
      { op: 'remove', path: '/a~1b' },
      { op: 'remove', path: '/c~0d' },
    ],
    {},
  ],
  ['moves', { a: { b: 1 } }, [{ op: 'move', from: '/a/b', path: '/c' }], { a: {}, c: 1 }],
  [
    'copies',
    { a: [1] },
    [
      { op: 'copy', from: '/a', path: '/b' },
      { op: 'add', path: '/b/-', value: 2 },
    ],
    { a: [1], b: [1, 2] },
  ],
  [
    'goes on when a test holds',
    { a: 1 },
    [
      { op: 'test', path: '/a', value: 1 },
      { op: 'remove', path: '/a' },
    ],
    {},
  ],
  [
    'stops when a test does not hold',
    { a: 1 },
    [{ op: 'test', path: '/a', value: 2 }],
    /testing value \/a failed/,
  ],
  ['takes null for absent in a test', { a: 1 }, [{ op: 'test', path: '/b', value: null }], { a: 1 }],
  ['refuses an index out of range', { a: [1] }, [{ op: 'add', path: '/a/3', value: 2 }], /out of range/],
  ['refuses an operation that is none', { a: 1 }, [{ op: 'shout', path: '/a' }], /no operation "shout"/],
  ['refuses what is no list', { a: 1 }, { op: 'add' }, /not a list/],
];

for (const [name, target, patch, wanted] of jsonPatches)
  test(`a JSON patch ${name}`, () => {
    const before = structuredClone(target);
    if (wanted instanceof RegExp) assert.throws(() => applyJsonPatch(target, patch), wanted);
    else assert.deepEqual(applyJsonPatch(target, patch), wanted);
    assert.deepEqual(target, before);
  });

test('a merge patch sets, removes and replaces lists', () => {
  const target = { a: { b: 1, c: 2 }, list: [1, 2], keep: true };
  assert.deepEqual(applyMergePatch(target, { a: { b: null, d: { e: null, f: 1 } }, list: [3] }), {
    a: { c: 2, d: { f: 1 } },
    list: [3],
    keep: true,
  });
  assert.deepEqual(target, { a: { b: 1, c: 2 }, list: [1, 2], keep: true });
});

test('a merge patch cannot reach the prototype', () => {
  const patched = applyMergePatch({}, JSON.parse('{"__proto__":{"polluted":true}}') as JsonObject);
  assert.equal(({} as { polluted?: boolean }).polluted, undefined);
  assert.deepEqual(Object.keys(patched), ['__proto__']);
});

const spec = (containers: Json, more: JsonObject = {}): JsonObject => ({ spec: { containers, ...more } });

const strategicPatches: [string, JsonObject, JsonObject, JsonObject | RegExp][] = [
  [
    'merges containers by name',
    spec([
      { name: 'a', image: '1' },
      { name: 'b', image: '1' },
    ]),
    spec([{ name: 'b', image: '2' }]),
    spec([
      { name: 'a', image: '1' },
      { name: 'b', image: '2' },
    ]),
  ],
  ['adds a container', spec([{ name: 'a' }]), spec([{ name: 'b' }]), spec([{ name: 'a' }, { name: 'b' }])],
  [
    'removes by $patch',
    spec([{ name: 'a' }, { name: 'b' }]),
    spec([{ name: 'a', $patch: 'delete' }]),
    spec([{ name: 'b' }]),
  ],
  [
    'replaces by $patch',
    spec([{ name: 'a' }, { name: 'b' }]),
    spec([{ $patch: 'replace' }, { name: 'c' }]),
    spec([{ name: 'c' }]),
  ],
  ['needs the merge key', spec([{ name: 'a' }]), spec([{ image: '2' }]), /merge key: name/],
  [
    'keeps the order it is told',
    spec([{ name: 'a' }, { name: 'b' }]),
    {
      spec: {
        '$setElementOrder/containers': [{ name: 'b' }, { name: 'a' }],
        containers: [{ name: 'a', image: 'x' }],
      },
    },
    spec([{ name: 'b' }, { name: 'a', image: 'x' }]),
  ],
  [
    'merges environments below containers',
    spec([
      {
        name: 'a',
        env: [
          { name: 'X', value: '1' },
          { name: 'Y', value: '1' },
        ],
      },
    ]),
    spec([{ name: 'a', env: [{ name: 'Y', value: '2' }] }]),
    spec([
      {
        name: 'a',
        env: [
          { name: 'X', value: '1' },
          { name: 'Y', value: '2' },
        ],
      },
    ]),
  ],
  [
    'replaces tolerations, which have no key',
    spec([], { tolerations: [{ key: 'a' }] }),
    { spec: { tolerations: [{ key: 'b' }] } },
    spec([], { tolerations: [{ key: 'b' }] }),
  ],
  [
    'takes from a list of scalars',
    { metadata: { finalizers: ['a', 'b'] } },
    { metadata: { '$deleteFromPrimitiveList/finalizers': ['a'], finalizers: ['c'] } },
    { metadata: { finalizers: ['b', 'c'] } },
  ],
  [
    'keeps only the keys it is told, when the kinds of a volume exclude each other',
    spec([], { volumes: [{ name: 'v', emptyDir: {} }] }),
    { spec: { volumes: [{ name: 'v', hostPath: { path: '/x' }, $retainKeys: ['name', 'hostPath'] }] } },
    spec([], { volumes: [{ name: 'v', hostPath: { path: '/x' } }] }),
  ],
  [
    'removes by null',
    { metadata: { labels: { a: '1', b: '2' } } },
    { metadata: { labels: { a: null } } },
    { metadata: { labels: { b: '2' } } },
  ],
];

for (const [name, target, patch, wanted] of strategicPatches)
  test(`a strategic patch ${name}`, () => {
    const before = structuredClone(target);
    if (wanted instanceof RegExp) assert.throws(() => applyStrategicPatch(target, patch, pod), wanted);
    else assert.deepEqual(applyStrategicPatch(target, patch, pod), wanted);
    assert.deepEqual(target, before);
  });
