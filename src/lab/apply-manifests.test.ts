import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseManifests, readManifests } from './apply-manifests.ts';

test('documents and lists become objects that know where they are from', () => {
  const text = `apiVersion: v1
kind: Namespace
metadata: {name: a}
---
# nothing here
---
apiVersion: v1
kind: List
items:
  - {apiVersion: v1, kind: ConfigMap, metadata: {name: c, namespace: a}}
`;
  assert.deepEqual(
    parseManifests(text, 'x.yaml').map(({ title }) => title),
    ['x.yaml, document 1: Namespace a', 'x.yaml, document 3, item 1: ConfigMap a/c'],
  );
});

const bad: readonly (readonly [text: string, complaint: RegExp])[] = [
  ['metadata: {name: a}', /x\.yaml, document 1: it has no kind/],
  ['kind: Pod\nmetadata: {name: a}', /document 1: Pod has no apiVersion/],
  ['apiVersion: v1\nkind: Pod', /document 1: Pod has no metadata\.name/],
  ['a: [1, 2', /x\.yaml, document 1: /],
  ['just text', /document 1: not an object/],
];
for (const [text, complaint] of bad)
  test(`a manifest that is none: ${JSON.stringify(text)}`, () => {
    assert.throws(() => parseManifests(text, 'x.yaml'), complaint);
  });

test('a file that is not there is named', () => {
  assert.throws(() => readManifests(['/nonexistent/x.yaml']), /\/nonexistent\/x\.yaml: /);
});
