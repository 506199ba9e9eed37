// Two clusters, each with an embedded API of its own; the control plane of one reads the other by a kubeconfig in a
// Secret, and its proxies are told of what is behind the other's gateway.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { startApiserver, type Apiserver } from '#/apiserver/index.ts';
import { parseControlPlaneConfig, startControlPlane } from '#/control/index.ts';
import { createLogger } from '#/kit/index.ts';
import {
  gateways,
  KubeClient,
  namespaces,
  nodes,
  pods,
  secrets,
  serviceAccounts,
  services,
} from '#/kube/index.ts';
import { addressTypeUrl, decodeAddress } from '#/wire/index.ts';
import { RawClient } from '../../src/control/raw-client.ts';

interface Api {
  readonly server: Apiserver;
  readonly client: KubeClient;
  readonly kubeconfig: string;
}

/** An API with a service for all clusters, and a pod that it has. */
async function cluster(parts: AsyncDisposableStack, network: string, vip: string): Promise<Api> {
  const directory = mkdtempSync(join(tmpdir(), 'aura-clusters-'));
  parts.defer(() => rmSync(directory, { recursive: true, force: true }));
  const file = join(directory, 'kubeconfig');
  const server = parts.use(
    await startApiserver({ host: '127.0.0.1', port: 0, dataDir: join(directory, 'data'), kubeconfig: file }),
  );
  const client = KubeClient.fromKubeconfig(file);
  parts.defer(() => client.close());
  await client.ensure(namespaces, undefined, { metadata: { name: 'istio-system' } });
  await client.patch(
    namespaces,
    undefined,
    'istio-system',
    { metadata: { labels: { 'topology.istio.io/network': network } } },
    'merge',
  );
  await client.ensure(namespaces, undefined, { metadata: { name: 'shop' } });
  await client.ensure(nodes, undefined, { metadata: { name: 'n1' } });
  await client.ensure(serviceAccounts, 'shop', { metadata: { name: `web-${network}`, namespace: 'shop' } });
  await client.create(services, 'shop', {
    metadata: { name: 'web', namespace: 'shop', labels: { 'istio.io/global': 'true' } },
    spec: { clusterIP: vip, selector: { app: 'web' }, ports: [{ name: 'http', port: 80, targetPort: 8080 }] },
  });
  return { server, client, kubeconfig: readFileSync(file, 'utf8') };
}

async function putPod({ client }: Api, name: string, account: string, ip: string): Promise<void> {
  await client.create(pods, 'shop', {
    metadata: {
      name,
      namespace: 'shop',
      labels: { app: 'web' },
      annotations: { 'ambient.istio.io/redirection': 'enabled' },
    },
    spec: { nodeName: 'n1', serviceAccountName: account, containers: [{ name: 'app', image: 'none' }] },
  });
  const status = {
    phase: 'Running',
    podIP: ip,
    podIPs: [{ ip }],
    conditions: [{ type: 'Ready', status: 'True' }],
  };
  await client.patch(pods, 'shop', name, { status }, 'merge', { subresource: 'status' });
}

async function putGateway({ client }: Api, address: string): Promise<void> {
  await client.create(gateways, 'istio-system', {
    metadata: {
      name: 'east-west',
      namespace: 'istio-system',
      labels: { 'topology.istio.io/network': 'far' },
    },
    spec: {
      gatewayClassName: 'istio-east-west',
      listeners: [
        {
          name: 'mesh',
          port: 15008,
          protocol: 'HBONE',
          tls: { mode: 'Terminate', options: { 'gateway.istio.io/tls-terminate-mode': 'ISTIO_MUTUAL' } },
        },
      ],
    },
  });
  const status = { addresses: [{ type: 'IPAddress', value: address }] };
  await client.patch(gateways, 'istio-system', 'east-west', { status }, 'merge', { subresource: 'status' });
}

async function until<T>(what: string, ask: () => Promise<T | undefined> | T | undefined): Promise<T> {
  const end = Date.now() + 30_000;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    assert.ok(Date.now() < end, `not in time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function setUp(t: TestContext) {
  const parts = new AsyncDisposableStack();
  t.after(() => parts.disposeAsync());
  const [here, far] = await Promise.all([
    cluster(parts, 'here', '10.96.0.10'),
    cluster(parts, 'far', '10.96.0.20'),
  ]);
  await putPod(here, 'web-1', 'web-here', '10.1.0.1');
  await putPod(far, 'web-a', 'web-far', '10.1.0.1');
  await putPod(far, 'web-b', 'web-far', '10.1.0.2');
  await putGateway(far, '203.0.113.7');
  await here.client.create(secrets, 'istio-system', {
    metadata: {
      name: 'istio-remote-secret-west',
      namespace: 'istio-system',
      labels: { 'istio/multiCluster': 'true' },
      annotations: { 'networking.istio.io/cluster': 'west' },
    },
    stringData: { west: far.kubeconfig },
  });
  const log: string[] = [];
  const config = parseControlPlaneConfig(
    {
      POD_NAME: 'one',
      PILOT_DEBOUNCE_AFTER: '5ms',
      AURA_DRAIN: '200ms',
      ROOT_CA_DIR: '/nonexistent',
      AMBIENT_ENABLE_MULTI_NETWORK: 'true',
    },
    { host: '127.0.0.1', grpcPort: '0', secureGrpcPort: '0', monitoringPort: '0', httpPort: '0' },
  );
  const logger = createLogger({ level: 'info', format: 'plain', write: (line) => log.push(line) }, 'test');
  const plane = parts.use(
    await startControlPlane(config, { client: here.client, log: logger, version: 'test' }),
  );
  const page = async (path: string): Promise<string> =>
    (await fetch(`http://127.0.0.1:${plane.addresses.monitoring}${path}`)).text();
  const stream = parts.use(new RawClient({ address: `127.0.0.1:${plane.addresses.plain}` })).stream();
  return { here, far, log, page, stream };
}

const split = 'far/SplitHorizonWorkload/istio-system/east-west/203.0.113.7/shop/web.shop.svc.cluster.local';

test('what is behind the gateway of another cluster is one workload, and outlives that cluster', async (t) => {
  const { here, far, log, page, stream } = await setUp(t);
  stream.subscribe();
  const records = new Map<string, ReturnType<typeof decodeAddress>>();
  /** Reads what comes until it is as wanted. */
  const see = async (what: string, seen: () => boolean): Promise<void> => {
    while (!seen()) {
      const { resources, removedResources } = await stream
        .next(addressTypeUrl, 30_000)
        .catch((error: unknown) => {
          throw new Error(`${what}: ${String(error)}; known: ${[...records.keys()].join(', ')}`);
        });
      for (const { name, resource } of resources)
        records.set(name, decodeAddress(resource?.value as Uint8Array));
      for (const name of removedResources) records.delete(name);
    }
  };
  const capacity = () => {
    const record = records.get(split);
    return record?.kind === 'workload' ? record.capacity : 0;
  };
  await see('the first push', () => records.has(split));
  assert.equal(capacity(), 2);
  assert.ok(records.has('Kubernetes//Pod/shop/web-1'));
  assert.ok(records.has('NetworkGateway/far/203.0.113.7/15008'));
  assert.ok(!records.has('west//Pod/shop/web-a'), 'a workload of another network is not sent itself');
  const web = records.get('shop/web.shop.svc.cluster.local');
  assert.ok(web?.kind === 'service');
  assert.deepEqual(web.subjectAltNames, ['spiffe://cluster.local/ns/shop/sa/web-far']);
  assert.deepEqual(
    web.addresses.map(({ network, ip }) => `${network}/${ip}`),
    ['far/10.96.0.20', 'here/10.96.0.10'],
  );

  await putPod(far, 'web-c', 'web-far', '10.1.0.3');
  await see('a third pod there', () => capacity() === 3);

  // The other cluster dies: its last state stays, and our own changes come as ever.
  await far.server[Symbol.asyncDispose]();
  await putPod(here, 'web-2', 'web-here', '10.1.0.2');
  await see('a pod of ours', () => records.has('Kubernetes//Pod/shop/web-2'));
  await until('the dead cluster is told', () => log.find((line) => line.includes('does not answer')));
  assert.equal(capacity(), 3);
  const clusters = JSON.parse(await page('/debug/clusterz')) as Record<string, unknown>[];
  assert.deepEqual(
    clusters.map(({ id, secretName, syncStatus, answers }) => ({ id, secretName, syncStatus, answers })),
    [
      { id: 'Kubernetes', secretName: '', syncStatus: 'synced', answers: true },
      {
        id: 'west',
        secretName: 'istio-system/istio-remote-secret-west',
        syncStatus: 'synced',
        answers: false,
      },
    ],
  );
  const metrics = await page('/metrics');
  assert.match(metrics, /istiod_managed_clusters\{cluster_type="remote"\} 1/);
  assert.match(metrics, /aura_control_remote_cluster_up\{cluster="west"\} 0/);

  await here.client.delete(secrets, 'istio-system', 'istio-remote-secret-west');
  await see('the cluster has left', () => !records.has(split));
  assert.ok(!records.has('NetworkGateway/far/203.0.113.7/15008'));
});
