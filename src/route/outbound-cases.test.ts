import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Service, Workload } from '#/model/index.ts';
import { aService, aWorkload, gateway } from '../../test/mesh-records.ts';
import {
  dualWaypoint,
  example,
  listed,
  plan,
  remoteGateway,
  summary,
  type PlanOptions,
} from '../../test/outbound-plans.ts';

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

  const rows: readonly [string, string, readonly (Workload | Service)[], string, PlanOptions?][] = [
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
