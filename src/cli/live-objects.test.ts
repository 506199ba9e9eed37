// What is read from a live cluster, with an API that lacks kinds or refuses to list some.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KubeError, type KubeObject } from '#/kube/index.ts';
import { kinds, kindsOnDemand } from '#/translate/index.ts';
import { liveObjects } from './live-objects.ts';

type Reader = Parameters<typeof liveObjects>[0];

/** Answers each list by its kind; `asked` has the kinds that were asked for. */
function api(
  answer: (kind: string) => readonly KubeObject[],
  maps: Readonly<Record<string, KubeObject>> = {},
): Reader & { readonly asked: string[] } {
  const asked: string[] = [];
  return {
    asked,
    listAll: ({ kind }) => {
      asked.push(kind);
      try {
        return Promise.resolve({
          items: answer(kind) as never[],
          metadata: {},
          resourceVersion: '1',
        } as never);
      } catch (error) {
        return Promise.reject(error);
      }
    },
    find: (_resource, namespace, name) => Promise.resolve(maps[`${namespace}/${name}`] as never),
  };
}

test('every kind that translation reads is listed, with or without the rest', async () => {
  for (const everything of [true, false]) {
    const client = api(() => []);
    await liveObjects(client, everything);
    const onDemand: readonly string[] = kindsOnDemand;
    const left = kinds.filter((kind) => !onDemand.includes(kind) && !client.asked.includes(kind));
    assert.deepEqual(left, []);
  }
});

test('kinds that are not installed are none, and those that may not be listed are told', async () => {
  const { documents, missing } = await liveObjects(
    api((kind) => {
      if (kind === 'TLSRoute' || kind === 'Extension') throw new KubeError(404, 'NotFound', 'no such kind');
      if (kind === 'Node') throw new KubeError(403, 'Forbidden', 'you may not list nodes');
      return kind === 'Pod' ? [{ metadata: { name: 'web', namespace: 'demo' } }] : [];
    }),
    false,
  );
  assert.deepEqual(
    documents.map(({ kind, namespace, name }) => [kind, namespace, name]),
    [['Pod', 'demo', 'web']],
  );
  assert.equal(missing.length, 1);
  assert.match(missing[0] ?? '', /^nodes: .*you may not list nodes/);
});

test('the ConfigMaps that hold modules of Extensions are read, and no others', async () => {
  const extension = {
    metadata: { name: 'stamp', namespace: 'demo' },
    spec: { moduleFrom: { configMapKeyRef: { name: 'code', key: 'stamp.ts' } } },
  };
  const { documents } = await liveObjects(
    api((kind) => (kind === 'Extension' ? [extension] : []), {
      'demo/code': { metadata: { name: 'code', namespace: 'demo' } },
      'demo/other': { metadata: { name: 'other', namespace: 'demo' } },
    }),
    false,
  );
  assert.deepEqual(
    documents.map(({ kind, name }) => `${kind} ${name}`),
    ['Extension stamp', 'ConfigMap code'],
  );
});
