import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatSocketAddress, type Ip, type SocketAddress } from '#/kit/index.ts';
import type { MeshKey, MeshView, OutboundPlan, Service, Workload } from '#/model/index.ts';
import { MeshStore } from '#/state/index.ts';
import { at, aService, aWorkload, gateway, ip, seededRandom } from '../../test/mesh-records.ts';
import { defaultRouteSettings, planOutbound, type RouteSettings } from './index.ts';

const source = aWorkload('source', { addresses: ['127.0.0.1', '::1'] });
const waypoint = aWorkload('waypoint', { addresses: ['127.0.0.10'], serviceAccount: 'waypoint-sa' });
const dualWaypoint = aWorkload('waypoint-dual', {
  addresses: ['127.0.0.11', 'ff06::c5'],
  serviceAccount: 'waypoint-sa',
});

const show = ({ ip: address, port }: SocketAddress): string => formatSocketAddress(address, port);

/** `tcp HOP`, `hbone HOP AUTHORITY`, `double HOP AUTHORITY`, `needs …` or `CODE REASON`. */
function summary(plan: OutboundPlan): string {
  switch (plan.kind) {
    case 'passthrough':
      return `tcp ${show(plan.nextHop)}`;
    case 'hbone':
      return `hbone ${show(plan.nextHop)} ${plan.authority}`;
    case 'double-hbone':
      return `double ${show(plan.outer.nextHop)} ${plan.authority}`;
    case 'needs':
      return `needs ${[...plan.keys, ...plan.hostnames].join(' ')}`;
    case 'reject':
      return `${plan.code} ${plan.reason}`;
  }
}

interface Options {
  readonly from?: string;
  readonly source?: Workload;
  readonly network?: string;
  readonly random?: () => number;
  readonly settings?: RouteSettings;
  readonly resolved?: ReadonlyMap<string, readonly Ip[]>;
  readonly view?: (store: MeshStore) => MeshView;
}

function plan(to: string, records: readonly (Workload | Service)[], options: Options = {}): OutboundPlan {
  const client = options.source ?? source;
  const store = new MeshStore({ node: 'node-1' });
  store.apply({ addresses: [client, waypoint, dualWaypoint, ...records] });
  return planOutbound(
    {
      source: client,
      sourceAddress: { ip: ip(options.from ?? '127.0.0.1'), port: 41000 },
      originalDestination: at(to),
      network: options.network ?? '',
      ...(options.resolved && { resolved: options.resolved }),
    },
    options.view?.(store) ?? store,
    options.random ?? (() => 0),
    options.settings,
  );
}

const example = aService('example.com', { addresses: ['127.0.0.3'] });
const listed = { services: { 'ns/example.com': { 80: 8080 } } };
const remoteGateway = aWorkload('ew-gtw', { addresses: ['10.22.1.1'], network: 'remote' });

test('where connections go, case by case', () => {
  const tcpPod = aWorkload('pod', { addresses: ['127.0.0.2'] });
  const hbonePod = aWorkload('pod', { addresses: ['127.0.0.2'], protocol: 'HBONE' });
  const named = aService('example.com', { addresses: ['127.0.0.3'], ports: { 80: 0, 8080: 0 } });
  const passthrough = aService('example.com', {
    addresses: ['1.2.3.4', '1.5.6.7'],
    ports: { 80: 80 },
    loadBalancing: { mode: 'PASSTHROUGH' },
  });
  const dualPod = aWorkload('dual', {
    addresses: ['127.0.0.2', 'ff06::c3'],
    protocol: 'HBONE',
    services: { 'ns/example.com': {} },
  });
  const families = (ipFamilies: Service['ipFamilies']) =>
    aService('example.com', { addresses: ['127.0.0.3', '::3'], ports: { 80: 80 }, ipFamilies });
  const remotePod = (fields: Parameters<typeof aWorkload>[1] = {}) =>
    aWorkload('remote', { network: 'remote', ...listed, ...fields });
  const preferNetwork = aService('example.com', {
    addresses: ['127.0.0.3'],
    loadBalancing: { mode: 'FAILOVER', routingPreference: ['NETWORK'] },
  });
  const local = (status: Workload['status']) =>
    aWorkload('local', { addresses: ['127.0.0.2'], protocol: 'HBONE', status, ...listed });

  const rows: readonly [string, string, readonly (Workload | Service)[], string, Options?][] = [
    ['unknown destination', '1.2.3.4:80', [tcpPod], 'tcp 1.2.3.4:80'],
    ['recursive call', '127.0.0.1:15001', [], 'SELF_CALL attempted recursive call to ourselves'],
    ['recursive call, v6', '[::1]:15008', [], 'SELF_CALL attempted recursive call to ourselves'],
    ['own port elsewhere', '10.0.0.1:15008', [], 'tcp 10.0.0.1:15008'],
    ['other port on loopback', '127.0.0.1:15020', [], 'tcp 127.0.0.1:15020'],
    ['known destination, TCP', '127.0.0.2:80', [tcpPod], 'tcp 127.0.0.2:80'],
    ['known destination, HBONE', '127.0.0.2:80', [hbonePod], 'hbone 127.0.0.2:15008 127.0.0.2:80'],
    [
      'known destination on another node, TCP',
      '127.0.0.2:80',
      [{ ...tcpPod, node: 'node-2' }],
      'tcp 127.0.0.2:80',
    ],
    [
      'known destination on another node, HBONE',
      '127.0.0.2:80',
      [{ ...hbonePod, node: 'node-2' }],
      'hbone 127.0.0.2:15008 127.0.0.2:80',
    ],
    ['several addresses, v4', '127.0.0.2:80', [dualPod], 'hbone 127.0.0.2:15008 127.0.0.2:80'],
    ['several addresses, v6', '[ff06::c3]:80', [dualPod], 'hbone [ff06::c3]:15008 [ff06::c3]:80'],
    [
      'wrong network, no gateway',
      '127.0.0.3:80',
      [example, remotePod({ addresses: ['10.0.0.2'] })],
      'NO_ROUTE no valid routing destination for workload: ns/remote (cluster1//Pod/ns/remote): no gateway leads to network "remote"',
    ],
    [
      'double HBONE, gateway by address',
      '127.0.0.3:80',
      [example, remoteGateway, remotePod({ networkGateway: gateway('remote/10.22.1.1', 15009) })],
      'double 10.22.1.1:15009 example.com:80',
    ],
    [
      'double HBONE, gateway by hostname',
      '127.0.0.3:80',
      [
        example,
        aService('ew-gtw', { addresses: ['127.0.0.4'], ports: { 15009: 15009 } }),
        remotePod({ addresses: ['127.0.0.6'], networkGateway: gateway('ns/ew-gtw', 15009) }),
        aWorkload('gw', {
          addresses: ['127.0.0.5'],
          network: 'remote',
          services: { 'ns/ew-gtw': { 15009: 15008 } },
        }),
      ],
      'double 127.0.0.5:15008 example.com:80',
    ],
    [
      'double HBONE, to a waypoint of another network',
      '127.0.0.3:80',
      [
        aService('example.com', { addresses: ['127.0.0.3'], waypoint: gateway('ns/waypoint.com') }),
        aService('waypoint.com', { addresses: ['127.0.0.4'], ports: { 15008: 15008 } }),
        aWorkload('remote-waypoint', {
          network: 'remote',
          networkGateway: gateway('remote/10.22.1.1', 15009),
          services: { 'ns/waypoint.com': { 15008: 15008 } },
        }),
        remoteGateway,
      ],
      'double 10.22.1.1:15009 example.com:80',
    ],
    [
      'network gateway that is not known',
      '127.0.0.3:80',
      [example, remotePod({ networkGateway: gateway('remote/10.22.1.1', 15009) })],
      'NO_ROUTE unknown network gateway: network gateway remote/10.22.1.1 not found',
    ],
    [
      'failover: the local endpoint is healthy',
      '127.0.0.3:80',
      [
        preferNetwork,
        remoteGateway,
        remotePod({ networkGateway: gateway('remote/10.22.1.1', 15009) }),
        local('Healthy'),
      ],
      'hbone 127.0.0.2:15008 127.0.0.2:8080',
    ],
    [
      'failover: the local endpoint is not',
      '127.0.0.3:80',
      [
        preferNetwork,
        remoteGateway,
        remotePod({ networkGateway: gateway('remote/10.22.1.1', 15009) }),
        local('Unhealthy'),
      ],
      'double 10.22.1.1:15009 example.com:80',
    ],
    [
      'the waypoint of the source is not used',
      '127.0.0.1:80',
      [aWorkload('pod', { addresses: ['127.0.0.2'], waypoint: gateway('127.0.0.10') })],
      'tcp 127.0.0.1:80',
      { from: '127.0.0.2' },
    ],
    [
      'waypoint of the destination workload',
      '127.0.0.2:80',
      [aWorkload('pod', { addresses: ['127.0.0.2'], waypoint: gateway('127.0.0.10') })],
      'hbone 127.0.0.10:15008 127.0.0.2:80',
    ],
    [
      'waypoint by address, whatever the family',
      '[ff06::c3]:80',
      [aWorkload('pod', { addresses: ['127.0.0.2', 'ff06::c3'], waypoint: gateway('127.0.0.11') })],
      'hbone 127.0.0.11:15008 [ff06::c3]:80',
    ],
    [
      'waypoint by hostname, in the family asked for',
      '[ff06::c3]:80',
      [
        aWorkload('pod', { addresses: ['127.0.0.2', 'ff06::c3'], waypoint: gateway('ns/waypoint.com') }),
        aService('waypoint.com', { ports: { 15008: 15008 } }),
        { ...dualWaypoint, services: { 'ns/waypoint.com': [] } },
      ],
      'hbone [ff06::c5]:15008 [ff06::c3]:80',
    ],
    [
      'waypoint of the service',
      '127.0.0.3:80',
      [aService('', { addresses: ['127.0.0.3'], waypoint: gateway('127.0.0.10') })],
      'hbone 127.0.0.10:15008 127.0.0.3:80',
    ],
    [
      'the workload waypoint is not for calls to a service',
      '127.0.0.3:80',
      [example, aWorkload('pod', { addresses: ['127.0.0.2'], waypoint: gateway('127.0.0.10'), ...listed })],
      'tcp 127.0.0.2:8080',
    ],
    [
      'a waypoint whose port is not on its service, but that has a tunnel',
      '127.0.0.3:80',
      [
        aService('example.com', { addresses: ['127.0.0.3'], waypoint: gateway('ns/waypoint.com') }),
        aService('waypoint.com', { ports: { 80: 80 } }),
        aWorkload('w', {
          addresses: ['127.0.0.12'],
          services: { 'ns/waypoint.com': {} },
          applicationTunnel: { protocol: 'PROXY', port: 15088 },
        }),
      ],
      'hbone 127.0.0.12:15008 127.0.0.3:80',
    ],
    ['empty service', '127.0.0.3:80', [example], 'NO_HEALTHY_UPSTREAM no healthy upstream: 127.0.0.3:80'],
    [
      'a port that the service has not',
      '127.0.0.3:81',
      [example, aWorkload('pod', { addresses: ['127.0.0.2'], ...listed })],
      'NO_HEALTHY_UPSTREAM no healthy upstream: 127.0.0.3:81',
    ],
    [
      'target port by name',
      '127.0.0.3:80',
      [
        named,
        aWorkload('matching', { addresses: ['127.0.0.2'], services: { 'ns/example.com': { 80: 1234 } } }),
        aWorkload('other', { addresses: ['127.0.0.4'], services: { 'ns/example.com': { 8080: 9999 } } }),
      ],
      'tcp 127.0.0.2:1234',
    ],
    [
      'host network, by the service',
      '127.0.0.3:80',
      [
        example,
        aWorkload('pod1', { addresses: ['127.0.0.2'], networkMode: 'HostNetwork', ...listed }),
        aWorkload('pod2', { addresses: ['127.0.0.2'], networkMode: 'HostNetwork' }),
      ],
      'tcp 127.0.0.2:8080',
    ],
    [
      'host network, by the address of the node',
      '127.0.0.2:80',
      [
        example,
        aWorkload('pod1', {
          addresses: ['127.0.0.2'],
          networkMode: 'HostNetwork',
          protocol: 'HBONE',
          ...listed,
        }),
      ],
      'tcp 127.0.0.2:80',
    ],
    [
      'families: v6 only',
      '127.0.0.3:80',
      [families('IPV6_ONLY'), dualPod],
      'hbone [ff06::c3]:15008 [ff06::c3]:80',
    ],
    [
      'families: v4 only',
      '127.0.0.3:80',
      [families('IPV4_ONLY'), dualPod],
      'hbone 127.0.0.2:15008 127.0.0.2:80',
    ],
    ['families: dual, v4', '127.0.0.3:80', [families('DUAL'), dualPod], 'hbone 127.0.0.2:15008 127.0.0.2:80'],
    ['families: dual, v6', '[::3]:80', [families('DUAL'), dualPod], 'hbone [ff06::c3]:15008 [ff06::c3]:80'],
    [
      'families: none left',
      '127.0.0.3:80',
      [
        families('IPV6_ONLY'),
        aWorkload('v4', { addresses: ['127.0.0.2'], services: { 'ns/example.com': {} } }),
      ],
      'NO_ROUTE no valid routing destination for workload: ns/v4 (cluster1//Pod/ns/v4): no address of an allowed family',
    ],
    ['passthrough service', '1.2.3.4:80', [passthrough], 'tcp 1.2.3.4:80'],
    [
      'passthrough service with a waypoint',
      '1.2.3.4:80',
      [{ ...passthrough, waypoint: gateway('127.0.0.10') }],
      'hbone 127.0.0.10:15008 1.2.3.4:80',
    ],
    [
      'a service that the client may not see',
      '127.0.0.3:80',
      [
        aService('example.com', { addresses: ['127.0.0.3'], namespace: 'other', visibility: 'NAMESPACE' }),
        aWorkload('pod', { addresses: ['127.0.0.2'], services: { 'other/example.com': { 80: 80 } } }),
      ],
      'tcp 127.0.0.3:80',
    ],
    [
      'a service by its range',
      '10.9.8.7:80',
      [
        aService('wide.com', { cidrAddresses: ['10.9.0.0/16'] }),
        aWorkload('pod', { addresses: ['127.0.0.2'], services: { 'ns/wide.com': { 80: 8080 } } }),
      ],
      'tcp 127.0.0.2:8080',
    ],
    [
      'an address of both: endpoints of the service, and no plain text when there are none',
      '127.0.0.2:80',
      [hbonePod, aService('shadow.com', { addresses: ['127.0.0.2'] })],
      'NO_HEALTHY_UPSTREAM no healthy upstream: 127.0.0.2:80',
    ],
    [
      'a workload without an address',
      '127.0.0.3:80',
      [example, aWorkload('pod', listed)],
      'NO_HEALTHY_UPSTREAM no healthy upstream: 127.0.0.3:80',
    ],
  ];
  for (const [name, to, records, wanted, options] of rows)
    assert.equal(summary(plan(to, records, options)), wanted, name);
});

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
