import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MeshIndex, type Origin } from './mesh-index.ts';
import type { SourceObject } from './object.ts';
import { defaultSettings } from './settings.ts';
import type { WantedCondition } from './translation.ts';

function pod(
  namespace: string,
  name: string,
  o: { app?: string; node?: string; ready?: boolean } = {},
): SourceObject {
  return {
    metadata: { namespace, name, uid: name, labels: { app: o.app ?? name, 'pod-template-hash': '5d8f' } },
    spec: { nodeName: o.node ?? 'n1', serviceAccountName: 'sa' },
    status: {
      phase: 'Running',
      podIP: '10.0.0.1',
      conditions: [{ type: 'Ready', status: o.ready === false ? 'False' : 'True' }],
    },
  };
}

const service = (namespace: string, name: string, app: string, port = 80): SourceObject => ({
  metadata: { namespace, name },
  spec: { clusterIP: '10.96.0.1', selector: { app }, ports: [{ port, protocol: 'TCP' }] },
});

const namespace = (name: string, labels: Record<string, string> = {}): SourceObject => ({
  metadata: { name, labels },
});

function index() {
  const upserted: string[] = [];
  const removed: string[] = [];
  const conditions: [Origin, readonly WantedCondition[]][] = [];
  const mesh = new MeshIndex(defaultSettings, {
    upsert: (_record, name) => upserted.push(name),
    remove: (_table, name) => removed.push(name),
    conditions: (origin, list) => conditions.push([origin, list]),
  });
  /** What a change gives: translations run, records given, names removed. */
  const change = (act: () => void) => {
    mesh.work();
    upserted.length = 0;
    removed.length = 0;
    const before = mesh.translations;
    act();
    mesh.work();
    return { runs: mesh.translations - before, upserted: [...upserted].sort(), removed: [...removed] };
  };
  return { mesh, change, conditions };
}

/** 20 services with 5 pods each, over 2 namespaces and 4 nodes. */
function filled() {
  const made = index();
  for (const ns of ['a', 'b']) {
    made.mesh.set('Namespace', namespace(ns));
    for (let s = 0; s < 10; s++) {
      made.mesh.set('Service', service(ns, `s${s}`, `app${s}`));
      for (let p = 0; p < 5; p++)
        made.mesh.set('Pod', pod(ns, `p${s}-${p}`, { app: `app${s}`, node: `n${p % 4}` }));
    }
  }
  return made;
}

test('a change of a pod runs its own translation alone', () => {
  const { mesh, change } = filled();
  assert.deepEqual(
    change(() => mesh.set('Pod', pod('a', 'p3-1', { app: 'app3', ready: false }))),
    { runs: 1, upserted: ['Kubernetes//Pod/a/p3-1'], removed: [] },
  );
});

test('an object that comes again with nothing new runs nothing', () => {
  const { mesh, change } = filled();
  const result = change(() => {
    mesh.set('Pod', pod('a', 'p3-1', { app: 'app3', node: 'n1' }));
    mesh.set('Service', service('a', 's3', 'app3'));
    mesh.set('Namespace', namespace('a'));
  });
  assert.equal(result.runs, 0);
});

test('a change of a service runs it and the pods that it selects', () => {
  const { mesh, change } = filled();
  assert.equal(change(() => mesh.set('Service', service('a', 's3', 'app3', 8080))).runs, 6);
});

test('a service that selects other pods than before changes both', () => {
  const { mesh, change } = filled();
  assert.equal(change(() => mesh.set('Service', service('a', 's3', 'app4'))).runs, 11);
});

test('a service that comes later is found by the pods that were there', () => {
  const { mesh, change } = filled();
  const added = change(() => mesh.set('Service', service('b', 'late', 'app7')));
  assert.equal(added.runs, 6);
  const gone = change(() => mesh.delete('Service', 'b/late'));
  assert.equal(gone.runs, 6);
  assert.deepEqual(gone.removed, ['b/late.b.svc.cluster.local']);
});

test("a node's labels concern the pods on it", () => {
  const { mesh, change } = filled();
  const node = { metadata: { name: 'n3', labels: { 'topology.kubernetes.io/zone': 'z' } } };
  assert.equal(change(() => mesh.set('Node', node)).runs, 20);
});

test("a namespace's labels concern what is in it", () => {
  const { mesh, change } = filled();
  const labels = { 'istio.io/use-waypoint': 'none' };
  assert.equal(change(() => mesh.set('Namespace', namespace('a', labels))).runs, 60);
});

test('a policy with a selector concerns the pods that it selects', () => {
  const { mesh, change } = filled();
  const policy = (ns: string): SourceObject => ({
    metadata: { namespace: ns, name: 'p' },
    spec: { selector: { matchLabels: { app: 'app2' } }, rules: [{}] },
  });
  assert.equal(change(() => mesh.set('AuthorizationPolicy', policy('a'))).runs, 6);
  assert.equal(change(() => mesh.set('AuthorizationPolicy', policy('istio-system'))).runs, 11);
  assert.equal(change(() => mesh.set('AuthorizationPolicy', policy('elsewhere'))).runs, 1);
});

test('what is gone is forgotten, questions included', () => {
  const { mesh, change } = filled();
  change(() => {});
  const before = mesh.sizes;
  change(() => {
    for (let i = 0; i < 50; i++) mesh.set('Pod', pod('c', `x${i}`, { app: `x${i}`, node: `far${i}` }));
  });
  assert.ok(mesh.sizes.questions > before.questions + 100);
  const gone = change(() => {
    for (let i = 0; i < 50; i++) mesh.delete('Pod', `c/x${i}`);
  });
  assert.equal(gone.removed.length, 50);
  assert.deepEqual(mesh.sizes, before);
});

test('work stops when it is told to, and goes on where it was', () => {
  const { mesh } = filled();
  let steps = 0;
  while (!mesh.work(() => true)) steps++;
  assert.equal(steps, 120);
  assert.equal(mesh.pending, 0);
});

test('a record that goes from one object to another in one round is not removed', () => {
  const { mesh, change } = index();
  const entry = (name: string, created: string): SourceObject => ({
    metadata: { namespace: 'a', name, creationTimestamp: created },
    spec: {
      hosts: ['x.example.com'],
      addresses: ['10.0.0.1'],
      resolution: 'STATIC',
      ports: [{ number: 80 }],
    },
  });
  mesh.set('ServiceEntry', entry('young', '2026-02-01T00:00:00Z'));
  assert.deepEqual(change(() => mesh.set('ServiceEntry', entry('old', '2026-01-01T00:00:00Z'))).removed, []);
  assert.deepEqual(change(() => mesh.delete('ServiceEntry', 'a/old')).removed, []);
  assert.deepEqual(change(() => mesh.delete('ServiceEntry', 'a/young')).removed, ['a/x.example.com']);
});

test('conditions are told when they change, and taken back at the end', () => {
  const { mesh, change, conditions } = index();
  const bound = (use: string): SourceObject => ({
    metadata: { namespace: 'a', name: 's', labels: { 'istio.io/use-waypoint': use } },
    spec: { clusterIP: 'None', ports: [] },
  });
  change(() => mesh.set('Service', bound('x')));
  change(() => mesh.set('Namespace', namespace('a', { some: 'label' })));
  change(() => mesh.set('Service', bound('none')));
  assert.deepEqual(
    conditions.map(([origin, list]) => [`${origin.kind} ${origin.key}`, list.map((one) => one.reason)]),
    [
      ['Service a/s', ['WaypointIsNotReady']],
      ['Service a/s', []],
    ],
  );
});

test('other settings run everything again', () => {
  const { mesh, change } = filled();
  const result = change(() => mesh.reconfigure({ ...defaultSettings, trustDomain: 'example.org' }));
  assert.equal(result.runs, 121);
  assert.equal(change(() => mesh.reconfigure({ ...defaultSettings, trustDomain: 'example.org' })).runs, 0);
});

test('a policy of hostile depth or size is turned to the safe side, with a short message', () => {
  const { mesh, change, conditions } = index();
  let deep: unknown = 'x';
  for (let i = 0; i < 200_000; i++) deep = [deep];
  const policy = (rules: unknown, action = 'ALLOW'): SourceObject => ({
    metadata: { namespace: 'a', name: 'p' },
    spec: { action, rules },
  });
  const source = (value: unknown) => [{ from: [{ source: { ipBlocks: value } }] }];
  for (const rules of [source([deep]), source(deep), source(Array.from({ length: 50_000 }, () => 'bad'))]) {
    change(() => mesh.set('AuthorizationPolicy', policy(rules)));
    change(() => mesh.set('AuthorizationPolicy', policy(rules, 'DENY')));
  }
  for (const [, [condition]] of conditions) {
    assert.equal(condition?.status, false);
    assert.ok((condition?.message.length ?? 0) < 2000, condition?.message.slice(0, 200));
  }
  assert.equal(conditions.length > 0, true);
});

test('hostile objects give no records and throw nothing', () => {
  const { mesh, change } = index();
  let deep: unknown = {};
  for (let i = 0; i < 10_000; i++) deep = { deep };
  const garbage: readonly unknown[] = [
    null,
    7,
    'text',
    [],
    {},
    [null],
    { a: null },
    deep,
    { matchLabels: 7 },
  ];
  for (const value of garbage) {
    const metadata = {
      name: 'x',
      namespace: 'y',
      labels: value,
      annotations: value,
    } as SourceObject['metadata'];
    const object = { metadata, spec: value, status: value, endpoints: value, ports: value };
    change(() => {
      for (const kind of [
        'Namespace',
        'Node',
        'GatewayClass',
        'Gateway',
        'Service',
        'ServiceEntry',
        'EndpointSlice',
        'Pod',
        'WorkloadEntry',
        'AuthorizationPolicy',
        'PeerAuthentication',
      ] as const)
        mesh.set(kind, object);
    });
  }
});
