// The whole program against a fake API, with a bare client in the place of ztunnel.
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { status as grpcStatus } from '@grpc/grpc-js';
import { CertificateAuthority, createCsr, parseCertificate } from '#/identity/index.ts';
import { createLogger } from '#/kit/index.ts';
import { identityOf } from '#/model/index.ts';
import { addressTypeUrl, authorizationTypeUrl, decodeAddress, decodePolicy } from '#/wire/index.ts';
import { parseControlPlaneConfig } from './config.ts';
import { startControlPlane, type ControlPlane } from './control-plane.ts';
import { FakeApi, type FakeObject } from './fake-api.ts';
import { RawClient } from './raw-client.ts';

const paths = {
  namespaces: '/api/v1/namespaces',
  pods: '/api/v1/pods',
  services: '/api/v1/services',
  configMaps: '/api/v1/configmaps',
  policies: '/apis/security.istio.io/v1/authorizationpolicies',
  peers: '/apis/security.istio.io/v1/peerauthentications',
} as const;

const pod = (
  namespace: string,
  name: string,
  o: { node?: string; account?: string; ready?: boolean } = {},
): FakeObject => ({
  metadata: {
    name,
    namespace,
    uid: `uid-${name}`,
    labels: { app: name },
    annotations: { 'ambient.istio.io/redirection': 'enabled' },
  },
  spec: { nodeName: o.node ?? 'n1', serviceAccountName: o.account ?? name },
  status: {
    phase: 'Running',
    podIP: '10.1.0.1',
    conditions: [{ type: 'Ready', status: o.ready === false ? 'False' : 'True' }],
  },
});

const service = (namespace: string, name: string): FakeObject => ({
  metadata: { name, namespace },
  spec: {
    clusterIP: '10.96.0.1',
    clusterIPs: ['10.96.0.1'],
    selector: { app: name },
    ports: [{ port: 80, protocol: 'TCP' }],
  },
});

interface Setup {
  readonly api: FakeApi;
  readonly plane: ControlPlane;
  readonly log: string[];
  readonly roots: string;
  client(token?: string): RawClient;
  plain(): RawClient;
}

async function setUp(
  t: TestContext,
  o: { api?: FakeApi; env?: Record<string, string> } = {},
): Promise<Setup> {
  const parts = new AsyncDisposableStack();
  t.after(() => parts.disposeAsync());
  const api = o.api ?? parts.use(await new FakeApi().listen());
  if (o.api === undefined) {
    for (const name of ['istio-system', 'shop', 'kube-public'])
      api.put(paths.namespaces, { metadata: { name } });
    api.put(paths.pods, pod('istio-system', 'ztunnel-1', { account: 'ztunnel' }));
    api.put(paths.pods, pod('shop', 'web'));
    api.put(paths.pods, pod('shop', 'far', { node: 'n2' }));
    api.put(paths.services, service('shop', 'web'));
  }
  const token = {
    namespace: 'istio-system',
    serviceAccount: 'ztunnel',
    audiences: ['istio-ca'],
    pod: { name: 'ztunnel-1', uid: 'uid-ztunnel-1' },
  };
  api.tokens.set('ztunnel-token', token);
  api.tokens.set('wrong-audience', { ...token, audiences: ['somebody-else'] });
  const log: string[] = [];
  const config = parseControlPlaneConfig(
    {
      PILOT_DEBOUNCE_AFTER: '1ms',
      AURA_DRAIN: '100ms',
      POD_NAME: `istiod-${Math.random()}`,
      ROOT_CA_DIR: '/nonexistent',
      ...o.env,
    },
    { host: '127.0.0.1', grpcPort: '0', secureGrpcPort: '0', monitoringPort: '0', httpPort: '0' },
  );
  const client = api.client();
  const plane = await startControlPlane(config, {
    client,
    log: createLogger({ level: 'debug', format: 'plain', write: (line) => log.push(line) }, 'test'),
    version: '0.0.0-test',
  });
  parts.defer(() => client.close());
  parts.use(plane);
  const secret = api.get('/api/v1/secrets', 'istio-system', 'istio-ca-secret')?.['data'] as Record<
    string,
    string
  >;
  const roots = Buffer.from(secret['root-cert.pem'] ?? '', 'base64').toString();
  const raw = (options: ConstructorParameters<typeof RawClient>[0]) => {
    return parts.use(new RawClient(options));
  };
  return {
    api,
    plane,
    log,
    roots,
    client: (bearer = 'ztunnel-token') =>
      raw({
        address: `127.0.0.1:${plane.addresses.tls}`,
        roots,
        headers: { authorization: `Bearer ${bearer}`, clusterid: 'Kubernetes' },
      }),
    plain: () => raw({ address: `127.0.0.1:${plane.addresses.plain}` }),
  };
}

async function until(what: () => boolean): Promise<void> {
  const end = Date.now() + 5000;
  while (!what()) {
    assert.ok(Date.now() < end, 'it did not happen in time');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

const refusedWith = (code: number) => (error: unknown) => (error as { code?: number }).code === code;

test('a proxy gets the mesh, then each change alone, then removals', async (t) => {
  const { api, client } = await setUp(t);
  const stream = client().stream();
  stream.subscribe();
  const first = await stream.next();
  assert.deepEqual(first.resources.map(({ name }) => name).toSorted(byText), [
    'Kubernetes//Pod/istio-system/ztunnel-1',
    'Kubernetes//Pod/shop/far',
    'Kubernetes//Pod/shop/web',
    'shop/web.shop.svc.cluster.local',
  ]);
  api.put(paths.pods, pod('shop', 'web', { ready: false }));
  const second = await stream.next();
  assert.deepEqual(
    second.resources.map(({ name }) => name),
    ['Kubernetes//Pod/shop/web'],
  );
  const changed = decodeAddress(second.resources[0]?.resource?.value as Uint8Array);
  assert.equal(changed.kind === 'workload' ? changed.status : '', 'Unhealthy');
  api.delete(paths.pods, 'shop', 'web');
  const third = await stream.next();
  assert.deepEqual(third.removedResources, ['Kubernetes//Pod/shop/web']);
  assert.deepEqual(third.resources, []);
  // A change that means nothing to proxies is not sent: the next thing that comes is the one after it.
  api.put(paths.services, {
    ...service('shop', 'web'),
    metadata: { name: 'web', namespace: 'shop', annotations: { x: 'y' } },
  });
  api.put(paths.services, service('shop', 'new'));
  const fourth = await stream.next();
  assert.deepEqual(
    fourth.resources.map(({ name }) => name),
    ['shop/new.shop.svc.cluster.local'],
  );
  stream.end();
});

const byText = (a: string, b: string) => (a < b ? -1 : 1);

test('who comes back is sent only what has changed meanwhile, by any replica', async (t) => {
  const { api, client } = await setUp(t);
  const stream = client().stream();
  stream.subscribe();
  const first = await stream.next();
  stream.end();
  const have = Object.fromEntries(first.resources.map(({ name, version }) => [name, version]));
  assert.ok(Object.values(have).every((version) => /^[0-9a-f]+$/.test(version)));
  api.put(paths.pods, pod('shop', 'web', { ready: false }));
  api.delete(paths.pods, 'shop', 'far');
  const other = await setUp(t, { api });
  const again = other.client().stream();
  again.subscribe(addressTypeUrl, { ...have, 'Kubernetes//Pod/old/gone': '1' });
  const response = await again.next();
  assert.deepEqual(
    response.resources.map(({ name }) => name),
    ['Kubernetes//Pod/shop/web'],
  );
  assert.deepEqual(response.removedResources.toSorted(byText), [
    'Kubernetes//Pod/old/gone',
    'Kubernetes//Pod/shop/far',
  ]);
  again.end();
});

test('policies reach the proxies, and their status says so', async (t) => {
  const { api, client } = await setUp(t);
  const stream = client().stream();
  stream.subscribe(authorizationTypeUrl);
  assert.deepEqual((await stream.next(authorizationTypeUrl)).resources, []);
  api.put(paths.policies, {
    metadata: { name: 'deny', namespace: 'shop', generation: 1 },
    spec: {
      action: 'DENY',
      selector: { matchLabels: { app: 'web' } },
      rules: [{ from: [{ source: { ipBlocks: ['10.0.0.0/99'] } }] }],
    },
  });
  const { resources } = await stream.next(authorizationTypeUrl);
  const policy = decodePolicy(resources[0]?.resource?.value as Uint8Array);
  assert.deepEqual([policy.name, policy.action, policy.rules], ['deny', 'Deny', [{ clauses: [] }]]);
  const conditions = () =>
    (
      api.get(paths.policies, 'shop', 'deny')?.['status'] as
        | { conditions?: { type: string; status: string; message: string }[] }
        | undefined
    )?.conditions ?? [];
  await until(() => conditions().length > 0);
  assert.equal(conditions()[0]?.type, 'ZtunnelAccepted');
  assert.equal(conditions()[0]?.status, 'False');
  assert.match(conditions()[0]?.message ?? '', /10\.0\.0\.0\/99/);
  api.put(paths.peers, {
    metadata: { name: 'default', namespace: 'istio-system' },
    spec: { mtls: { mode: 'STRICT' } },
  });
  const strict = await stream.next(authorizationTypeUrl);
  assert.deepEqual(
    strict.resources.map(({ name }) => name),
    ['istio-system/istio_converted_static_strict'],
  );
  stream.end();
});

test('a token of another audience, or none, gets no stream and no certificate', async (t) => {
  const { client, log } = await setUp(t);
  for (const token of ['wrong-audience', 'unknown']) {
    const stream = client(token).stream();
    stream.subscribe();
    await assert.rejects(stream.next(), refusedWith(grpcStatus.UNAUTHENTICATED));
  }
  const { csrPem } = await createCsr(identityOf('cluster.local', 'shop', 'web'));
  await assert.rejects(
    client('wrong-audience').certificate({ csr: csrPem, ttlSeconds: 3600 }),
    refusedWith(grpcStatus.UNAUTHENTICATED),
  );
  assert.ok(log.some((line) => line.includes('wrong audience')));
});

test('a node that says it is in another namespace is refused', async (t) => {
  const { client } = await setUp(t);
  const stream = client().stream({ id: 'ztunnel~10.0.0.1~x.shop~shop.svc.cluster.local' });
  stream.subscribe();
  await assert.rejects(stream.next(), refusedWith(grpcStatus.PERMISSION_DENIED));
});

test("ztunnel gets certificates for its own node's pods alone", async (t) => {
  const { client, log, roots } = await setUp(t);
  const web = identityOf('cluster.local', 'shop', 'web');
  const { csrPem } = await createCsr(web);
  const chain = await client().certificate({ csr: csrPem, ttlSeconds: 3600, impersonatedIdentity: web });
  assert.equal(parseCertificate(chain[0] as string).identity, web);
  assert.equal(chain.at(-1), roots);
  await assert.rejects(
    client().certificate({
      csr: csrPem,
      ttlSeconds: 3600,
      impersonatedIdentity: identityOf('cluster.local', 'shop', 'far'),
    }),
    (error: unknown) =>
      refusedWith(grpcStatus.UNAUTHENTICATED)(error) && !(error as Error).message.includes('node'),
  );
  assert.ok(log.some((line) => line.includes('no pod of shop/far runs on node n1')));
});

test('a certificate of ours is as good as a token; one of another CA is not', async (t) => {
  const { client, plane, roots } = await setUp(t);
  const web = identityOf('cluster.local', 'shop', 'web');
  const { csrPem, keyPem } = await createCsr(web);
  const chain = await client().certificate({ csr: csrPem, ttlSeconds: 3600, impersonatedIdentity: web });
  const connect = (leaf: string, key: string) => {
    const made = new RawClient({
      address: `127.0.0.1:${plane.addresses.tls}`,
      roots,
      identity: { chain: leaf, key },
    });
    t.after(() => made[Symbol.dispose]());
    return made;
  };
  const known = connect(chain[0] as string, keyPem);
  const renewed = await known.certificate({ csr: csrPem, ttlSeconds: 3600 });
  assert.equal(parseCertificate(renewed[0] as string).identity, web);
  const stream = known.stream({ id: 'waypoint~10.0.0.1~web.shop~shop.svc.cluster.local' });
  stream.subscribe();
  assert.ok((await stream.next()).resources.length > 0);
  stream.end();
  const other = await CertificateAuthority.selfSigned({ trustDomain: 'cluster.local' });
  const forged = await other.sign(csrPem, web, 3600);
  await assert.rejects(
    connect(forged.chain[0] as string, keyPem).certificate({ csr: csrPem, ttlSeconds: 3600 }),
    refusedWith(grpcStatus.UNAUTHENTICATED),
  );
});

test('every namespace has the root certificate, also after it was deleted', async (t) => {
  const { api, roots } = await setUp(t);
  const root = (namespace: string) =>
    (
      api.get(paths.configMaps, namespace, 'istio-ca-root-cert')?.['data'] as
        | Record<string, string>
        | undefined
    )?.['root-cert.pem'];
  await until(() => root('shop') === roots && root('istio-system') === roots);
  assert.equal(root('kube-public'), undefined);
  api.delete(paths.configMaps, 'shop', 'istio-ca-root-cert');
  await until(() => root('shop') === roots);
  api.put(paths.namespaces, { metadata: { name: 'late' } });
  await until(() => root('late') === roots);
});

test('plain xDS needs no token; on demand, an address brings the service and its workloads', async (t) => {
  const { plain } = await setUp(t);
  const stream = plain().stream({
    id: 'ztunnel~10.0.0.1~x.y~y.svc.cluster.local',
    metadata: { NODE_NAME: 'n9' },
  });
  stream.send({ typeUrl: addressTypeUrl, resourceNamesSubscribe: ['*'], resourceNamesUnsubscribe: ['*'] });
  stream.send({ typeUrl: addressTypeUrl, resourceNamesSubscribe: ['/10.96.0.1', '/192.0.2.1'] });
  const names: string[] = [];
  const removed: string[] = [];
  while (!removed.includes('/192.0.2.1') || names.length < 2) {
    const response = await stream.next();
    names.push(...response.resources.map(({ name }) => name));
    removed.push(...response.removedResources);
  }
  assert.deepEqual(names.toSorted(byText), ['Kubernetes//Pod/shop/web', 'shop/web.shop.svc.cluster.local']);
  stream.end();
});

test('readiness, version and metrics are served', async (t) => {
  const { plane, client } = await setUp(t);
  const stream = client().stream();
  stream.subscribe();
  await stream.next();
  const get = async (port: number, path: string) => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`);
    return { status: response.status, body: await response.text() };
  };
  assert.equal((await get(plane.addresses.ready, '/ready')).status, 200);
  assert.equal((await get(plane.addresses.monitoring, '/nope')).status, 404);
  assert.match((await get(plane.addresses.monitoring, '/version')).body, /0\.0\.0-test/);
  const { body } = await get(plane.addresses.monitoring, '/metrics');
  for (const metric of [
    'pilot_info{version="0.0.0-test"} 1',
    'pilot_services 1',
    'pilot_xds{version="unknown"} 1',
    'pilot_xds_pushes{type="wds"} 1',
    'citadel_server_csr_count 0',
  ])
    assert.ok(body.includes(metric), metric);
});

test('debug pages show who is connected and what is served', async (t) => {
  const { plane, client } = await setUp(t);
  const stream = client().stream();
  stream.subscribe();
  await stream.next();
  const page = async (path: string): Promise<unknown> => {
    const response = await fetch(`http://127.0.0.1:${plane.addresses.monitoring}/debug/${path}`);
    assert.equal(response.status, 200, path);
    return response.json();
  };
  const [proxy] = (await page('syncz')) as {
    proxy: string;
    proxy_type: string;
    resources: Record<string, unknown>;
  }[];
  assert.deepEqual([proxy?.proxy, proxy?.proxy_type], ['ztunnel-1.istio-system', 'ztunnel']);
  assert.deepEqual(Object.keys(proxy?.resources ?? {}), [addressTypeUrl]);
  const { workloads, services } = (await page('ambientz?namespace=shop')) as Record<
    string,
    { name: string }[]
  >;
  assert.deepEqual(workloads?.map(({ name }) => name).toSorted(byText), ['far', 'web']);
  assert.equal(services?.length, 1);
  for (const name of (await page('list')) as string[]) await page(name.replace('/debug/', ''));
});

test('istioctl gets the state of the proxies, and debug pages by name', async (t) => {
  const { client } = await setUp(t);
  const mesh = client();
  const stream = mesh.stream();
  stream.subscribe();
  await stream.next();
  const answer = await mesh.ask('istio.io/debug/syncz');
  assert.ok(answer.includes('ztunnel~10.0.0.1~ztunnel-1.istio-system'));
  assert.ok(answer.includes('type.googleapis.com/envoy.service.status.v3.ClientConfig'));
  assert.ok((await mesh.ask('istio.io/debug', ['ambientz?name=web'])).includes('web.shop.svc.cluster.local'));
  await assert.rejects(mesh.ask('istio.io/debug', ['nope']), refusedWith(grpcStatus.NOT_FOUND));
  await assert.rejects(
    mesh.ask('type.googleapis.com/envoy.config.cluster.v3.Cluster'),
    refusedWith(grpcStatus.UNIMPLEMENTED),
  );
  await assert.rejects(
    client('unknown').ask('istio.io/debug/syncz'),
    refusedWith(grpcStatus.UNAUTHENTICATED),
  );
});

test('kinds that the API has not yet keep nothing up', async (t) => {
  const api = await new FakeApi().listen();
  t.after(() => api[Symbol.asyncDispose]());
  for (const group of ['security.istio.io/v1', 'networking.istio.io/v1', 'gateway.networking.k8s.io/v1'])
    api.absent.add(group);
  const { plane } = await setUp(t, { api });
  assert.ok(plane.addresses.tls > 0);
});

test('the end is orderly: streams are told, leases are given back', async (t) => {
  const { plane, client, api } = await setUp(t);
  const stream = client().stream();
  stream.subscribe();
  await stream.next();
  const holder = () =>
    (
      api.get('/apis/coordination.k8s.io/v1/leases', 'istio-system', 'istio-status-leader')?.['spec'] as
        | { holderIdentity?: string }
        | undefined
    )?.holderIdentity;
  await until(() => (holder() ?? '') !== '');
  await plane[Symbol.asyncDispose]();
  await plane.done;
  await assert.rejects(stream.next(), refusedWith(grpcStatus.UNAVAILABLE));
  assert.equal(holder(), '');
});
