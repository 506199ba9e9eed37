import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MeshIndex } from '../mesh-index.ts';
import type { SourceObject } from '../object.ts';
import { defaultSettings } from '../settings.ts';
import { encodeWaypointResource } from '#/wire/index.ts';
import type { WaypointRecord } from './waypoint-record.ts';

const gateway = (name: string): SourceObject => ({
  metadata: { namespace: 'shop', name },
  spec: { gatewayClassName: 'istio-waypoint', listeners: [] },
  status: { addresses: [{ type: 'Hostname', value: `${name}.shop.svc.cluster.local` }] },
});

const service = (name: string, waypoint = 'way'): SourceObject => ({
  metadata: { namespace: 'shop', name, labels: { 'istio.io/use-waypoint': waypoint } },
  spec: { clusterIP: '10.96.0.1', selector: { app: name }, ports: [{ port: 80 }] },
});

const route = (i: number, header = 'a', backend = `s${i % 100}`): SourceObject => ({
  metadata: { namespace: 'shop', name: `r${i}`, generation: 1 },
  spec: {
    parentRefs: [{ group: '', kind: 'Service', name: `s${i % 100}` }],
    rules: [
      {
        matches: [
          { path: { type: 'PathPrefix', value: `/r${i}` }, headers: [{ name: 'x-a', value: header }] },
        ],
        backendRefs: [{ name: backend, port: 80 }],
      },
    ],
  },
});

function world() {
  const bytes = new Map<string, string>();
  const gateways = new Map<string, readonly string[]>();
  const changed = new Set<string>();
  const needs: string[] = [];
  const mesh = new MeshIndex(defaultSettings, {
    upsert: () => {},
    // As the tables do: equal bytes for equal waypoints are no change.
    upsertWaypoint: ({ resource, gateways: groups }: WaypointRecord, name) => {
      const text = `${Buffer.from(encodeWaypointResource(resource)).toString()} ${groups.join()}`;
      if (bytes.get(name) !== text) changed.add(name);
      bytes.set(name, text);
      gateways.set(name, groups);
    },
    remove: (table, name) => {
      if (table !== 'waypoint') return;
      bytes.delete(name);
      gateways.delete(name);
      changed.add(name);
    },
    needs: (kind, key, needed) => needs.push(`${needed ? '+' : '-'}${kind} ${key}`),
  });
  mesh.set('Namespace', { metadata: { name: 'shop' } });
  mesh.set('Gateway', gateway('way'));
  mesh.set('Gateway', gateway('other'));
  const change = (act: () => void) => {
    mesh.work();
    changed.clear();
    const before = mesh.translations;
    act();
    mesh.work();
    return { runs: mesh.translations - before, changed: [...changed].sort() };
  };
  return { mesh, bytes, gateways, needs, change };
}

test('one of 5 000 routes is one translation and one resource', () => {
  const { mesh, bytes, change } = world();
  for (let i = 0; i < 100; i++) mesh.set('Service', service(`s${i}`));
  for (let i = 0; i < 5000; i++) mesh.set('HTTPRoute', route(i));
  assert.deepEqual(
    change(() => mesh.set('HTTPRoute', route(4321, 'b'))),
    { runs: 1, changed: ['http-route:HTTPRoute/shop/r4321'] },
  );
  assert.equal(bytes.size, 5001);
  assert.deepEqual(
    change(() => mesh.set('HTTPRoute', route(4321, 'b'))),
    { runs: 0, changed: [] },
  );
  assert.deepEqual(
    change(() => mesh.delete('HTTPRoute', 'shop/r7')),
    { runs: 1, changed: ['http-route:HTTPRoute/shop/r7'] },
  );
});

test('a service that goes to another waypoint takes its routes and rules along', () => {
  const { mesh, gateways, change } = world();
  mesh.set('Service', service('s0'));
  mesh.set('Service', service('s1'));
  mesh.set('HTTPRoute', route(0, 'a', 's1'));
  mesh.set('DestinationRule', {
    metadata: { namespace: 'shop', name: 'd' },
    spec: { host: 's1', subsets: [{ name: 'v1', labels: { version: 'v1' } }] },
  });
  const policy = 'destination-policy:shop/d/shop/s1.shop.svc.cluster.local';
  mesh.work();
  assert.deepEqual(gateways.get(policy), ['shop/way']);
  change(() => mesh.set('Service', service('s0', 'other')));
  assert.deepEqual(gateways.get('http-route:HTTPRoute/shop/r0'), ['shop/other']);
  // s1 is bound to `way` still, and has requests from `other`.
  assert.deepEqual(gateways.get(policy), ['shop/other', 'shop/way']);
  change(() => mesh.set('Service', service('s1', 'none')));
  assert.deepEqual(gateways.get(policy), ['shop/other']);
  change(() => mesh.delete('HTTPRoute', 'shop/r0'));
  assert.equal(gateways.get(policy), undefined);
});

test("a pod's labels change the members of a subset, and no more", () => {
  const { mesh, change } = world();
  mesh.set('Service', service('s1'));
  mesh.set('DestinationRule', {
    metadata: { namespace: 'shop', name: 'd' },
    spec: { host: 's1', subsets: [{ name: 'v1', labels: { version: 'v1' } }] },
  });
  const pod = (version: string, app = 's1'): SourceObject => ({
    metadata: { namespace: 'shop', name: 'p', uid: 'p', labels: { app, version } },
    spec: { nodeName: 'n' },
    status: { phase: 'Running', podIP: '10.0.0.1' },
  });
  const members = 'subset-members:shop/s1.shop.svc.cluster.local/v1';
  assert.deepEqual(change(() => mesh.set('Pod', pod('v1'))).changed, [members]);
  assert.deepEqual(change(() => mesh.set('Pod', pod('v2'))).changed, [members]);
  // It was one of the service's: the rule looks again, and finds the same.
  const left = change(() => mesh.set('Pod', pod('v2', 'else')));
  assert.deepEqual(left, { runs: 2, changed: [] });
  const elsewhere = change(() => mesh.set('Pod', pod('v1', 'else')));
  assert.deepEqual(elsewhere, { runs: 1, changed: [] });
});

test('secrets are asked for while a rule refers to them, and used when they come', () => {
  const { mesh, needs, bytes, change } = world();
  const rule = (credentialName: string): SourceObject => ({
    metadata: { namespace: 'shop', name: 'd' },
    spec: { host: 's1', trafficPolicy: { tls: { mode: 'MUTUAL', credentialName } } },
  });
  mesh.set('Service', service('s1'));
  change(() => mesh.set('DestinationRule', rule('cert')));
  assert.deepEqual(needs, ['+Secret shop/cert', '+Secret shop/cert-cacert']);
  const data = { 'tls.crt': 'Y2VydA==', 'tls.key': 'a2V5' };
  const secret = { metadata: { namespace: 'shop', name: 'cert' }, data };
  assert.equal(change(() => mesh.set('Secret', secret)).runs, 1);
  assert.match(bytes.get('destination-policy:shop/d/shop/s1.shop.svc.cluster.local') ?? '', /"keyPem":"key"/);
  needs.length = 0;
  change(() => mesh.set('DestinationRule', rule('next')));
  assert.deepEqual(needs.sort(), [
    '+Secret shop/next',
    '+Secret shop/next-cacert',
    '-Secret shop/cert',
    '-Secret shop/cert-cacert',
  ]);
});

test('hostile objects of the kinds for waypoints give no faults', () => {
  const { mesh } = world();
  let deep: unknown = {};
  for (let i = 0; i < 10_000; i++) deep = { deep };
  const values: readonly unknown[] = [null, 7, 'text', [], {}, [null], [{}], [[7]], { a: null }, deep];
  const fields = [
    'parentRefs',
    'rules',
    'hosts',
    'http',
    'tcp',
    'tls',
    'trafficPolicy',
    'subsets',
    'targetRefs',
  ];
  const more = [
    'jwtRules',
    'accessLogging',
    'metrics',
    'tracing',
    'localRateLimits',
    'globalRateLimits',
    'module',
  ];
  const kinds = [
    'HTTPRoute',
    'GRPCRoute',
    'TCPRoute',
    'TLSRoute',
    'VirtualService',
    'DestinationRule',
  ] as const;
  const policies = [
    'RequestAuthentication',
    'Telemetry',
    'TrafficPolicy',
    'Extension',
    'AuthorizationPolicy',
  ] as const;
  const parents = [{ group: '', kind: 'Service', name: 's1' }];
  mesh.set('Service', service('s1'));
  for (const value of values)
    for (const kind of [...kinds, ...policies]) {
      const given = Object.fromEntries([...fields, ...more].map((field) => [field, value]));
      for (const spec of [
        value,
        given,
        { ...given, parentRefs: parents, targetRefs: parents, hosts: ['s1'], host: 's1' },
        {
          hosts: ['s1'],
          host: 's1',
          parentRefs: parents,
          targetRefs: parents,
          rules: [given],
          http: [given],
        },
      ]) {
        mesh.set(kind, { metadata: { namespace: 'shop', name: 'x' }, spec });
        mesh.work();
        for (const { problems } of mesh.problems())
          for (const { reason } of problems) assert.doesNotMatch(reason, /cannot be translated/);
      }
    }
});
