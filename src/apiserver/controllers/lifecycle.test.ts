// Over HTTPS, as a client sees it: the life of objects.
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import {
  configMaps,
  isConflict,
  type KubeError,
  namespaces,
  pods,
  serviceAccounts,
  services,
  type ConfigMap,
} from '#/kube/index.ts';
import { eventually, map, pod, sharedServer, testServer } from '../test-server.ts';

const shared = sharedServer();
const { fresh } = shared;

test('an object with finalizers goes when the last one is taken away', async () => {
  const { client } = shared;
  const ns = await fresh();
  await client.create(configMaps, ns, { metadata: { name: 'a', finalizers: ['example.com/wait'] } });
  await client.delete(configMaps, ns, 'a');
  const going = await client.get(configMaps, ns, 'a');
  assert.ok(going.metadata.deletionTimestamp !== undefined);
  await assert.rejects(
    client.patch(
      configMaps,
      ns,
      'a',
      { metadata: { finalizers: ['example.com/wait', 'example.com/more'] } },
      'merge',
    ),
    /no new finalizers can be added/,
  );
  await client.patch(configMaps, ns, 'a', { metadata: { finalizers: null } }, 'merge');
  assert.equal(await client.find(configMaps, ns, 'a'), undefined);
});

test('a pod on a node goes when its kubelet says so', async () => {
  const { client } = shared;
  const ns = await fresh();
  await client.create(pods, ns, pod('idle'));
  await client.delete(pods, ns, 'idle');
  assert.equal(await client.find(pods, ns, 'idle'), undefined);
  const made = await client.create(pods, ns, pod('busy', 'n1'));
  await client.delete(pods, ns, 'busy');
  const going = await client.get(pods, ns, 'busy');
  assert.equal(going.metadata.deletionGracePeriodSeconds, 30);
  await assert.rejects(client.delete(pods, ns, 'busy', { preconditions: { uid: 'other' } }), isConflict);
  await client.delete(pods, ns, 'busy', {
    gracePeriodSeconds: 0,
    preconditions: { uid: made.metadata.uid as string },
  });
  assert.equal(await client.find(pods, ns, 'busy'), undefined);
});

test('a namespace is furnished, and takes all with it when it goes', async () => {
  const { client } = shared;
  const ns = await fresh();
  await eventually(() => client.find(serviceAccounts, ns, 'default'));
  const authority = await eventually(() => client.find(configMaps, ns, 'kube-root-ca.crt'));
  assert.match(authority.data?.['ca.crt'] ?? '', /BEGIN CERTIFICATE/);
  await client.create(pods, ns, pod('p'));
  await client.create(configMaps, ns, { metadata: { name: 'held', finalizers: ['example.com/wait'] } });
  await client.delete(namespaces, undefined, ns);
  await assert.rejects(client.create(configMaps, ns, map('late')), /because it is being terminated/);
  await eventually(async () => ((await client.find(pods, ns, 'p')) === undefined ? true : undefined));
  assert.equal((await client.get(namespaces, undefined, ns)).status?.phase, 'Terminating');
  await client.patch(configMaps, ns, 'held', { metadata: { finalizers: null } }, 'merge');
  await eventually(async () =>
    (await client.find(namespaces, undefined, ns)) === undefined ? true : undefined,
  );
  await assert.rejects(
    client.delete(namespaces, undefined, 'default'),
    (error: KubeError) => error.code === 403,
  );
});

test('what is owned goes with its owner, unless it is orphaned or has another', async () => {
  const { client } = shared;
  const ns = await fresh();
  const own = (name: string, ...owners: ConfigMap[]) =>
    client.create(configMaps, ns, {
      metadata: {
        name,
        ownerReferences: owners.map(({ metadata }) => ({
          apiVersion: 'v1',
          kind: 'ConfigMap',
          name: metadata.name,
          uid: metadata.uid as string,
          blockOwnerDeletion: true,
        })),
      },
    });
  const gone = (name: string) =>
    eventually(async () => ((await client.find(configMaps, ns, name)) === undefined ? true : undefined));
  const a = await client.create(configMaps, ns, map('a'));
  const b = await client.create(configMaps, ns, map('b'));
  const child = await own('child', a);
  await own('grandchild', child);
  await own('both', a, b);
  await client.delete(configMaps, ns, 'a');
  await gone('grandchild');
  await gone('child');
  await eventually(async () => {
    const { metadata } = await client.get(configMaps, ns, 'both');
    return metadata.ownerReferences?.length === 1 ? true : undefined;
  });
  await client.delete(configMaps, ns, 'b', { propagationPolicy: 'Orphan' });
  await gone('b');
  assert.equal((await client.get(configMaps, ns, 'both')).metadata.ownerReferences, undefined);
  const c = await client.create(configMaps, ns, map('c'));
  await client.create(configMaps, ns, {
    metadata: {
      name: 'slow',
      finalizers: ['example.com/wait'],
      ownerReferences: [
        {
          apiVersion: 'v1',
          kind: 'ConfigMap',
          name: 'c',
          uid: c.metadata.uid as string,
          blockOwnerDeletion: true,
        },
      ],
    },
  });
  await client.delete(configMaps, ns, 'c', { propagationPolicy: 'Foreground' });
  await eventually(async () =>
    (await client.get(configMaps, ns, 'slow')).metadata.deletionTimestamp === undefined ? undefined : true,
  );
  assert.ok((await client.find(configMaps, ns, 'c')) !== undefined);
  await client.patch(configMaps, ns, 'slow', { metadata: { finalizers: null } }, 'merge');
  await gone('c');
  // Owners in a circle go as well, and nothing spins.
  const x = await client.create(configMaps, ns, map('x'));
  const y = await own('y', x);
  await client.patch(
    configMaps,
    ns,
    'x',
    {
      metadata: {
        ownerReferences: [{ apiVersion: 'v1', kind: 'ConfigMap', name: 'y', uid: y.metadata.uid }],
      },
    },
    'merge',
  );
  await client.delete(configMaps, ns, 'x');
  await gone('y');
});

test('a delete of many takes a selector', async () => {
  const { client } = shared;
  const ns = await fresh();
  for (const name of ['a', 'b', 'c'])
    await client.create(configMaps, ns, {
      metadata: { name, labels: { go: name === 'c' ? 'no' : 'yes' } },
    });
  const answer = await shared.raw('DELETE', `/api/v1/namespaces/${ns}/configmaps?labelSelector=go%3Dyes`);
  assert.equal((answer.json['items'] as unknown[]).length, 2);
  assert.ok((await client.find(configMaps, ns, 'c')) !== undefined);
  assert.equal(await client.find(configMaps, ns, 'a'), undefined);
});

test('after a restart all is as it was, and tokens still count', async (t: TestContext) => {
  const own = await testServer(t);
  const made = await own.client.create(services, 'default', {
    metadata: { name: 's' },
    spec: { ports: [{ port: 80 }] },
  });
  const { token } = await own.client.createToken('default', 'default', ['a'], 3600);
  await own.restart();
  assert.deepEqual(await own.client.get(services, 'default', 's'), made);
  assert.equal((await own.client.tokenReview(token, ['a'])).authenticated, true);
  await assert.rejects(
    own.client.create(services, 'default', {
      metadata: { name: 't' },
      spec: { ports: [{ port: 80 }], clusterIP: made.spec.clusterIP as string },
    }),
    /already allocated/,
  );
  // A watch goes on where it was: nothing has happened in between.
  const seen: string[] = [];
  const after = made.metadata.resourceVersion as string;
  setTimeout(
    () => void own.client.patch(services, 'default', 's', { metadata: { labels: { a: 'b' } } }, 'merge'),
    50,
  );
  for await (const event of own.client.watch(services, {
    resourceVersion: after,
    timeoutSeconds: 1,
    allowBookmarks: false,
  }))
    seen.push(event.type);
  assert.deepEqual(seen, ['MODIFIED']);
});
