// The JavaScript client that programs in this language use, against our server.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  AppsV1Api,
  CoreV1Api,
  CustomObjectsApi,
  KubeConfig,
  KubernetesObjectApi,
  makeInformer,
  PatchStrategy,
  Watch,
  type V1ConfigMap,
  type V1ObjectMeta,
} from '@kubernetes/client-node';
import { eventually, sharedServer } from './test-server.ts';

const shared = sharedServer();
const { fresh } = shared;

function config(): KubeConfig {
  const kubeconfig = new KubeConfig();
  kubeconfig.loadFromFile(shared.server.kubeconfig);
  return kubeconfig;
}

test('typed calls', async () => {
  const namespace = await fresh();
  const core = config().makeApiClient(CoreV1Api);
  const made = await core.createNamespacedConfigMap({
    namespace,
    body: { metadata: { name: 'a' }, data: { x: '1' } },
  });
  assert.equal(made.data?.['x'], '1');
  const list = await core.listNamespacedConfigMap({ namespace, fieldSelector: 'metadata.name=a' });
  assert.equal(list.items.length, 1);
  const replaced = await core.replaceNamespacedConfigMap({
    name: 'a',
    namespace,
    body: { metadata: made.metadata as V1ObjectMeta, data: { x: '2' } },
  });
  assert.equal(replaced.data?.['x'], '2');
  await assert.rejects(
    core.replaceNamespacedConfigMap({ name: 'a', namespace, body: made }),
    (error: { code: number }) => error.code === 409,
  );
  await core.deleteNamespacedConfigMap({ name: 'a', namespace });
  await assert.rejects(
    core.readNamespacedConfigMap({ name: 'a', namespace }),
    (error: { code: number }) => error.code === 404,
  );
  const token = await core.createNamespacedServiceAccountToken({
    name: 'default',
    namespace,
    body: { spec: { audiences: ['a'], expirationSeconds: 600 } },
  });
  assert.match(token.status?.token ?? '', /^ey/);
  const apps = config().makeApiClient(AppsV1Api);
  await apps.createNamespacedDeployment({
    namespace,
    body: {
      metadata: { name: 'd' },
      spec: {
        selector: { matchLabels: { a: 'b' } },
        template: { metadata: { labels: { a: 'b' } }, spec: { containers: [{ name: 'c', image: 'x' }] } },
      },
    },
  });
  const scale = await apps.readNamespacedDeploymentScale({ name: 'd', namespace });
  assert.deepEqual([scale.spec?.replicas, scale.status?.selector], [1, 'a=b']);
});

test('objects of any kind, with server-side apply', async () => {
  const namespace = await fresh();
  const objects = KubernetesObjectApi.makeApiClient(config());
  const policy = {
    apiVersion: 'security.istio.io/v1',
    kind: 'PeerAuthentication',
    metadata: { name: 'p', namespace },
    spec: { mtls: { mode: 'STRICT' } },
  };
  const applied = await objects.patch(
    policy,
    undefined,
    undefined,
    'me',
    true,
    PatchStrategy.ServerSideApply,
  );
  assert.equal((applied.metadata as V1ObjectMeta).managedFields?.[0]?.manager, 'me');
  const read = await objects.read<typeof policy>({ ...policy });
  assert.equal(read.spec.mtls.mode, 'STRICT');
  const custom = config().makeApiClient(CustomObjectsApi);
  const list = (await custom.listNamespacedCustomObject({
    group: 'security.istio.io',
    version: 'v1',
    namespace,
    plural: 'peerauthentications',
  })) as { items: unknown[] };
  assert.equal(list.items.length, 1);
});

test('watch and informer', async () => {
  const namespace = await fresh();
  const kubeconfig = config();
  const core = kubeconfig.makeApiClient(CoreV1Api);
  const path = `/api/v1/namespaces/${namespace}/configmaps`;
  const seen: string[] = [];
  const watch = await new Watch(kubeconfig).watch(
    path,
    {},
    (phase: string, object: V1ConfigMap) => seen.push(`${phase} ${object.metadata?.name}`),
    () => {},
  );
  const informer = makeInformer(kubeconfig, path, () => core.listNamespacedConfigMap({ namespace }));
  const informed: string[] = [];
  informer.on('add', (object) => informed.push(`add ${object.metadata?.name}`));
  informer.on('update', (object) => informed.push(`update ${object.metadata?.name}`));
  informer.on('delete', (object) => informed.push(`delete ${object.metadata?.name}`));
  await informer.start();
  await core.createNamespacedConfigMap({ namespace, body: { metadata: { name: 'a' } } });
  await core.deleteNamespacedConfigMap({ name: 'a', namespace });
  const wait = (list: string[], entry: string): Promise<true> =>
    eventually(() => (list.includes(entry) ? true : undefined));
  await wait(seen, 'DELETED a');
  await wait(informed, 'delete a');
  assert.ok(seen.includes('ADDED a') && informed.includes('add a'));
  watch.abort();
  await informer.stop();
});
