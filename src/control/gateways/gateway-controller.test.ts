// The controller against a fake API: what it makes, repairs, and leaves alone.
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { createLogger } from '#/kit/index.ts';
import { defaultSettings } from '#/translate/index.ts';
import { FakeApi, type FakeObject } from '../fake-api.ts';
import { GatewayController } from './gateway-controller.ts';
import type { GatewayStatus } from './gateway-object.ts';

const paths = {
  gateways: '/apis/gateway.networking.k8s.io/v1/gateways',
  classes: '/apis/gateway.networking.k8s.io/v1/gatewayclasses',
  deployments: '/apis/apps/v1/deployments',
  services: '/api/v1/services',
  accounts: '/api/v1/serviceaccounts',
  configMaps: '/api/v1/configmaps',
  namespaces: '/api/v1/namespaces',
  autoscalers: '/apis/autoscaling/v2/horizontalpodautoscalers',
} as const;

interface World {
  readonly api: FakeApi;
  readonly log: string[];
  lead(): AbortController;
  gateway(name: string, o?: { metadata?: object; spec?: object }): FakeObject;
  status(name: string): GatewayStatus | undefined;
  /** `True`, `False` or undefined. */
  condition(name: string, type: string): string | undefined;
  until(what: () => boolean): Promise<void>;
}

async function world(t: TestContext, upstreamCompat = true): Promise<World> {
  const api = await new FakeApi().listen();
  const client = api.client();
  const log: string[] = [];
  const terms: AbortController[] = [];
  t.after(async () => {
    for (const term of terms) term.abort();
    client.close();
    await api[Symbol.asyncDispose]();
  });
  for (const name of ['shop', 'istio-system']) api.put(paths.namespaces, { metadata: { name } });
  const controller = new GatewayController({
    client,
    log: createLogger({ level: 'debug', format: 'plain', write: (line) => log.push(line) }, 'test'),
    revision: 'default',
    namespace: 'istio-system',
    image: 'aura/aura',
    xdsAddress: 'https://istiod.istio-system.svc:15012',
    caAddress: 'https://istiod.istio-system.svc:15012',
    mesh: () => ({ ...defaultSettings, upstreamCompat }),
    makeClass: true,
  });
  const status = (name: string) =>
    api.get(paths.gateways, 'shop', name)?.['status'] as GatewayStatus | undefined;
  return {
    api,
    log,
    lead() {
      const term = new AbortController();
      terms.push(term);
      controller.lead(term.signal);
      return term;
    },
    gateway: (name, o = {}) =>
      api.put(paths.gateways, {
        metadata: { name, namespace: 'shop', ...o.metadata },
        spec: {
          gatewayClassName: 'istio-waypoint',
          listeners: [{ name: 'mesh', port: 15008, protocol: 'HBONE' }],
          ...o.spec,
        },
      }),
    status,
    condition: (name, type) => status(name)?.conditions?.find((condition) => condition.type === type)?.status,
    async until(what) {
      const end = Date.now() + 20_000;
      while (!what()) {
        assert.ok(Date.now() < end, `it did not happen in time\n${log.join('\n')}`);
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    },
  };
}

/** As the API server gives a Service its address. */
function assign(api: FakeApi, name: string): void {
  const service = api.get(paths.services, 'shop', name) as FakeObject;
  api.put(paths.services, {
    ...service,
    spec: { ...(service['spec'] as object), clusterIP: '10.0.0.9', clusterIPs: ['10.0.0.9'] },
  });
}

test('a Gateway gets its objects, an address and its conditions', async (t) => {
  const { api, lead, gateway, status, condition, until } = await world(t);
  gateway('waypoint');
  lead();
  await until(() => api.get(paths.deployments, 'shop', 'waypoint') !== undefined);
  await until(() => condition('waypoint', 'Programmed') === 'False');
  assert.equal(status('waypoint')?.addresses?.length, 0);
  assert.ok(api.get(paths.accounts, 'shop', 'waypoint') !== undefined);
  assert.equal(
    (
      api.get(paths.gateways, 'shop', 'waypoint')?.metadata['annotations'] as
        | Record<string, string>
        | undefined
    )?.['gateway.istio.io/controller-version'],
    '5',
  );
  assign(api, 'waypoint');
  await until(() => condition('waypoint', 'Programmed') === 'True');
  assert.deepEqual(status('waypoint')?.addresses, [
    { type: 'Hostname', value: 'waypoint.shop.svc.cluster.local' },
    { type: 'IPAddress', value: '10.0.0.9' },
  ]);
  assert.equal(status('waypoint')?.listeners?.[0]?.name, 'mesh');
});

test('nothing is written by who does not lead, nor when all is as it should be', async (t) => {
  const { api, lead, gateway, condition, until } = await world(t);
  gateway('waypoint');
  const term = lead();
  await until(() => api.get(paths.services, 'shop', 'waypoint') !== undefined);
  assign(api, 'waypoint');
  await until(() => condition('waypoint', 'Programmed') === 'True');
  term.abort();
  gateway('later');
  const deployment = api.get(paths.deployments, 'shop', 'waypoint') as FakeObject;
  await new Promise((resolve) => setTimeout(resolve, 30));
  assert.equal(api.get(paths.deployments, 'shop', 'later'), undefined);
  // The next leader does what was left undone.
  lead();
  await until(() => api.get(paths.deployments, 'shop', 'later') !== undefined);
  await until(() => condition('later', 'Programmed') === 'False');
  await new Promise((resolve) => setTimeout(resolve, 50));
  const before = api.writes.length;
  api.put(paths.deployments, { ...deployment, status: { availableReplicas: 1 } });
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.deepEqual(api.writes.slice(before), []);
});

test('drift is repaired, replicas and what others add are left alone', async (t) => {
  const { api, lead, gateway, until } = await world(t);
  gateway('waypoint');
  lead();
  const found = () => api.get(paths.deployments, 'shop', 'waypoint');
  await until(() => found() !== undefined);
  const image = () =>
    (found() as unknown as { spec: { template: { spec: { containers: { image: string }[] } } } } | undefined)
      ?.spec.template.spec.containers[0]?.image;
  const made = structuredClone(found()) as FakeObject & {
    spec: { replicas?: number; template: { spec: { containers: { image: string }[] } } };
  };
  made.spec.replicas = 7;
  (made.spec.template.spec.containers[0] as { image: string }).image = 'somebody/else';
  api.put(paths.deployments, made);
  await until(() => image() === 'aura/aura');
  assert.equal((found()?.['spec'] as { replicas?: number } | undefined)?.replicas, 7);
  api.delete(paths.services, 'shop', 'waypoint');
  await until(() => api.get(paths.services, 'shop', 'waypoint') !== undefined);
});

test('other classes, other revisions and newer controllers are left alone', async (t) => {
  const { api, lead, gateway, until } = await world(t);
  api.put(paths.namespaces, { metadata: { name: 'canary', labels: { 'istio.io/rev': 'canary' } } });
  gateway('ingress', { spec: { gatewayClassName: 'istio' } });
  gateway('revision', { metadata: { labels: { 'istio.io/rev': 'next' } } });
  gateway('inherited', { metadata: { namespace: 'canary' } });
  gateway('newer', { metadata: { annotations: { 'gateway.istio.io/controller-version': '6' } } });
  gateway('unknown', { metadata: { annotations: { 'gateway.istio.io/controller-version': 'x' } } });
  gateway('older', { metadata: { annotations: { 'gateway.istio.io/controller-version': '1' } } });
  lead();
  await until(() => api.get(paths.deployments, 'shop', 'older') !== undefined);
  await new Promise((resolve) => setTimeout(resolve, 30));
  for (const name of ['ingress', 'revision', 'newer', 'unknown'])
    assert.equal(api.get(paths.deployments, 'shop', name), undefined, name);
  assert.equal(api.get(paths.deployments, 'canary', 'inherited'), undefined);
});

test('the class is made, again if it is deleted, and has its status', async (t) => {
  const { api, lead, until } = await world(t);
  lead();
  const found = () =>
    api.get(paths.classes, undefined, 'istio-waypoint') as
      | { spec: { controllerName: string }; status?: object }
      | undefined;
  const accepted = () => found()?.status !== undefined;
  await until(accepted);
  assert.equal(found()?.spec.controllerName, 'istio.io/mesh-controller');
  api.delete(paths.classes, undefined, 'istio-waypoint');
  await until(accepted);
  assert.deepEqual(
    api.writes.filter((write) => write.startsWith('POST')),
    Array<string>(2).fill('POST /apis/gateway.networking.k8s.io/v1/gatewayclasses'),
  );
});

test('a ConfigMap changes the objects when it comes, changes and goes', async (t) => {
  const { api, lead, gateway, status, condition, until } = await world(t);
  gateway('waypoint', {
    spec: { infrastructure: { parametersRef: { group: '', kind: 'ConfigMap', name: 'params' } } },
  });
  lead();
  await until(() => condition('waypoint', 'Accepted') === 'False');
  const message = status('waypoint')?.conditions?.[0]?.message;
  assert.equal(
    message,
    'infrastructure.parametersRef names ConfigMap shop/params, which is not there: create it',
  );
  const params = (data: Record<string, string>) =>
    api.put(paths.configMaps, { metadata: { name: 'params', namespace: 'shop' }, data });
  params({ horizontalPodAutoscaler: 'spec: { maxReplicas: 3 }', service: 'metadata: { labels: { a: b } }' });
  await until(() => api.get(paths.autoscalers, 'shop', 'waypoint') !== undefined);
  await until(() => condition('waypoint', 'Accepted') === 'True');
  params({ service: 'metadata: { labels: { a: c } }' });
  await until(() => api.get(paths.autoscalers, 'shop', 'waypoint') === undefined);
  await until(
    () =>
      (
        api.get(paths.services, 'shop', 'waypoint')?.metadata['labels'] as Record<string, string> | undefined
      )?.['a'] === 'c',
  );
  params({ service: 'metadata: { name: stolen }' });
  await until(() => condition('waypoint', 'Accepted') === 'False');
  assert.equal(api.get(paths.services, 'shop', 'stolen'), undefined);
  api.put(paths.configMaps, {
    metadata: {
      name: 'defaults',
      namespace: 'istio-system',
      labels: { 'gateway.istio.io/defaults-for-class': 'istio-waypoint' },
    },
    data: { deployment: 'spec: { minReadySeconds: 9 }' },
  });
  params({});
  await until(
    () =>
      (api.get(paths.deployments, 'shop', 'waypoint')?.['spec'] as { minReadySeconds?: number } | undefined)
        ?.minReadySeconds === 9,
  );
});

test('what somebody else has made under the name is not touched, and is told', async (t) => {
  const { api, lead, gateway, status, until } = await world(t);
  api.put(paths.services, { metadata: { name: 'web', namespace: 'shop' }, spec: { clusterIP: '10.0.0.1' } });
  gateway('web');
  lead();
  await until(() => (status('web')?.conditions?.length ?? 0) > 0);
  const programmed = status('web')?.conditions?.find(({ type }) => type === 'Programmed');
  assert.equal(programmed?.status, 'False');
  assert.match(
    programmed?.message ?? '',
    /^Service shop\/web is there and is not this Gateway's: remove it, or give /,
  );
  assert.equal(api.get(paths.services, 'shop', 'web')?.metadata['labels'], undefined);
  assert.equal(api.get(paths.deployments, 'shop', 'web'), undefined);
});

test('a name that is none is told', async (t) => {
  const { lead, gateway, status, until } = await world(t);
  gateway('web', { metadata: { annotations: { 'gateway.istio.io/name-override': 'a/b' } } });
  lead();
  await until(() => (status('web')?.conditions?.length ?? 0) > 0);
  const programmed = status('web')?.conditions?.find(({ type }) => type === 'Programmed');
  assert.equal(programmed?.message, `not an object's name: "a/b"`);
});

test('without upstream’s leniency, a waypoint is programmed when a pod is ready', async (t) => {
  const { api, lead, gateway, condition, status, until } = await world(t, false);
  gateway('waypoint');
  lead();
  await until(() => api.get(paths.deployments, 'shop', 'waypoint') !== undefined);
  assign(api, 'waypoint');
  await until(() => status('waypoint')?.addresses?.length === 2);
  assert.equal(condition('waypoint', 'Programmed'), 'False');
  const deployment = api.get(paths.deployments, 'shop', 'waypoint') as FakeObject;
  api.put(paths.deployments, { ...deployment, status: { availableReplicas: 1 } });
  await until(() => condition('waypoint', 'Programmed') === 'True');
});
