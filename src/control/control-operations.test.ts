// The whole program against a fake API: what operators see, how it starts and how it ends.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { status as grpcStatus } from '@grpc/grpc-js';
import { parseCertificate } from '#/identity/index.ts';
import { addressTypeUrl } from '#/wire/index.ts';
import { FakeApi } from './fake-api.ts';
import { byText, refusedWith, setUp, until } from './fake-world.ts';

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
  // In the form that istioctl takes apart.
  assert.equal((await get(plane.addresses.monitoring, '/version')).body, '0.0.0-test-unknown-Clean');
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
  assert.ok(answer.includes('ztunnel-1.istio-system'));
  assert.ok(!answer.includes('ztunnel~10.0.0.1~'));
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

test('a root of our own lives as long as it is told to', async (t) => {
  const { roots } = await setUp(t, { env: { CITADEL_SELF_SIGNED_CA_CERT_TTL: '72h' } });
  const { notBefore, notAfter } = parseCertificate(roots);
  const hours = (Number(notAfter) - Number(notBefore)) / 3_600_000;
  assert.ok(Math.abs(hours - 72) < 0.1, `${hours} h`);
});

test('the state of proxies is not told in plain text, and the answer says where it is', async (t) => {
  const { plain } = await setUp(t);
  await assert.rejects(plain().ask('istio.io/debug/syncz'), (error: unknown) => {
    const { code, details } = error as { code: number; details: string };
    return code === grpcStatus.UNAUTHENTICATED && details.includes('TLS port');
  });
});
