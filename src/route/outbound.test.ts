import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { MeshKey, MeshView, Service, Workload } from '#/model/index.ts';
import type { MeshStore } from '#/state/index.ts';
import { aService, aWorkload, gateway, ip, seededRandom } from '../../test/mesh-records.ts';
import { example, listed, plan, remoteGateway, summary, waypoint } from '../../test/outbound-plans.ts';
import { defaultRouteSettings } from './index.ts';

test('a waypoint that cannot be reached is never gone round', () => {
  const pod = aWorkload('pod', { addresses: ['127.0.0.2'], ...listed });
  const service = (name: string) =>
    aService('example.com', { addresses: ['127.0.0.3'], waypoint: gateway(name) });
  const rows: readonly [string, string, readonly (Workload | Service)[], string][] = [
    ['unknown address', '127.0.0.3:80', [service('127.0.0.99'), pod], 'waypoint /127.0.0.99 not found'],
    ['unknown name', '127.0.0.3:80', [service('ns/gone'), pod], 'waypoint ns/gone not found'],
    [
      'no endpoint that is ready',
      '127.0.0.3:80',
      [
        service('ns/waypoint.com'),
        pod,
        aService('waypoint.com', { ports: { 15008: 15008 } }),
        aWorkload('w', {
          addresses: ['127.0.0.12'],
          status: 'Unhealthy',
          services: { 'ns/waypoint.com': {} },
        }),
      ],
      'waypoint ns/waypoint.com has no endpoint that is ready',
    ],
    [
      'a waypoint that passes through',
      '127.0.0.3:80',
      [
        service('127.0.0.20'),
        pod,
        aService('pt', { addresses: ['127.0.0.20'], loadBalancing: { mode: 'PASSTHROUGH' } }),
      ],
      'waypoint /127.0.0.20 is a service that passes through',
    ],
    [
      'of a workload',
      '127.0.0.2:80',
      [aWorkload('pod', { addresses: ['127.0.0.2'], waypoint: gateway('ns/gone') })],
      'waypoint ns/gone not found',
    ],
    [
      'without an address',
      '127.0.0.3:80',
      [
        service('ns/waypoint.com'),
        aService('waypoint.com', { ports: { 15008: 15008 }, ipFamilies: 'IPV6_ONLY' }),
        aWorkload('w', { addresses: ['127.0.0.12'], services: { 'ns/waypoint.com': {} } }),
      ],
      'waypoint ns/waypoint.com no valid routing destination for workload: ns/w (cluster1//Pod/ns/w): no address of an allowed family',
    ],
  ];
  for (const [name, to, records, why] of rows)
    assert.equal(summary(plan(to, records)), `UNKNOWN_WAYPOINT unknown waypoint: ${why}`, name);
});

test('the waypoint itself goes straight to its workload', () => {
  const pod = aWorkload('pod', { addresses: ['127.0.0.2'], waypoint: gateway('ns/waypoint.com') });
  const service = aService('waypoint.com', { ports: { 15008: 15008 } });
  const member = aWorkload('w', {
    addresses: ['127.0.0.12'],
    serviceAccount: 'waypoint-sa',
    services: { 'ns/waypoint.com': {} },
  });
  const records = [pod, service];
  assert.equal(
    summary(plan('127.0.0.2:80', records, { source: member, from: '127.0.0.12' })),
    'tcp 127.0.0.2:80',
  );
  assert.equal(
    summary(plan('127.0.0.2:80', [...records, member], { from: '127.0.0.12' })),
    'hbone 127.0.0.12:15008 127.0.0.2:80',
    'the address alone is not enough',
  );
  assert.equal(
    summary(plan('127.0.0.2:80', records, { source: member, from: '127.0.0.13' })),
    'hbone 127.0.0.12:15008 127.0.0.2:80',
    'the identity alone is not enough',
  );
  const byAddress = aWorkload('pod', { addresses: ['127.0.0.2'], waypoint: gateway('127.0.0.10') });
  assert.equal(
    summary(plan('127.0.0.2:80', [byAddress], { source: waypoint, from: '127.0.0.10' })),
    'tcp 127.0.0.2:80',
  );
});

test('weighted waypoints are chosen by weight, and fall back to the single one', () => {
  const weighted = (a: number, b: number) =>
    aService('example.com', {
      addresses: ['127.0.0.3'],
      waypoint: gateway('127.0.0.10'),
      weightedWaypoints: [
        { destination: gateway('127.0.0.11'), weight: a },
        { destination: gateway('127.0.0.10'), weight: b },
      ],
    });
  const count = (service: Service): Record<string, number> => {
    const random = seededRandom(1);
    const seen: Record<string, number> = {};
    for (let i = 0; i < 400; i++) {
      const made = plan('127.0.0.3:80', [service], { random });
      const hop = made.kind === 'hbone' ? made.nextHop.ip : made.kind;
      seen[hop] = (seen[hop] ?? 0) + 1;
    }
    return seen;
  };
  const shared = count(weighted(3, 1));
  assert.ok((shared['127.0.0.11'] ?? 0) > 260 && (shared['127.0.0.10'] ?? 0) > 60, JSON.stringify(shared));
  assert.deepEqual(count(weighted(0, 0)), { '127.0.0.10': 400 });
  assert.deepEqual(count(weighted(1, 0)), { '127.0.0.11': 400 });
});

test('who must answer at each hop', () => {
  const identity = (sa: string) => `spiffe://cluster.local/ns/ns/sa/${sa}`;
  const withNames = (fields: Parameters<typeof aService>[1]) =>
    aService('example.com', {
      addresses: ['127.0.0.3'],
      subjectAltNames: [identity('svc'), 'example.com', 'spiffe://too/short'],
      ...fields,
    });
  const pod = aWorkload('pod', {
    addresses: ['127.0.0.2'],
    protocol: 'HBONE',
    serviceAccount: 'pod',
    ...listed,
  });

  const direct = plan('127.0.0.3:80', [withNames({}), pod]);
  assert.ok(direct.kind === 'hbone');
  assert.deepEqual(direct.expectedIdentities, [identity('svc'), identity('pod')]);
  assert.equal(direct.destination, pod);
  assert.equal(direct.service?.hostname, 'example.com');
  assert.equal(direct.viaWaypoint, false);

  const through = plan('127.0.0.3:80', [withNames({ waypoint: gateway('127.0.0.10') }), pod]);
  assert.ok(through.kind === 'hbone');
  assert.deepEqual(through.expectedIdentities, [identity('waypoint-sa')]);
  assert.equal(through.destination.name, 'waypoint');
  assert.equal(
    through.service?.hostname,
    'example.com',
    'the service that was meant, not that of the waypoint',
  );
  assert.equal(through.viaWaypoint, true);

  const remote = plan('127.0.0.3:80', [
    withNames({}),
    remoteGateway,
    aWorkload('r', {
      network: 'remote',
      serviceAccount: 'r',
      networkGateway: gateway('remote/10.22.1.1'),
      ...listed,
    }),
  ]);
  assert.ok(remote.kind === 'double-hbone');
  assert.deepEqual(remote.outer.expectedIdentities, [identity('default')], 'the gateway');
  assert.deepEqual(remote.innerIdentities, [identity('svc')], 'the service only, not the workload');

  const nameless = plan('127.0.0.2:80', [{ ...pod, namespace: 'a/b' }]);
  assert.ok(nameless.kind === 'hbone');
  assert.deepEqual(nameless.expectedIdentities, [], 'names that make no identity: nobody is accepted');
});

test('a waypoint of a workload on another network is refused', () => {
  const far = aWorkload('far', { addresses: ['127.0.0.50'], network: 'remote' });
  const pod = aWorkload('pod', { addresses: ['127.0.0.2'], waypoint: gateway('remote/127.0.0.50') });
  const made = plan('127.0.0.2:80', [pod, far]);
  assert.equal(made.kind === 'reject' && made.code, 'NO_ROUTE');
});

test('what has no address is resolved by name first', () => {
  const external = aWorkload('ext', {
    hostname: 'www.example.org',
    services: { 'ns/example.com': { 80: 80 } },
  });
  const records = [example, external];
  assert.equal(summary(plan('127.0.0.3:80', records)), 'needs www.example.org');
  const answers = (...ips: string[]) => ({ resolved: new Map([['www.example.org', ips.map(ip)]]) });
  assert.equal(summary(plan('127.0.0.3:80', records, answers('::9', '9.9.9.9'))), 'tcp 9.9.9.9:80');
  assert.equal(summary(plan('127.0.0.3:80', records, answers('::9'))), 'tcp [::9]:80', 'better than nothing');
  assert.match(
    summary(plan('127.0.0.3:80', records, answers())),
    /^NO_ROUTE no ip addresses were resolved for workload: ns\/ext/,
  );
});

test('what the view lacks is named, for both networks', () => {
  const ignorant = (store: MeshStore): MeshView =>
    new Proxy(store, {
      get: (target, name) => {
        if (name === 'knows') return (key: MeshKey) => key.startsWith('ip:home/');
        const value: unknown = Reflect.get(target, name, target);
        return typeof value === 'function' ? (value.bind(target) as unknown) : value;
      },
    });
  assert.equal(summary(plan('127.0.0.2:80', [], { view: ignorant })), 'needs ip:/127.0.0.2');
  assert.equal(
    summary(plan('127.0.0.2:80', [], { view: ignorant, network: 'home' })),
    'needs ip:/127.0.0.2',
    'the network of the source is another one',
  );
  assert.equal(summary(plan('127.0.0.2:80', [], { network: 'home' })), 'tcp 127.0.0.2:80');
});

test('the reasons are given when asked for, and only then', () => {
  const records = [example, aWorkload('pod', { addresses: ['127.0.0.2'], protocol: 'HBONE', ...listed })];
  assert.equal(plan('127.0.0.3:80', records).because, undefined);
  const traced = plan('127.0.0.3:80', records, { settings: { ...defaultRouteSettings, trace: true } });
  assert.deepEqual(traced.because, [
    '127.0.0.3 is service ns/example.com',
    'service ns/example.com gives ns/pod (cluster1//Pod/ns/pod), port 8080',
    'it takes HBONE',
  ]);
});
