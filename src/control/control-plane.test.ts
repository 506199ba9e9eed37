// The whole program against a fake API, with a bare client in the place of ztunnel.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { status as grpcStatus } from '@grpc/grpc-js';
import { CertificateAuthority, createCsr, parseCertificate } from '#/identity/index.ts';
import { identityOf } from '#/model/index.ts';
import { addressTypeUrl, authorizationTypeUrl, decodeAddress, decodePolicy } from '#/wire/index.ts';
import { byText, paths, pod, refusedWith, service, setUp, until } from './fake-world.ts';
import { RawClient } from './raw-client.ts';

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
