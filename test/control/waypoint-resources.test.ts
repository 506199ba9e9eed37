// Routes and policies for waypoints against the embedded Kubernetes API: its schemas judge the statuses that are
// written, and its watches carry what the control plane follows.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { startApiserver } from '#/apiserver/index.ts';
import { parseControlPlaneConfig, startControlPlane } from '#/control/index.ts';
import { createLogger } from '#/kit/index.ts';
import {
  configMaps,
  extensions,
  grpcRoutes,
  httpRoutes,
  KubeClient,
  namespaces,
  services,
  tcpRoutes,
  tlsRoutes,
  trafficPolicies,
  virtualServices,
  type Resource,
} from '#/kube/index.ts';

interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
}

test('statuses of routes and of our own kinds are written to the API', { timeout: 60_000 }, async (t) => {
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
  const config = parseControlPlaneConfig(
    { POD_NAME: 'istiod-1', PILOT_DEBOUNCE_AFTER: '5ms', AURA_DRAIN: '200ms', ROOT_CA_DIR: '/nonexistent' },
    { host: '127.0.0.1', grpcPort: 'off', secureGrpcPort: '0', monitoringPort: '0', httpPort: '0' },
  );
  parts.use(await startControlPlane(config, { client, log: logger, version: 'test' }));

  await client.create(services, 'shop', {
    metadata: { name: 'web' },
    spec: { selector: { app: 'web' }, ports: [{ name: 'http', port: 80 }] },
  });
  const parentRefs = [{ group: '', kind: 'Service', name: 'web' }];
  const backendRefs = [{ name: 'web', port: 80 }];
  const targetRefs = [{ kind: 'Service', name: 'web' }];
  const make = (resource: Resource, name: string, spec: object) =>
    client.create(resource, 'shop', { metadata: { name }, spec });
  await make(httpRoutes, 'r', {
    parentRefs,
    rules: [{ backendRefs: [...backendRefs, { name: 'nowhere', port: 80 }] }],
  });
  await make(grpcRoutes, 'r', { parentRefs, rules: [{ backendRefs }] });
  await make(tcpRoutes, 'r', { parentRefs, rules: [{ backendRefs }] });
  await make(tlsRoutes, 'r', { parentRefs, hostnames: ['a.example.com'], rules: [{ backendRefs }] });
  await make(virtualServices, 'v', { hosts: ['web'], http: [{ delegate: { name: 'nobody' } }] });
  await make(trafficPolicies, 'p', { targetRefs, maxRequestBodyBytes: 1 });
  await make(extensions, 'e', {
    targetRefs,
    moduleFrom: { configMapKeyRef: { name: 'code', key: 'main.ts' } },
  });

  const statusOf = async (resource: Resource, name: string) =>
    (await client.get(resource, 'shop', name))['status'] as
      | { conditions?: Condition[]; parents?: { conditions: Condition[] }[] }
      | undefined;
  /** Until the conditions say this. */
  const says = async (resource: Resource, name: string, type: string, status: string, reason: string) => {
    const end = Date.now() + 20_000;
    for (;;) {
      const found = await statusOf(resource, name);
      const all = [...(found?.conditions ?? []), ...(found?.parents?.[0]?.conditions ?? [])];
      const condition = all.find((one) => one.type === type);
      if (condition?.status === status && condition.reason === reason) return;
      assert.ok(
        Date.now() < end,
        `${resource.kind} ${name}: ${JSON.stringify(found)}\n${log.slice(-20).join('\n')}`,
      );
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  await says(httpRoutes, 'r', 'Accepted', 'True', 'Accepted');
  await says(httpRoutes, 'r', 'ResolvedRefs', 'False', 'BackendNotFound');
  for (const resource of [grpcRoutes, tcpRoutes, tlsRoutes])
    await says(resource, 'r', 'ResolvedWaypoints', 'True', 'ResolvedWaypoints');
  await says(trafficPolicies, 'p', 'Accepted', 'False', 'AncestorNotBound');
  await says(extensions, 'e', 'Accepted', 'False', 'Invalid');
  await client.create(configMaps, 'shop', { metadata: { name: 'code' }, data: { 'main.ts': 'export {}' } });
  await says(extensions, 'e', 'Accepted', 'False', 'AncestorNotBound');
  await client.create(services, 'shop', { metadata: { name: 'nowhere' }, spec: { ports: [{ port: 80 }] } });
  await says(httpRoutes, 'r', 'ResolvedRefs', 'True', 'ResolvedRefs');
});
