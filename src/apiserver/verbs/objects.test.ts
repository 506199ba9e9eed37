// Over HTTPS, as a client sees it: objects.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  configMaps,
  deployments,
  isAlreadyExists,
  isConflict,
  isNotFound,
  type KubeError,
  pods,
  services,
  type Pod,
} from '#/kube/index.ts';
import { map, pod, sharedServer } from '../test-server.ts';

const shared = sharedServer();
const { fresh } = shared;

test('creates, reads, replaces, patches and deletes', async () => {
  const { client } = shared;
  const ns = await fresh();
  const made = await client.create(configMaps, ns, map('a', { x: '1' }));
  assert.match(made.metadata.uid ?? '', /^[0-9a-f-]{36}$/);
  assert.match(made.metadata.creationTimestamp ?? '', /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
  assert.equal(made.kind, 'ConfigMap');
  await assert.rejects(client.create(configMaps, ns, map('a')), isAlreadyExists);
  const replaced = await client.replace(configMaps, ns, 'a', { ...made, data: { x: '2' } });
  assert.notEqual(replaced.metadata.resourceVersion, made.metadata.resourceVersion);
  await assert.rejects(client.replace(configMaps, ns, 'a', { ...made, data: { x: '3' } }), isConflict);
  const patched = await client.patch(configMaps, ns, 'a', { data: { y: '1' } }, 'merge');
  assert.deepEqual(patched.data, { x: '2', y: '1' });
  const json = await client.patch(configMaps, ns, 'a', [{ op: 'remove', path: '/data/x' }], 'json');
  assert.deepEqual(json.data, { y: '1' });
  assert.equal(await client.delete(configMaps, ns, 'a'), true);
  assert.equal(await client.delete(configMaps, ns, 'a'), false);
  await assert.rejects(client.get(configMaps, ns, 'a'), isNotFound);
});

test('a change that changes nothing writes nothing', async () => {
  const ns = await fresh();
  const made = await shared.client.create(configMaps, ns, map('a', { x: '1' }));
  const same = await shared.client.patch(configMaps, ns, 'a', { data: { x: '1' } }, 'merge');
  assert.equal(same.metadata.resourceVersion, made.metadata.resourceVersion);
});

test('generateName, labels and field selectors', async () => {
  const { client } = shared;
  const ns = await fresh();
  const made = await client.create(pods, ns, {
    ...pod(''),
    metadata: { generateName: 'p-', labels: { app: 'x' } },
  });
  assert.match(made.metadata.name, /^p-[a-z0-9]{5}$/);
  await client.create(pods, ns, pod('other', 'node-1'));
  const names = async (o: object): Promise<string[]> =>
    (await client.list(pods, { namespace: ns, ...o })).items.map(({ metadata }) => metadata.name);
  assert.deepEqual(await names({ labelSelector: 'app=x' }), [made.metadata.name]);
  assert.deepEqual(await names({ fieldSelector: 'spec.nodeName=node-1' }), ['other']);
  assert.deepEqual(await names({ fieldSelector: 'metadata.name=other,status.phase=Pending' }), ['other']);
  await assert.rejects(names({ fieldSelector: 'spec.foo=1' }), /field label not supported: spec.foo/);
});

test('defaults are filled in as a cluster does', async () => {
  const { client } = shared;
  const ns = await fresh();
  const made = (await client.create(pods, ns, pod('p'))) as Pod & { spec: Record<string, unknown> };
  const { restartPolicy, dnsPolicy, serviceAccountName, terminationGracePeriodSeconds, containers } =
    made.spec;
  assert.deepEqual(
    { restartPolicy, dnsPolicy, serviceAccountName, terminationGracePeriodSeconds },
    {
      restartPolicy: 'Always',
      dnsPolicy: 'ClusterFirst',
      serviceAccountName: 'default',
      terminationGracePeriodSeconds: 30,
    },
  );
  assert.equal((containers[0] as { imagePullPolicy?: string }).imagePullPolicy, 'Always');
  assert.deepEqual([made.status?.phase, made.status?.qosClass], ['Pending', 'BestEffort']);
  const template = { metadata: { labels: { app: 'd' } }, spec: pod('').spec };
  const deployment = await client.create(deployments, ns, {
    metadata: { name: 'd' },
    spec: { selector: { matchLabels: { app: 'd' } }, template },
  });
  assert.deepEqual(deployment.spec.strategy, {
    type: 'RollingUpdate',
    rollingUpdate: { maxSurge: '25%', maxUnavailable: '25%' },
  });
  assert.equal(deployment.metadata.generation, 1);
  const changed = await client.patch(deployments, ns, 'd', { spec: { replicas: 3 } }, 'strategic');
  assert.equal(changed.metadata.generation, 2);
  const labelled = await client.patch(deployments, ns, 'd', { metadata: { labels: { a: 'b' } } }, 'merge');
  assert.equal(labelled.metadata.generation, 2);
});

test('services get addresses, keep them, and give them back', async () => {
  const { client } = shared;
  const ns = await fresh();
  const make = (name: string, more: object = {}) =>
    client.create(services, ns, { metadata: { name }, spec: { ports: [{ port: 80 }], ...more } });
  const made = await make('a');
  assert.match(made.spec.clusterIP ?? '', /^10\.96\./);
  assert.deepEqual(made.spec.clusterIPs, [made.spec.clusterIP]);
  assert.deepEqual([made.spec.ipFamilies, made.spec.ports?.[0]?.targetPort], [['IPv4'], 80]);
  const again = await client.patch(services, ns, 'a', { spec: { selector: { app: 'x' } } }, 'merge');
  assert.equal(again.spec.clusterIP, made.spec.clusterIP);
  await assert.rejects(make('b', { clusterIP: made.spec.clusterIP }), /provided IP is already allocated/);
  await client.delete(services, ns, 'a');
  assert.equal((await make('b', { clusterIP: made.spec.clusterIP })).spec.clusterIP, made.spec.clusterIP);
  assert.equal((await make('headless', { clusterIP: 'None' })).spec.clusterIP, 'None');
  const external = await make('ext', { type: 'ExternalName', externalName: 'example.com' });
  assert.equal(external.spec.clusterIP, undefined);
  assert.ok(((await make('np', { type: 'NodePort' })).spec.ports?.[0]?.nodePort ?? 0) >= 30000);
  await assert.rejects(make('out', { clusterIP: '192.0.2.1' }), /not in the valid range/);
  await assert.rejects(
    client.patch(services, ns, 'b', { spec: { clusterIP: '10.96.200.200' } }, 'merge'),
    /may not change once set/,
  );
});

test('what is wrong with an object is said by field', async () => {
  const { client } = shared;
  const ns = await fresh();
  const wrong = (name: string, spec: object, message: RegExp): Promise<void> =>
    assert.rejects(
      client.create(pods, ns, { metadata: { name }, spec: spec as Pod['spec'] }),
      (error: KubeError) => {
        assert.match(error.message, message);
        return true;
      },
    );
  await wrong('a', {}, /Pod "a" is invalid: spec.containers: Required value/);
  await wrong('a', { containers: [{ name: 'c' }] }, /spec.containers\[0\].image: Required value/);
  await wrong(
    'a',
    { containers: [{ name: 'C_', image: 'x' }] },
    /spec.containers\[0\].name: Invalid value: "C_"/,
  );
  await wrong('A', pod('').spec, /metadata.name: Invalid value: "A": a lowercase RFC 1123 subdomain/);
  await wrong(
    'a',
    { containers: 'x' },
    /cannot unmarshal string into Go struct field PodSpec.spec.containers of type \[\]Container/,
  );
  await wrong(
    'a',
    { containers: [{ name: 'c', image: 'x', ports: [{ containerPort: '80' }] }] },
    /cannot unmarshal string .*containerPort of type int32/,
  );
  await assert.rejects(
    client.create(deployments, ns, {
      metadata: { name: 'd' },
      spec: {
        selector: { matchLabels: { app: 'x' } },
        template: { metadata: { labels: { app: 'y' } }, spec: pod('').spec },
      },
    }),
    /`selector` does not match template `labels`/,
  );
  await assert.rejects(client.create(configMaps, 'nowhere', map('a')), /namespaces "nowhere" not found/);
  await assert.rejects(
    client.create(configMaps, ns, { metadata: { name: 'a', labels: { 'b ad': 'x' } } }),
    /metadata.labels: Invalid value: "b ad"/,
  );
  await assert.rejects(
    client.create(configMaps, ns, { metadata: { name: 'a', annotations: { big: 'x'.repeat(300_000) } } }),
    /metadata.annotations: Too long/,
  );
});

test('dry runs answer as if, and leave nothing', async () => {
  const { client } = shared;
  const ns = await fresh();
  const made = await client.create(configMaps, ns, map('a'), { dryRun: true });
  assert.ok(made.metadata.uid !== undefined);
  assert.equal(await client.find(configMaps, ns, 'a'), undefined);
  const service = { metadata: { name: 's' }, spec: { ports: [{ port: 80 }] } };
  const dry = await client.create(services, ns, service, { dryRun: true });
  const real = await client.create(services, ns, {
    ...service,
    spec: { ...service.spec, clusterIP: dry.spec.clusterIP as string },
  });
  assert.equal(real.spec.clusterIP, dry.spec.clusterIP);
  const patched = await client.patch(services, ns, 's', { spec: { selector: { a: 'b' } } }, 'merge', {
    dryRun: true,
  });
  assert.deepEqual(patched.spec.selector, { a: 'b' });
  assert.equal((await client.get(services, ns, 's')).spec.selector, undefined);
});

test('status and spec are written apart', async () => {
  const { client } = shared;
  const ns = await fresh();
  const made = await client.create(pods, ns, pod('p', 'n1'));
  const status = { phase: 'Running', podIP: '10.0.0.1', podIPs: [{ ip: '10.0.0.1' }] } as const;
  const plain = await client.replace(pods, ns, 'p', {
    ...made,
    metadata: { ...made.metadata, labels: { a: 'b' } },
    status,
  });
  assert.equal(plain.status?.phase, 'Pending');
  const { spec: _spec, ...rest } = plain;
  const written = await client.replace(
    pods,
    ns,
    'p',
    { ...rest, spec: { containers: [] }, status },
    { subresource: 'status' },
  );
  assert.deepEqual(
    [written.status?.phase, written.spec.nodeName, written.status?.qosClass],
    ['Running', 'n1', 'BestEffort'],
  );
  const patched = await client.patch(
    pods,
    ns,
    'p',
    { status: { conditions: [{ type: 'Ready', status: 'True' }] } },
    'strategic',
    { subresource: 'status' },
  );
  assert.deepEqual(
    patched.status?.conditions?.map(({ type }) => type),
    ['Ready'],
  );
  await assert.rejects(
    client.patch(pods, ns, 'p', { spec: { nodeName: 'n2' } }, 'merge'),
    /pod updates may not change fields/,
  );
});

test('a scheduler binds a pod once', async () => {
  const { client } = shared;
  const ns = await fresh();
  await client.create(pods, ns, pod('p'));
  const bind = () =>
    client.create(pods, ns, { metadata: { name: 'p' }, target: { kind: 'Node', name: 'n1' } } as never, {
      subresource: 'binding',
    });
  const path = `/api/v1/namespaces/${ns}/pods/p/binding`;
  const body = JSON.stringify({
    apiVersion: 'v1',
    kind: 'Binding',
    metadata: { name: 'p' },
    target: { kind: 'Node', name: 'n1' },
  });
  assert.equal((await shared.raw('POST', path, { body })).code, 201);
  const bound = await client.get(pods, ns, 'p');
  assert.equal(bound.spec.nodeName, 'n1');
  assert.equal(bound.status?.conditions?.[0]?.type, 'PodScheduled');
  await assert.rejects(bind(), /already assigned to node "n1"/);
});

test('scale is a view of replicas', async () => {
  const ns = await fresh();
  await shared.client.create(deployments, ns, {
    metadata: { name: 'd' },
    spec: {
      replicas: 2,
      selector: { matchLabels: { app: 'd' } },
      template: { metadata: { labels: { app: 'd' } }, spec: pod('').spec },
    },
  });
  const path = `/apis/apps/v1/namespaces/${ns}/deployments/d/scale`;
  const scale = (await shared.raw('GET', path)).json as { spec?: unknown; status?: unknown };
  assert.deepEqual([scale.spec, scale.status], [{ replicas: 2 }, { replicas: 0, selector: 'app=d' }]);
  const put = await shared.raw('PUT', path, { body: JSON.stringify({ ...scale, spec: { replicas: 5 } }) });
  assert.equal(put.code, 200);
  assert.equal((await shared.client.get(deployments, ns, 'd')).spec.replicas, 5);
});

test('events are one thing in two groups', async () => {
  const ns = await fresh();
  const body = JSON.stringify({
    metadata: { name: 'e' },
    regarding: { kind: 'Pod', namespace: ns, name: 'p' },
    note: 'hello',
    reason: 'Test',
    type: 'Normal',
    eventTime: '2026-01-01T00:00:00.000000Z',
    reportingController: 'c',
    reportingInstance: 'i',
    action: 'a',
  });
  const made = await shared.raw('POST', `/apis/events.k8s.io/v1/namespaces/${ns}/events`, { body });
  assert.deepEqual([made.code, made.json['note']], [201, 'hello']);
  const core = await shared.raw(
    'GET',
    `/api/v1/namespaces/${ns}/events?fieldSelector=involvedObject.name%3Dp`,
  );
  const [event] = core.json['items'] as {
    message: string;
    involvedObject: { name: string };
    apiVersion: string;
  }[];
  assert.deepEqual([event?.apiVersion, event?.message, event?.involvedObject.name], ['v1', 'hello', 'p']);
});
