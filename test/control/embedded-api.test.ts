// The control plane against the embedded Kubernetes API: real tokens, real conditions, real watches.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { status } from '@grpc/grpc-js';
import { startApiserver } from '#/apiserver/index.ts';
import { parseControlPlaneConfig, startControlPlane, type ControlPlane } from '#/control/index.ts';
import { createCsr, parseCertificate } from '#/identity/index.ts';
import { createLogger } from '#/kit/index.ts';
import {
  authorizationPolicies,
  configMaps,
  KubeClient,
  namespaces,
  nodes,
  peerAuthentications,
  pods,
  secrets,
  serviceAccounts,
  serviceEntries,
  services,
  type Resource,
  type KubeObject,
} from '#/kube/index.ts';
import { identityOf } from '#/model/index.ts';
import { addressTypeUrl, authorizationTypeUrl, decodeAddress } from '#/wire/index.ts';
import { RawClient } from '../../src/control/raw-client.ts';

interface Cluster {
  readonly client: KubeClient;
  readonly log: string[];
  readonly parts: AsyncDisposableStack;
  start(name: string): Promise<ControlPlane>;
  proxy(plane: ControlPlane, token: string): Promise<RawClient>;
}

async function cluster(t: TestContext): Promise<Cluster> {
  const parts = new AsyncDisposableStack();
  t.after(() => parts.disposeAsync());
  const directory = mkdtempSync(join(tmpdir(), 'aura-control-'));
  parts.defer(() => rmSync(directory, { recursive: true }));
  const kubeconfig = join(directory, 'kubeconfig');
  const log: string[] = [];
  const logger = createLogger({ level: 'info', format: 'plain', write: (line) => log.push(line) }, 'test');
  parts.use(
    await startApiserver(
      { host: '127.0.0.1', port: 0, dataDir: join(directory, 'data'), kubeconfig },
      { log: logger.scope('apiserver') },
    ),
  );
  const client = KubeClient.fromKubeconfig(kubeconfig);
  parts.defer(() => client.close());
  for (const name of ['istio-system', 'shop'])
    await client.ensure(namespaces, undefined, { metadata: { name } });
  return {
    client,
    log,
    parts,
    async start(name) {
      const config = parseControlPlaneConfig(
        { POD_NAME: name, PILOT_DEBOUNCE_AFTER: '5ms', AURA_DRAIN: '200ms', ROOT_CA_DIR: '/nonexistent' },
        { host: '127.0.0.1', grpcPort: 'off', secureGrpcPort: '0', monitoringPort: '0', httpPort: '0' },
      );
      return parts.use(await startControlPlane(config, { client, log: logger.scope(name), version: 'test' }));
    },
    async proxy(plane, token) {
      const secret = await client.get(secrets, 'istio-system', 'istio-ca-secret');
      return parts.use(
        new RawClient({
          address: `127.0.0.1:${plane.addresses.tls}`,
          roots: Buffer.from(secret.data?.['root-cert.pem'] ?? '', 'base64').toString(),
          headers: { authorization: `Bearer ${token}`, clusterid: 'Kubernetes' },
        }),
      );
    },
  };
}

/** A pod that runs, with an address, as the node's agents leave it. */
async function pod(
  client: KubeClient,
  namespace: string,
  name: string,
  node: string,
  ip: string,
): Promise<string> {
  await client.ensure(serviceAccounts, namespace, { metadata: { name: `${name}-sa`, namespace } });
  await client.ensure(nodes, undefined, { metadata: { name: node } });
  const made = await client.create(pods, namespace, {
    metadata: {
      name,
      namespace,
      labels: { app: name },
      annotations: { 'ambient.istio.io/redirection': 'enabled' },
    },
    spec: { nodeName: node, serviceAccountName: `${name}-sa`, containers: [{ name: 'app', image: 'none' }] },
  });
  await setReady(client, namespace, name, true, ip);
  return made.metadata.uid ?? '';
}

const setReady = (client: KubeClient, namespace: string, name: string, ready: boolean, ip: string) =>
  client.patch(
    pods,
    namespace,
    name,
    {
      status: {
        phase: 'Running',
        podIP: ip,
        podIPs: [{ ip }],
        conditions: [{ type: 'Ready', status: ready ? 'True' : 'False' }],
      },
    },
    'merge',
    { subresource: 'status' },
  );

async function until<T>(ask: () => Promise<T | undefined> | T | undefined): Promise<T> {
  const end = Date.now() + 10_000;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    assert.ok(Date.now() < end, 'it did not happen in time');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function condition(
  client: KubeClient,
  resource: Resource<KubeObject>,
  namespace: string,
  name: string,
  type: string,
) {
  return until(async () => {
    const object = (await client.get(resource, namespace, name)) as KubeObject & {
      status?: { conditions?: { type: string; status: string; reason: string; message: string }[] };
    };
    return object.status?.conditions?.find((one) => one.type === type);
  });
}

const byText = (a: string, b: string) => (a < b ? -1 : 1);

test('objects of the API become state of the proxies, and status of the objects', async (t) => {
  const { client, start, proxy } = await cluster(t);
  await client.ensure(serviceAccounts, 'istio-system', {
    metadata: { name: 'ztunnel', namespace: 'istio-system' },
  });
  const ztunnel = await client.create(pods, 'istio-system', {
    metadata: { name: 'ztunnel-a', namespace: 'istio-system' },
    spec: { nodeName: 'n1', serviceAccountName: 'ztunnel', containers: [{ name: 'p', image: 'none' }] },
  });
  await pod(client, 'shop', 'web', 'n1', '10.1.0.5');
  await client.create(services, 'shop', {
    metadata: { name: 'web', namespace: 'shop', labels: { 'istio.io/use-waypoint': 'missing' } },
    spec: { selector: { app: 'web' }, ports: [{ port: 80, targetPort: 8080 }] },
  });
  const plane = await start('istiod-1');
  const { token } = await client.createToken('istio-system', 'ztunnel', ['istio-ca'], 3600, {
    name: 'ztunnel-a',
    uid: ztunnel.metadata.uid ?? '',
  });
  const mesh = await proxy(plane, token);
  const stream = mesh.stream({
    id: 'ztunnel~10.1.0.2~ztunnel-a.istio-system~istio-system.svc.cluster.local',
  });
  stream.subscribe();
  const first = await stream.next();
  const names = first.resources.map(({ name }) => name);
  assert.ok(names.includes('Kubernetes//Pod/shop/web'), names.join());
  assert.ok(names.includes('shop/web.shop.svc.cluster.local'));

  await setReady(client, 'shop', 'web', false, '10.1.0.5');
  const second = await stream.next();
  assert.deepEqual(
    second.resources.map(({ name }) => name),
    ['Kubernetes//Pod/shop/web'],
  );
  const web = decodeAddress(second.resources[0]?.resource?.value as Uint8Array);
  assert.equal(web.kind === 'workload' ? web.status : '', 'Unhealthy');
  assert.deepEqual(web.kind === 'workload' ? web.services : {}, {
    'shop/web.shop.svc.cluster.local': [{ servicePort: 80, targetPort: 8080 }],
  });

  const bound = await condition(client, services, 'shop', 'web', 'istio.io/WaypointBound');
  assert.deepEqual([bound.status, bound.reason], ['False', 'WaypointIsNotReady']);

  stream.subscribe(authorizationTypeUrl);
  assert.deepEqual((await stream.next(authorizationTypeUrl)).resources, []);
  await client.create(authorizationPolicies, 'shop', {
    metadata: { name: 'deny', namespace: 'shop' },
    spec: { action: 'DENY', rules: [{ to: [{ operation: { methods: ['DELETE'] } }] }] },
  });
  assert.deepEqual(
    (await stream.next(authorizationTypeUrl)).resources.map(({ name }) => name),
    ['shop/deny'],
  );
  const accepted = await condition(client, authorizationPolicies, 'shop', 'deny', 'ZtunnelAccepted');
  assert.deepEqual([accepted.status, accepted.reason], ['True', 'UnsupportedValue']);
  await client.create(peerAuthentications, 'istio-system', {
    metadata: { name: 'default', namespace: 'istio-system' },
    spec: { mtls: { mode: 'STRICT' } },
  });
  assert.deepEqual(
    (await stream.next(authorizationTypeUrl)).resources.map(({ name }) => name),
    ['istio-system/istio_converted_static_strict'],
  );

  await client.create(serviceEntries, 'shop', {
    metadata: { name: 'ext', namespace: 'shop' },
    spec: {
      hosts: ['ext.example.com'],
      resolution: 'DNS',
      ports: [{ number: 443, name: 'https', protocol: 'HTTPS' }],
    },
  });
  const addresses = await until(async () => {
    const entry = (await client.get(serviceEntries, 'shop', 'ext')) as {
      status?: { addresses?: { value: string }[] };
    };
    return entry.status?.addresses?.map(({ value }) => value);
  });
  assert.deepEqual(addresses, ['240.240.0.1', '2001:2::1']);

  await client.delete(pods, 'shop', 'web', { gracePeriodSeconds: 0 });
  const removed = await until(async () => {
    const response = await stream.next();
    return response.removedResources.length > 0 ? response.removedResources : undefined;
  });
  assert.deepEqual(removed, ['Kubernetes//Pod/shop/web']);
  stream.end();
});

test('certificates go to the node that needs them, tokens must be for us', async (t) => {
  const { client, start, proxy, log } = await cluster(t);
  await client.ensure(serviceAccounts, 'istio-system', {
    metadata: { name: 'ztunnel', namespace: 'istio-system' },
  });
  const ztunnel = await client.create(pods, 'istio-system', {
    metadata: { name: 'ztunnel-a', namespace: 'istio-system' },
    spec: { nodeName: 'n1', serviceAccountName: 'ztunnel', containers: [{ name: 'p', image: 'none' }] },
  });
  await pod(client, 'shop', 'web', 'n1', '10.1.0.5');
  await pod(client, 'shop', 'far', 'n2', '10.1.0.6');
  const plane = await start('istiod-1');
  const bound = { name: 'ztunnel-a', uid: ztunnel.metadata.uid ?? '' };
  const token = async (audience: string) =>
    (await client.createToken('istio-system', 'ztunnel', [audience], 3600, bound)).token;
  const ask = async (as: string, account: string) => {
    const identity = identityOf('cluster.local', 'shop', account);
    const { csrPem } = await createCsr(identity);
    return (await proxy(plane, as)).certificate({
      csr: csrPem,
      ttlSeconds: 3600,
      impersonatedIdentity: identity,
    });
  };
  const good = await token('istio-ca');
  const chain = await ask(good, 'web-sa');
  assert.equal(parseCertificate(chain[0] as string).identity, 'spiffe://cluster.local/ns/shop/sa/web-sa');
  const refused = (error: unknown) => (error as { code?: number }).code === status.UNAUTHENTICATED;
  await assert.rejects(ask(good, 'far-sa'), refused);
  await assert.rejects(ask(await token('vault'), 'web-sa'), refused);
  assert.ok(log.some((line) => line.includes('no pod of shop/far-sa runs on node n1')));
  const root = await until(
    async () => (await client.find(configMaps, 'shop', 'istio-ca-root-cert'))?.data?.['root-cert.pem'],
  );
  assert.equal(chain.at(-1), root);
});

test('of two replicas, one may die: the other goes on with the same state, and takes over what is led', async (t) => {
  const { client, start, proxy } = await cluster(t);
  await client.ensure(serviceAccounts, 'istio-system', {
    metadata: { name: 'ztunnel', namespace: 'istio-system' },
  });
  await pod(client, 'shop', 'web', 'n1', '10.1.0.5');
  const [one, two] = [await start('istiod-1'), await start('istiod-2')];
  const { token } = await client.createToken('istio-system', 'ztunnel', ['istio-ca'], 3600);
  const stream = (await proxy(one, token)).stream();
  stream.subscribe();
  const first = await stream.next();
  await one[Symbol.asyncDispose]();
  await assert.rejects(stream.next());
  await setReady(client, 'shop', 'web', false, '10.1.0.5');
  const again = (await proxy(two, token)).stream();
  again.subscribe(
    addressTypeUrl,
    Object.fromEntries(first.resources.map(({ name, version }) => [name, version])),
  );
  // Nothing is lost: what did not change is not sent again, what did is.
  const names: string[] = [];
  while (names.length === 0) {
    const response = await again.next();
    assert.deepEqual(response.removedResources, []);
    names.push(...response.resources.map(({ name }) => name));
  }
  assert.deepEqual(names.toSorted(byText), ['Kubernetes//Pod/shop/web']);
  await client.ensure(namespaces, undefined, { metadata: { name: 'late' } });
  await until(() => client.find(configMaps, 'late', 'istio-ca-root-cert'));
  again.end();
});
