import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MeshStore } from '#/state/index.ts';
import { aService, aWorkload, gateway, ip } from '../../../test/mesh-records.ts';
import { resolveTarget, type WaypointSelf } from './resolve-target.ts';

const self: WaypointSelf = {
  network: '',
  namespace: 'ns',
  hostname: 'waypoint.ns.svc.cluster.local',
  addresses: [ip('10.1.0.9')],
};
const byName = gateway('ns/waypoint.ns.svc.cluster.local');
const store = new MeshStore();
store.apply({
  addresses: [
    aService('waypoint.ns.svc.cluster.local', { addresses: ['10.9.0.1'] }),
    aService('app.ns.svc.cluster.local', { addresses: ['10.9.0.2'], waypoint: byName }),
    aService('vip.ns.svc.cluster.local', { addresses: ['10.9.0.3'], waypoint: gateway('10.9.0.1') }),
    aService('pod-ip.ns.svc.cluster.local', { addresses: ['10.9.0.4'], waypoint: gateway('10.1.0.9') }),
    aService('canary.ns.svc.cluster.local', {
      addresses: ['10.9.0.5'],
      weightedWaypoints: [{ destination: byName, weight: 10 }],
    }),
    aService('other.ns.svc.cluster.local', {
      addresses: ['10.9.0.6'],
      waypoint: gateway('ns/second.ns.svc.cluster.local'),
    }),
    aService('stolen.ns.svc.cluster.local', {
      addresses: ['10.9.0.7'],
      waypoint: gateway('evil/waypoint.ns.svc.cluster.local'),
    }),
    aService('free.ns.svc.cluster.local', { addresses: ['10.9.0.8'] }),
    aWorkload('bound', { addresses: ['10.1.0.1'], waypoint: byName }),
    aWorkload('free', { addresses: ['10.1.0.2'] }),
  ],
});
const told = (authority: string): string => {
  const found = resolveTarget(authority, ip('10.1.0.2'), self, store);
  if (found.kind === 'refuse') return `${found.status} ${found.reason}`;
  if (found.kind === 'unbound') return `unbound: ${found.reason}`;
  if (found.kind === 'needs') return `needs ${found.keys.join()}`;
  return `${found.service?.name ?? found.workload?.name} ${found.port}`;
};

test('what is bound to this waypoint is served, however the binding names it', () => {
  const cases = {
    '10.9.0.2:80': 'app 80',
    'app.ns.svc.cluster.local:80': 'app 80',
    'APP.ns.svc.cluster.local:80': 'app 80',
    '10.9.0.3:80': 'vip 80',
    '10.9.0.4:80': 'pod-ip 80',
    '10.9.0.5:80': 'canary 80',
    '10.1.0.1:1234': 'bound 1234',
  };
  for (const [authority, expected] of Object.entries(cases)) assert.equal(told(authority), expected);
});

test('nothing else: a waypoint lends its identity to nobody', () => {
  const cases = {
    '10.9.0.6:80': 'unbound: service ns/other.ns.svc.cluster.local is not bound to this waypoint',
    '10.9.0.7:80': 'unbound: service ns/stolen.ns.svc.cluster.local is not bound to this waypoint',
    '10.9.0.8:80': 'unbound: service ns/free.ns.svc.cluster.local is not bound to this waypoint',
    '10.1.0.2:80': 'unbound: workload ns/free is not bound to this waypoint',
    '10.9.0.2:81': '404 service ns/app.ns.svc.cluster.local has no port 81',
    '10.9.0.1:80': 'unbound: service ns/waypoint.ns.svc.cluster.local is not bound to this waypoint',
    '127.0.0.1:15000': '404 no service and no workload has the address 127.0.0.1',
    '169.254.169.254:80': '404 no service and no workload has the address 169.254.169.254',
    'localhost:80': '404 no service has the hostname localhost',
  };
  for (const [authority, expected] of Object.entries(cases)) assert.equal(told(authority), expected);
});

test('an authority that is none is answered 400', () => {
  for (const authority of [
    '',
    ':80',
    '10.9.0.2',
    '10.9.0.2:0',
    '10.9.0.2:65536',
    '10.9.0.2:80:80',
    '[::1:80',
  ])
    assert.match(told(authority), /^400 /, authority);
});
