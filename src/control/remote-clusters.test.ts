import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { createLogger } from '#/kit/index.ts';
import { defaultSettings } from '#/translate/index.ts';
import { FakeApi } from './fake-api.ts';
import { byText, paths, pod, service, until } from './fake-world.ts';
import { MergedMesh } from './merged-mesh.ts';
import { MeshTables } from './mesh-tables.ts';
import { RemoteClusters } from './remote-clusters.ts';

const secretPath = '/api/v1/secrets';
const gatewayPath = '/apis/gateway.networking.k8s.io/v1/gateways';
const far = 'far/SplitHorizonWorkload/istio-system/east-west/203.0.113.7/shop/web.shop.svc.cluster.local';

const globalService = (name: string) => {
  const { metadata, ...rest } = service('shop', name);
  return { ...rest, metadata: { ...metadata, labels: { 'istio.io/global': 'true' } } };
};

/** A cluster on network `far` with a global service, its pod and its gateway. */
async function farCluster(parts: AsyncDisposableStack): Promise<FakeApi> {
  const api = parts.use(await new FakeApi().listen());
  api.put(paths.namespaces, {
    metadata: { name: 'istio-system', labels: { 'topology.istio.io/network': 'far' } },
  });
  api.put(paths.services, globalService('web'));
  api.put(paths.pods, pod('shop', 'web'));
  api.put(gatewayPath, {
    metadata: {
      name: 'east-west',
      namespace: 'istio-system',
      labels: { 'topology.istio.io/network': 'far' },
    },
    spec: {
      gatewayClassName: 'istio-east-west',
      listeners: [{ name: 'mesh', port: 15008, protocol: 'HBONE', tls: { mode: 'Terminate' } }],
    },
    status: { addresses: [{ type: 'IPAddress', value: '203.0.113.7' }] },
  });
  return api;
}

const remoteSecret = (name: string, data: Readonly<Record<string, string>>) => ({
  metadata: { name, namespace: 'istio-system', labels: { 'istio/multiCluster': 'true' } },
  data: Object.fromEntries(
    Object.entries(data).map(([id, text]) => [id, Buffer.from(text).toString('base64')]),
  ),
});

async function setUp(t: TestContext, o: { timeoutMs?: number } = {}) {
  const parts = new AsyncDisposableStack();
  t.after(() => parts.disposeAsync());
  const api = parts.use(await new FakeApi().listen());
  const remote = await farCluster(parts);
  const log: string[] = [];
  const logger = createLogger({ level: 'info', format: 'plain', write: (line) => log.push(line) }, 'test');
  const tables = new MeshTables(logger);
  const settings = { ...defaultSettings, multiNetwork: true };
  const mesh = new MergedMesh({ settings, localNetwork: () => 'here', tables: () => tables });
  const client = api.client();
  parts.defer(() => client.close());
  const stop = new AbortController();
  parts.defer(() => stop.abort(new Error('the test has ended')));
  const clusters = parts.use(
    new RemoteClusters({
      client,
      namespace: 'istio-system',
      settings,
      mesh,
      log: logger,
      probeMs: 20,
      ...o,
    }),
  );
  return {
    api,
    remote,
    log,
    clusters,
    names: () => [...tables.addresses.all()].map(({ name }) => name).toSorted(byText),
    start: () => clusters.start(stop.signal),
    told: (text: RegExp) => until(() => log.some((line) => text.test(line))),
  };
}

const merged = [far, 'NetworkGateway/far/203.0.113.7/15008', 'shop/web.shop.svc.cluster.local'].toSorted(
  byText,
);

test('a cluster that a Secret names is read before the start is over, and leaves with the Secret', async (t) => {
  const { api, remote, clusters, names, start } = await setUp(t);
  api.put(secretPath, remoteSecret('west', { west: remote.kubeconfig() }));
  await start();
  assert.deepEqual(names(), merged);
  assert.deepEqual(clusters.status(), [
    { id: 'west', secretName: 'istio-system/west', syncStatus: 'synced', answers: true },
  ]);
  remote.delete(paths.pods, 'shop', 'web');
  await until(() => !names().includes(far));
  remote.put(paths.pods, pod('shop', 'web'));
  await until(() => names().includes(far));
  api.delete(secretPath, 'istio-system', 'west');
  await until(() => names().length === 0);
  assert.deepEqual(clusters.status(), []);
});

test('what a cluster said last stays in force while it does not answer', async (t) => {
  const { api, remote, clusters, names, start, told, log } = await setUp(t);
  api.put(secretPath, remoteSecret('west', { west: remote.kubeconfig() }));
  await start();
  remote.down = true;
  await told(/does not answer, its last state stays in force/);
  assert.deepEqual(names(), merged);
  assert.equal(clusters.status()[0]?.answers, false);
  assert.ok(clusters.status()[0]?.error !== undefined);
  remote.down = false;
  await told(/answers again/);
  assert.equal(log.filter((line) => line.includes('does not answer')).length, 1);
  remote.put(paths.services, globalService('other'));
  await until(() => names().includes('shop/other.shop.svc.cluster.local'));
});

test('a credential that does not work takes nothing away; one that does takes over', async (t) => {
  const { api, remote, clusters, names, start, told } = await setUp(t);
  api.put(secretPath, remoteSecret('west', { west: remote.kubeconfig() }));
  await start();
  const broken = remote.kubeconfig().replace(remote.url, 'https://127.0.0.1:1');
  api.put(secretPath, remoteSecret('west', { west: broken }));
  await told(/does not answer/);
  assert.deepEqual(names(), merged);
  assert.equal(clusters.status()[0]?.syncStatus, 'syncing');
  api.put(secretPath, remoteSecret('west', { west: `${remote.kubeconfig()} ` }));
  await until(() => clusters.status()[0]?.syncStatus === 'synced');
  await until(() => names().join() === merged.join());
});

test('a Secret that cannot be used is told, and the others are', async (t) => {
  const { api, remote, names, clusters, start, told } = await setUp(t);
  const file = remote.kubeconfig().replace('"user":{}', '"user":{"tokenFile":"/etc/shadow"}');
  const unchecked = remote.kubeconfig().replace('"cluster":{', '"cluster":{"insecure-skip-tls-verify":true,');
  api.put(
    secretPath,
    remoteSecret('bad', { file, unchecked, garbage: '{', Kubernetes: remote.kubeconfig() }),
  );
  api.put(secretPath, remoteSecret('west', { west: remote.kubeconfig() }));
  api.put(secretPath, remoteSecret('west-again', { west: remote.kubeconfig() }));
  await start();
  for (const reason of [
    /key file: .*\/etc\/shadow; only inline data/,
    /key unchecked: .*insecure-skip-tls-verify/,
    /key garbage: /,
    /key Kubernetes: this is the id of the cluster that we are in/,
    /key west: the cluster is known by Secret istio-system\/west already/,
  ])
    await told(reason);
  assert.deepEqual(names(), merged);
  assert.deepEqual(
    clusters.status().map(({ id }) => id),
    ['west'],
  );
});

test('a cluster that is dead at the start holds it up for a bounded time only', async (t) => {
  const { api, remote, names, clusters, start, told } = await setUp(t, { timeoutMs: 50 });
  remote.down = true;
  api.put(secretPath, remoteSecret('west', { west: remote.kubeconfig() }));
  await start();
  await told(/could not be read in time, serving without it/);
  assert.deepEqual(names(), []);
  remote.down = false;
  await until(() => clusters.status()[0]?.syncStatus === 'synced');
  await until(() => names().join() === merged.join());
});
