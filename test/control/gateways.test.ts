// Waypoints against the embedded Kubernetes API: what server-side apply, garbage collection and the schemas make of
// the objects that the control plane writes.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { startApiserver } from '#/apiserver/index.ts';
import { parseControlPlaneConfig, startControlPlane } from '#/control/index.ts';
import { createLogger } from '#/kit/index.ts';
import {
  configMaps,
  deployments,
  gatewayClasses,
  gateways,
  KubeClient,
  namespaces,
  serviceAccounts,
  services,
  type KubeObject,
  type Resource,
} from '#/kube/index.ts';

async function cluster(t: TestContext) {
  const parts = new AsyncDisposableStack();
  t.after(() => parts.disposeAsync());
  const directory = mkdtempSync(join(tmpdir(), 'aura-gateways-'));
  parts.defer(() => rmSync(directory, { recursive: true }));
  const kubeconfig = join(directory, 'kubeconfig');
  const log: string[] = [];
  const logger = createLogger({ level: 'debug', format: 'plain', write: (line) => log.push(line) }, 'test');
  parts.use(
    await startApiserver({ host: '127.0.0.1', port: 0, dataDir: join(directory, 'data'), kubeconfig }),
  );
  const client = KubeClient.fromKubeconfig(kubeconfig);
  parts.defer(() => client.close());
  for (const name of ['istio-system', 'shop'])
    await client.ensure(namespaces, undefined, { metadata: { name } });
  const config = parseControlPlaneConfig(
    { POD_NAME: 'istiod-1', ROOT_CA_DIR: join(directory, 'no-plug-in'), AURA_DRAIN: '100ms' },
    { kubeconfig, host: '127.0.0.1', grpcPort: '0', secureGrpcPort: '0', monitoringPort: '0', httpPort: '0' },
  );
  parts.use(await startControlPlane(config, { client, log: logger, version: 'test' }));
  const eventually = async <T>(what: () => Promise<T | undefined | false>): Promise<T> => {
    const end = Date.now() + 30_000;
    for (;;) {
      const found = await what();
      if (found !== undefined && found !== false) return found;
      assert.ok(Date.now() < end, `it did not happen in time\n${log.join('\n')}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  return { client, log, eventually };
}

interface Seen extends KubeObject {
  readonly status?: {
    readonly addresses?: readonly { readonly type: string; readonly value: string }[];
    readonly conditions?: readonly {
      readonly type: string;
      readonly status: string;
      readonly reason: string;
    }[];
    readonly listeners?: readonly { readonly name: string }[];
    readonly supportedFeatures?: readonly unknown[];
  };
}

const holds = (object: Seen | undefined, type: string): string | undefined => {
  const condition = object?.status?.conditions?.find((one) => one.type === type);
  return condition === undefined ? undefined : `${condition.status} ${condition.reason}`;
};

test('a waypoint comes with its Gateway, is repaired, and goes with it', async (t) => {
  const { client, eventually } = await cluster(t);
  const gatewayClass = await eventually(async () => {
    const found = (await client.find(gatewayClasses, undefined, 'istio-waypoint')) as Seen | undefined;
    return holds(found, 'Accepted') === 'True Accepted' && found;
  });
  assert.ok((gatewayClass.status?.supportedFeatures?.length ?? 0) > 20);

  const body = {
    metadata: { name: 'waypoint', namespace: 'shop', labels: { 'istio.io/waypoint-for': 'all' } },
    spec: {
      gatewayClassName: 'istio-waypoint',
      listeners: [{ name: 'mesh', port: 15008, protocol: 'HBONE' }],
      infrastructure: { parametersRef: { group: '', kind: 'ConfigMap', name: 'params' } },
    },
  };
  await client.create(configMaps, 'shop', {
    metadata: { name: 'params' },
    data: {
      deployment:
        'spec: { template: { spec: { containers: [{ name: istio-proxy, env: [{ name: A, value: b }] }] } } }',
      podDisruptionBudget: 'spec: { minAvailable: 1 }',
    },
  });
  await client.create(gateways, 'shop', body);
  const gateway = async (): Promise<Seen> => (await client.get(gateways, 'shop', 'waypoint')) as Seen;
  const addressed = await eventually(async () => {
    const found = await gateway();
    return (found.status?.addresses?.length ?? 0) >= 2 && found;
  });
  const service = await client.get(services, 'shop', 'waypoint');
  assert.deepEqual(addressed.status?.addresses, [
    { type: 'Hostname', value: 'waypoint.shop.svc.cluster.local' },
    ...(service.spec.clusterIPs ?? []).map((value) => ({ type: 'IPAddress', value })),
  ]);
  assert.equal(addressed.metadata.annotations?.['gateway.istio.io/controller-version'], '5');
  await eventually(async () => holds(await gateway(), 'Programmed') === 'False Pending');

  // As the cluster's own controllers do when a pod is ready.
  const deployment = await client.get(deployments, 'shop', 'waypoint');
  assert.ok(
    deployment.spec.template.spec.containers[0]?.env?.some(
      ({ name, value }) => name === 'A' && value === 'b',
    ),
  );
  await client.patch(
    deployments,
    'shop',
    'waypoint',
    { status: { replicas: 1, readyReplicas: 1, availableReplicas: 1 } },
    'merge',
    { subresource: 'status' },
  );
  await eventually(async () => holds(await gateway(), 'Programmed') === 'True Programmed');

  // Scaled by a user, and with its image changed: the one stays, the other does not.
  await client.patch(
    deployments,
    'shop',
    'waypoint',
    { spec: { replicas: 3, template: { spec: { containers: [{ name: 'istio-proxy', image: 'other' }] } } } },
    'strategic',
  );
  const repaired = await eventually(async () => {
    const found = await client.get(deployments, 'shop', 'waypoint');
    return found.spec.template.spec.containers[0]?.image === 'aura/aura' && found;
  });
  assert.equal(repaired.spec.replicas, 3);

  // Labels that the Gateway loses, its objects lose too.
  assert.equal(repaired.metadata.labels?.['istio.io/waypoint-for'], 'all');
  await client.patch(
    gateways,
    'shop',
    'waypoint',
    { metadata: { labels: { 'istio.io/waypoint-for': null } } },
    'merge',
  );
  await eventually(async () => {
    const found = await client.get(deployments, 'shop', 'waypoint');
    return found.metadata.labels?.['istio.io/waypoint-for'] === undefined;
  });

  const settled = (await gateway()).metadata.resourceVersion;
  await new Promise((resolve) => setTimeout(resolve, 300));
  assert.equal((await gateway()).metadata.resourceVersion, settled, 'nothing is written for its own sake');

  await client.delete(gateways, 'shop', 'waypoint');
  const owned: readonly Resource<KubeObject>[] = [deployments, services, serviceAccounts];
  for (const resource of owned)
    await eventually(async () => (await client.find(resource, 'shop', 'waypoint')) === undefined);
});

test('what an overlay makes the API refuse is told in the status', async (t) => {
  const { client, eventually } = await cluster(t);
  await client.create(configMaps, 'shop', {
    metadata: { name: 'params' },
    data: { service: 'spec: { type: NoSuchType }' },
  });
  await client.create(gateways, 'shop', {
    metadata: { name: 'waypoint', namespace: 'shop' },
    spec: {
      gatewayClassName: 'istio-waypoint',
      listeners: [{ name: 'mesh', port: 15008, protocol: 'HBONE' }],
      infrastructure: { parametersRef: { group: '', kind: 'ConfigMap', name: 'params' } },
    },
  });
  await eventually(
    async () =>
      holds((await client.get(gateways, 'shop', 'waypoint')) as Seen, 'Programmed') === 'False Invalid',
  );
  await client.patch(configMaps, 'shop', 'params', { data: { service: null } }, 'merge');
  await eventually(async () => (await client.find(services, 'shop', 'waypoint')) !== undefined);
});
