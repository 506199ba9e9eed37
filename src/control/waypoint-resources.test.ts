// What waypoints are told, through the whole program against a fake API.
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { status as grpcStatus } from '@grpc/grpc-js';
import { decodeWaypointResource, waypointResourceTypeUrl } from '#/wire/index.ts';
import { byText, paths, pod, refusedWith, service, setUp, until } from './fake-world.ts';
import type { FakeObject } from './fake-api.ts';
import type { RawStream } from './raw-client.ts';

const gatewayApi = '/apis/gateway.networking.k8s.io/v1';
const routes = `${gatewayApi}/httproutes`;
const rules = '/apis/networking.istio.io/v1/destinationrules';
const secrets = '/api/v1/secrets';

const bound = (name: string, waypoint = 'way'): FakeObject => ({
  ...service('shop', name),
  metadata: { name, namespace: 'shop', labels: { 'istio.io/use-waypoint': waypoint } },
});

const route = (path: string, parents?: readonly unknown[]): FakeObject => ({
  metadata: { name: 'r', namespace: 'shop', generation: 1 },
  spec: {
    parentRefs: [{ group: '', kind: 'Service', name: 'web' }],
    rules: [
      { matches: [{ path: { type: 'Exact', value: path } }], backendRefs: [{ name: 'web', port: 80 }] },
    ],
  },
  ...(parents === undefined ? {} : { status: { parents } }),
});

const node = (name: string) => ({ id: `waypoint~10.0.0.9~${name}-1.shop~shop.svc.cluster.local` });

async function meshWithWaypoints(t: TestContext) {
  const world = await setUp(t);
  const { api } = world;
  for (const name of ['way', 'other']) {
    api.put(`${gatewayApi}/gateways`, {
      metadata: { name, namespace: 'shop' },
      spec: { gatewayClassName: 'istio-waypoint', listeners: [] },
      status: { addresses: [{ type: 'Hostname', value: `${name}.shop.svc.cluster.local` }] },
    });
    api.tokens.set(name, { namespace: 'shop', serviceAccount: name, audiences: ['istio-ca'] });
  }
  api.put(paths.services, bound('web'));
  const ask = (name: string, token = name): RawStream => {
    const stream = world.client(token).stream(node(name));
    stream.send({ typeUrl: waypointResourceTypeUrl, resourceNamesSubscribe: [`shop/${name}`] });
    return stream;
  };
  return { ...world, ask };
}

/** Reads until the stream has given all these names or taken them back. */
async function collect(stream: RawStream, names: readonly string[], held = new Map<string, unknown>()) {
  while (names.some((name) => !held.has(name))) {
    const { resources, removedResources } = await stream.next(waypointResourceTypeUrl);
    for (const { name, resource } of resources)
      held.set(name, decodeWaypointResource(resource?.value as Uint8Array));
    for (const name of removedResources) held.delete(name);
  }
  return held;
}

test('a waypoint gets what concerns it, each change alone, and gives back what does not any more', async (t) => {
  const { api, ask } = await meshWithWaypoints(t);
  api.put(routes, route('/a'));
  const name = 'http-route:HTTPRoute/shop/r';
  const way = ask('way');
  const held = await collect(way, ['waypoint-mesh:mesh', name]);
  assert.deepEqual([...held.keys()].toSorted(byText), [name, 'waypoint-mesh:mesh']);
  api.put(routes, route('/b'));
  const change = await way.next(waypointResourceTypeUrl);
  assert.deepEqual(
    change.resources.map((resource) => resource.name),
    [name],
  );
  // The service goes to the other waypoint, and the route with it.
  const other = ask('other');
  await collect(other, ['waypoint-mesh:mesh']);
  api.put(paths.services, bound('web', 'other'));
  await collect(other, [name]);
  const gone = await way.next(waypointResourceTypeUrl);
  assert.deepEqual([gone.resources.length, gone.removedResources], [0, [name]]);
  way.end();
  other.end();
});

test("nobody gets another waypoint's resources, nor all of them", async (t) => {
  const { api, client, plain, ask } = await meshWithWaypoints(t);
  const refused = async (stream: RawStream) => {
    await assert.rejects(stream.next(waypointResourceTypeUrl), refusedWith(grpcStatus.PERMISSION_DENIED));
  };
  await refused(ask('way', 'other'));
  const everything = client('way').stream(node('way'));
  everything.send({ typeUrl: waypointResourceTypeUrl, resourceNamesSubscribe: ['*'] });
  await refused(everything);
  const silent = client('way').stream(node('way'));
  silent.send({ typeUrl: waypointResourceTypeUrl });
  await refused(silent);
  const named = client('way').stream(node('way'));
  named.send({ typeUrl: waypointResourceTypeUrl, resourceNamesSubscribe: ['waypoint-mesh:mesh'] });
  await refused(named);
  const open = plain().stream(node('way'));
  open.send({ typeUrl: waypointResourceTypeUrl, resourceNamesSubscribe: ['shop/way'] });
  await refused(open);
  // Pods of the Gateway may have another account than its name.
  const instance = pod('shop', 'way-1', { account: 'proxy' });
  const labels = { 'gateway.networking.k8s.io/gateway-name': 'way' };
  api.put(paths.pods, { ...instance, metadata: { ...instance.metadata, labels } });
  api.tokens.set('proxy', { namespace: 'shop', serviceAccount: 'proxy', audiences: ['istio-ca'] });
  const end = Date.now() + 5000;
  for (;;) {
    const stream = ask('way', 'proxy');
    const answer = await stream.next(waypointResourceTypeUrl).catch(() => undefined);
    stream.end();
    if (answer !== undefined) break;
    assert.ok(Date.now() < end, 'the account of the pods was never taken');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
});

test("a route's status has an entry for each parent, and those of other controllers stay", async (t) => {
  const { api } = await meshWithWaypoints(t);
  const foreign = {
    parentRef: { name: 'ingress' },
    controllerName: 'example.com/ingress',
    conditions: [
      { type: 'Accepted', status: 'True', reason: 'Accepted', message: '', lastTransitionTime: 'x' },
    ],
  };
  type Entry = { controllerName: string; conditions: { type: string; status: string; reason: string }[] };
  const parents = () =>
    (api.get(routes, 'shop', 'r')?.['status'] as { parents?: readonly Entry[] } | undefined)?.parents ?? [];
  api.put(routes, route('/a', [foreign]));
  await until(() => parents().length === 2);
  assert.deepEqual(parents()[0], foreign);
  assert.equal(parents()[1]?.controllerName, 'istio.io/gateway-controller');
  assert.deepEqual(
    parents()[1]?.conditions.map(({ type, status, reason }) => [type, status, reason]),
    [
      ['Accepted', 'True', 'Accepted'],
      ['ResolvedRefs', 'True', 'ResolvedRefs'],
      ['ResolvedWaypoints', 'True', 'ResolvedWaypoints'],
    ],
  );
  const settled = api.writes.length;
  api.delete(paths.services, 'shop', 'web');
  await until(() => parents()[1]?.conditions[0]?.reason === 'NoMatchingParent');
  assert.deepEqual(parents()[0], foreign);
  assert.ok(api.writes.length > settled);
});

test('the Secret of a rule is read when the rule refers to it, and a change of it reaches the waypoint', async (t) => {
  const { api, ask } = await meshWithWaypoints(t);
  const stream = ask('way');
  const name = 'destination-policy:shop/d/shop/web.shop.svc.cluster.local';
  const encode = (text: string) => Buffer.from(text).toString('base64');
  api.put(rules, {
    metadata: { name: 'd', namespace: 'shop' },
    spec: { host: 'web', trafficPolicy: { tls: { mode: 'MUTUAL', credentialName: 'cert' } } },
  });
  const held = await collect(stream, [name]);
  const keyOf = () =>
    (held.get(name) as { settings: { tls?: { keyPem?: string; caPem?: string } } }).settings.tls;
  assert.equal(keyOf()?.caPem, '');
  for (const key of ['one', 'two']) {
    api.put(secrets, {
      metadata: { name: 'cert', namespace: 'shop' },
      data: { 'tls.crt': encode('cert'), 'tls.key': encode(key) },
    });
    held.delete(name);
    await collect(stream, [name], held);
    assert.equal(keyOf()?.keyPem, key);
  }
  stream.end();
});
