// A control plane against a fake API, and what its tests need beside it.
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { createLogger } from '#/kit/index.ts';
import { parseControlPlaneConfig } from './config.ts';
import { startControlPlane, type ControlPlane } from './control-plane.ts';
import { FakeApi, type FakeObject } from './fake-api.ts';
import { RawClient } from './raw-client.ts';

export const paths = {
  namespaces: '/api/v1/namespaces',
  pods: '/api/v1/pods',
  services: '/api/v1/services',
  configMaps: '/api/v1/configmaps',
  policies: '/apis/security.istio.io/v1/authorizationpolicies',
  peers: '/apis/security.istio.io/v1/peerauthentications',
} as const;

export const pod = (
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

export const service = (namespace: string, name: string): FakeObject => ({
  metadata: { name, namespace },
  spec: {
    clusterIP: '10.96.0.1',
    clusterIPs: ['10.96.0.1'],
    selector: { app: name },
    ports: [{ port: 80, protocol: 'TCP' }],
  },
});

export interface Setup {
  readonly api: FakeApi;
  readonly plane: ControlPlane;
  readonly log: string[];
  readonly roots: string;
  client(token?: string): RawClient;
  plain(): RawClient;
}

export async function setUp(
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

export async function until(what: () => boolean): Promise<void> {
  const end = Date.now() + 5000;
  while (!what()) {
    assert.ok(Date.now() < end, 'it did not happen in time');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

export const refusedWith = (code: number) => (error: unknown) => (error as { code?: number }).code === code;

export const byText = (a: string, b: string): number => (a < b ? -1 : 1);
