import assert from 'node:assert/strict';
import { test } from 'node:test';
import { applyOverlays, OverlayError, type JsonObject } from './overlay.ts';

const base = {
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: 'w', namespace: 'n', ownerReferences: [{ uid: 'u' }] },
  spec: { ports: [{ port: 1, name: 'a' }], list: [1, 2], map: { a: 1, b: 2 } },
} satisfies JsonObject;

const merged = (text: string) =>
  applyOverlays(base, 'service', [{ title: 'ConfigMap n/c', data: { service: text } }]).object['spec'];

for (const [title, text, wanted] of [
  ['nothing', '', base.spec],
  ['a field is taken out by null', 'spec: { map: { a: null } }', { ...base.spec, map: { b: 2 } }],
  ['a plain list is replaced', 'spec: { list: [3] }', { ...base.spec, list: [3] }],
  [
    'entries merge by their key, and new ones come last',
    'spec: { ports: [{ port: 2 }, { port: 1, appProtocol: http }] }',
    { ...base.spec, ports: [{ port: 1, name: 'a', appProtocol: 'http' }, { port: 2 }] },
  ],
  [
    'a list is replaced when told so',
    'spec: { ports: [{ $patch: replace }, { port: 3 }] }',
    { ...base.spec, ports: [{ port: 3 }] },
  ],
  ['an object is replaced when told so', 'spec: { $patch: replace, x: 1 }', { x: 1 }],
  [
    'keys are retained when told so',
    'spec: { $retainKeys: [map], map: { c: 3 } }',
    { map: { a: 1, b: 2, c: 3 } },
  ],
] as const)
  test(title, () => assert.deepEqual(merged(text), wanted));

for (const [title, data, message] of [
  [
    'an unknown key',
    { config: '' },
    /ConfigMap n\/c has the key "config"; a waypoint can be changed by deployment/,
  ],
  ['no YAML', { service: 'a: b: c' }, /ConfigMap n\/c, key service: /],
  ['no object', { service: '[1]' }, /it is not an object in YAML/],
  ['another name', { service: 'metadata: { name: x }' }, /only labels and annotations may be changed/],
  [
    'another owner',
    { service: 'metadata: { ownerReferences: [{ uid: x }] }' },
    /only labels and annotations/,
  ],
  ['another kind', { service: 'kind: Secret' }, /only labels and annotations/],
  ['no metadata', { service: 'metadata: null' }, /only labels and annotations/],
  [
    'an entry without its key',
    { service: 'spec: { ports: [{ name: x }] }' },
    /an entry of ports has no port/,
  ],
] as const)
  test(`refused: ${title}`, () =>
    assert.throws(
      () => applyOverlays(base, 'service', [{ title: 'ConfigMap n/c', data }]),
      (error) => error instanceof OverlayError && message.test(error.message),
    ));

test('labels and annotations may be changed', () => {
  const text = 'metadata: { labels: { a: b }, annotations: { c: d } }';
  const { object, applied } = applyOverlays(base, 'service', [{ title: 't', data: { service: text } }]);
  assert.ok(applied);
  assert.deepEqual((object['metadata'] as JsonObject)['labels'], { a: 'b' });
});
