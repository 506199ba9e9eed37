import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatSocketAddress } from '#/kit/index.ts';
import {
  parseIdentity,
  type Identity,
  type InboundFacts,
  type InboundPlan,
  type MeshView,
  type Service,
  type Workload,
} from '#/model/index.ts';
import { MeshStore } from '#/state/index.ts';
import { at, aService, aWorkload, gateway } from '../../test/mesh-records.ts';
import { defaultRouteSettings, planInbound, planPlaintext, type RouteSettings } from './index.ts';

const clientIp = '10.0.0.1';
const serverIp = '10.0.0.2';
const waypointIp = '10.0.0.3';
const serverVip = '10.10.0.1';
const waypointVip = '10.10.0.2';
const hostname = 'server.ns.svc.cluster.local';
const waypointHostname = 'waypoint.ns.svc.cluster.local';

interface Attachment {
  readonly to: 'service' | 'workload' | 'weighted';
  readonly by: string;
  readonly tunnel?: Workload['applicationTunnel'];
}

function mesh(attached?: Attachment): MeshStore {
  const waypoint = attached && gateway(attached.by);
  const records: (Workload | Service)[] = [
    aService(waypointHostname, { addresses: [waypointVip] }),
    aService(hostname, {
      addresses: [serverVip],
      canonical: true,
      ...(waypoint && attached.to === 'service' && { waypoint }),
      ...(waypoint &&
        attached.to === 'weighted' && { weightedWaypoints: [{ destination: waypoint, weight: 1 }] }),
    }),
    aWorkload('client', { addresses: [clientIp], protocol: 'HBONE' }),
    aWorkload('server', {
      addresses: [serverIp],
      protocol: 'HBONE',
      services: { [`ns/${hostname}`]: {} },
      ...(waypoint && attached.to === 'workload' && { waypoint }),
    }),
    aWorkload('waypoint', {
      addresses: [waypointIp],
      protocol: 'HBONE',
      services: { [`ns/${waypointHostname}`]: {} },
      ...(attached?.tunnel && { applicationTunnel: attached.tunnel }),
    }),
  ];
  const store = new MeshStore();
  store.apply({ addresses: records });
  return store;
}

const identity = parseIdentity('spiffe://cluster.local/ns/ns/sa/default') as Identity;

function facts(
  store: MeshStore,
  podIp: string,
  authority: string,
  more: Partial<InboundFacts> = {},
): InboundFacts {
  return {
    local: store.workloadByAddress('', at(`${podIp}:0`).ip) as Workload,
    connection: at(`${podIp}:15008`),
    peer: at(`${clientIp}:41000`),
    peerIdentity: identity,
    authority,
    network: '',
    ...more,
  };
}

function summary(plan: InboundPlan): string {
  switch (plan.kind) {
    case 'needs':
      return `needs ${plan.keys.join(' ')}`;
    case 'reject':
      return `${plan.status} ${plan.code} ${plan.reason}`;
    case 'deliver': {
      const { destination, proxyProtocol: proxy } = plan;
      const to = formatSocketAddress(destination.ip, destination.port);
      return proxy === undefined
        ? to
        : `${to} proxy ${formatSocketAddress(proxy.destination.ip, proxy.destination.port)}`;
    }
  }
}

const proxyTunnel = { protocol: 'PROXY', port: 15088 } as const;

test('what a CONNECT may reach, case by case', () => {
  const rows: readonly [string, Attachment | undefined, string, string, string][] = [
    ['the pod itself', undefined, serverIp, `${serverIp}:8080`, `${serverIp}:8080`],
    ['by the hostname of its service', undefined, serverIp, `${hostname}:80`, `${serverIp}:8080`],
    ['hostnames know no case', undefined, serverIp, `${hostname.toUpperCase()}:80`, `${serverIp}:8080`],
    [
      'to a workload, waypoint named by its pod',
      { to: 'workload', by: waypointIp },
      waypointIp,
      `${serverIp}:8080`,
      `${waypointIp}:8080`,
    ],
    [
      'to a workload, waypoint named by its address',
      { to: 'workload', by: waypointVip },
      waypointIp,
      `${serverIp}:8080`,
      `${waypointIp}:8080`,
    ],
    [
      'to a workload, waypoint named by its hostname',
      { to: 'workload', by: `ns/${waypointHostname}` },
      waypointIp,
      `${serverIp}:8080`,
      `${waypointIp}:8080`,
    ],
    [
      'to a workload, with a tunnel',
      { to: 'workload', by: waypointVip, tunnel: proxyTunnel },
      waypointIp,
      `${serverIp}:8080`,
      `${waypointIp}:15088 proxy ${serverIp}:8080`,
    ],
    [
      'to a service, waypoint named by its pod',
      { to: 'service', by: waypointIp },
      waypointIp,
      `${serverVip}:8080`,
      `${waypointIp}:8080`,
    ],
    [
      'to a service, waypoint named by its address',
      { to: 'service', by: waypointVip },
      waypointIp,
      `${serverVip}:8080`,
      `${waypointIp}:8080`,
    ],
    [
      'to a service, waypoint of the weighted ones',
      { to: 'weighted', by: waypointVip },
      waypointIp,
      `${serverVip}:8080`,
      `${waypointIp}:8080`,
    ],
    [
      'to a service, with a tunnel',
      { to: 'service', by: waypointVip, tunnel: proxyTunnel },
      waypointIp,
      `${serverVip}:8080`,
      `${waypointIp}:15088 proxy ${serverVip}:8080`,
    ],
    [
      'to a hostname, with a tunnel: the address of the service',
      { to: 'service', by: waypointVip, tunnel: proxyTunnel },
      waypointIp,
      `${hostname}:80`,
      `${waypointIp}:15088 proxy ${serverVip}:80`,
    ],
    [
      'a tunnel without a port of its own',
      { to: 'service', by: waypointVip, tunnel: { protocol: 'PROXY', port: 0 } },
      waypointIp,
      `${serverVip}:8080`,
      `${waypointIp}:8080 proxy ${serverVip}:8080`,
    ],
    [
      'a tunnel of no protocol',
      { to: 'service', by: waypointVip, tunnel: { protocol: 'NONE', port: 9 } },
      waypointIp,
      `${serverVip}:8080`,
      `${waypointIp}:9`,
    ],
    [
      "another pod's address",
      undefined,
      serverIp,
      `${clientIp}:8080`,
      `400 IP_MISMATCH ip mismatch: ${serverIp} != ${clientIp}`,
    ],
    [
      'a waypoint without attachment',
      undefined,
      waypointIp,
      `${clientIp}:8080`,
      `400 IP_MISMATCH ip mismatch: ${waypointIp} != ${clientIp}`,
    ],
    [
      'to a workload, but the waypoint is of the service',
      { to: 'service', by: waypointIp },
      waypointIp,
      `${serverIp}:8080`,
      `400 IP_MISMATCH ip mismatch: ${waypointIp} != ${serverIp}`,
    ],
    [
      'to a service, but the waypoint is of the workload',
      { to: 'workload', by: waypointIp },
      waypointIp,
      `${serverVip}:8080`,
      `400 IP_MISMATCH ip mismatch: ${waypointIp} != ${serverVip}`,
    ],
    [
      'an unknown address',
      undefined,
      serverIp,
      '203.0.113.1:80',
      `400 IP_MISMATCH ip mismatch: ${serverIp} != 203.0.113.1`,
    ],
    [
      'own port',
      undefined,
      serverIp,
      `${serverIp}:15008`,
      '503 SELF_CALL attempted recursive call to ourselves',
    ],
    [
      'own port, plaintext',
      undefined,
      serverIp,
      `${serverIp}:15006`,
      '503 SELF_CALL attempted recursive call to ourselves',
    ],
    [
      'unknown hostname',
      undefined,
      serverIp,
      'gone:80',
      '503 NO_ROUTE no service or workload for hostname: gone',
    ],
    [
      'unknown port of a hostname',
      undefined,
      serverIp,
      `${hostname}:81`,
      `503 NO_ROUTE requested service ${hostname}:81 found, but cannot resolve port`,
    ],
    [
      'no port',
      undefined,
      serverIp,
      serverIp,
      `400 BAD_CONNECT no valid authority pseudo header: ${serverIp}`,
    ],
    ['nothing', undefined, serverIp, '', '400 BAD_CONNECT no valid authority pseudo header: '],
    [
      'not a port',
      undefined,
      serverIp,
      `${serverIp}:99999`,
      `400 BAD_CONNECT no valid authority pseudo header: ${serverIp}:99999`,
    ],
  ];
  for (const [name, attached, podIp, authority, wanted] of rows) {
    const store = mesh(attached);
    assert.equal(summary(planInbound(facts(store, podIp, authority), store)), wanted, name);
  }
});

test('only CONNECT', () => {
  const store = mesh();
  const plan = planInbound(facts(store, serverIp, `${serverIp}:80`, { method: 'GET' }), store);
  assert.equal(summary(plan), '400 BAD_CONNECT expected method CONNECT, got GET');
});

test('the port of a hostname: of the endpoint before that of the service', () => {
  const store = mesh();
  store.apply({
    addresses: [
      aService(hostname, { ports: { 80: 0, 81: 1 } }),
      aWorkload('server', { addresses: [serverIp], services: { [`ns/${hostname}`]: { 80: 7, 81: 2 } } }),
    ],
  });
  assert.equal(summary(planInbound(facts(store, serverIp, `${hostname}:80`), store)), `${serverIp}:7`);
  assert.equal(summary(planInbound(facts(store, serverIp, `${hostname}:81`), store)), `${serverIp}:2`);
});

test('the tunnel of a hostname prefers our network, then IPv4', () => {
  const target = (addresses: readonly string[]): string => {
    const store = new MeshStore();
    store.apply({
      addresses: [
        aService(hostname, { addresses }),
        aWorkload('w', { addresses: [waypointIp], network: 'n', applicationTunnel: proxyTunnel }),
      ],
    });
    const local = store.workloadByUid('cluster1//Pod/ns/w') as Workload;
    return summary(
      planInbound({ ...facts(store, waypointIp, `${hostname}:80`), local, network: 'n' }, store),
    );
  };
  assert.equal(target(['x/1.1.1.1', 'n/fd00::1', 'n/2.2.2.2']), `${waypointIp}:15088 proxy 2.2.2.2:80`);
  assert.equal(target(['x/1.1.1.1', 'n/fd00::1']), `${waypointIp}:15088 proxy [fd00::1]:80`);
  assert.equal(target([]), `503 NO_ROUTE requested service ${hostname}:80 found, but has no IP addresses`);
});

test('the application sees the client, where that can be', () => {
  const store = mesh();
  const bind = (podIp: string, more: Partial<InboundFacts>, settings: Partial<RouteSettings> = {}) => {
    const plan = planInbound(facts(store, podIp, `${podIp}:80`, more), store, {
      ...defaultRouteSettings,
      ...settings,
    });
    assert.ok(plan.kind === 'deliver');
    return plan.sourceAddress;
  };
  assert.equal(bind(serverIp, {}), clientIp);
  assert.equal(bind(serverIp, { peer: at(`${serverIp}:4`) }), undefined, 'a pod that calls itself');
  assert.equal(bind(serverIp, {}, { preserveSource: false }), undefined);
  assert.equal(bind(serverIp, { peer: at('[fd00::1]:4') }), undefined, 'another family');

  const tunnelled = mesh({ to: 'service', by: waypointVip, tunnel: proxyTunnel });
  const onLoopback = planInbound(facts(tunnelled, waypointIp, `${serverVip}:80`), tunnelled);
  assert.ok(onLoopback.kind === 'deliver');
  assert.equal(onLoopback.sourceAddress, '127.0.0.1');
  assert.deepEqual(onLoopback.target, at('127.0.0.1:15088'));
  assert.deepEqual(onLoopback.destination, at(`${waypointIp}:15088`), 'policy judges the pod, not loopback');
  const outside = planInbound(facts(tunnelled, waypointIp, `${serverVip}:80`), tunnelled, {
    ...defaultRouteSettings,
    loopbackTunnel: false,
  });
  assert.ok(outside.kind === 'deliver');
  assert.deepEqual(outside.target, at(`${waypointIp}:15088`));
});

test('labels: the service that was meant, and the client', () => {
  const store = mesh();
  store.apply({
    addresses: [
      aService('a.com', { ports: { 80: 1 } }),
      aService('b.com', { ports: { 80: 0 } }),
      aService('c.com', { ports: { 80: 9 } }),
      aWorkload('server', {
        addresses: [serverIp],
        services: { 'ns/a.com': {}, 'ns/b.com': { 80: 9 }, 'ns/c.com': {} },
      }),
    ],
  });
  const deliver = (authority: string, more: Partial<InboundFacts> = {}) => {
    const plan = planInbound(facts(store, serverIp, authority, more), store);
    assert.ok(plan.kind === 'deliver');
    return plan;
  };
  assert.equal(deliver(`${serverIp}:9`).service?.hostname, 'b.com', 'the first that leads to the port');
  assert.equal(deliver(`${serverIp}:9`, { forwardedHost: 'c.com' }).service?.hostname, 'c.com');
  assert.equal(deliver(`${serverIp}:9`, { forwardedHost: 'gone' }).service?.hostname, 'b.com');
  assert.equal(deliver(`${serverIp}:7`).service, undefined);
  assert.equal(deliver(`${serverIp}:7`, { forwardedHost: 'a.com' }).service?.hostname, 'a.com');

  assert.equal(deliver(`${serverIp}:9`).source?.name, 'client');
  const same = deliver(`${serverIp}:9`, { forwardedNetwork: 'Net', network: 'net' });
  assert.equal(same.throughGateway, false);
  const other = deliver(`${serverIp}:9`, { forwardedNetwork: 'elsewhere' });
  assert.equal(other.throughGateway, true);
  assert.equal(other.source, undefined, 'an address of another network names nobody here');
});

test('what the view lacks is named', () => {
  const store = mesh();
  const ignorant: MeshView = new Proxy(store, {
    get: (target, name) => {
      if (name === 'knows') return () => false;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
  const needed = (authority: string, more: Partial<InboundFacts> = {}) =>
    summary(planInbound(facts(store, serverIp, authority, more), ignorant));
  assert.equal(needed(`${serverIp}:80`), `needs peer:/${clientIp}`);
  assert.equal(needed(`${serverVip}:80`), `needs peer:/${clientIp} ip:/${serverVip}`);
  assert.equal(needed(`${hostname}:80`, { forwardedNetwork: 'x' }), `needs host:${hostname}`);
  assert.equal(needed(`${serverIp}:80`, { forwardedNetwork: 'x' }), `${serverIp}:80`);
});

test('plaintext goes to the address as it is', () => {
  const store = mesh();
  const local = store.workloadByAddress('', at(`${serverIp}:0`).ip) as Workload;
  const plan = (to: string, settings?: RouteSettings) =>
    planPlaintext(
      { local, peer: at(`${clientIp}:41000`), originalDestination: at(to), network: '' },
      store,
      settings,
    );
  const plain = plan(`${serverIp}:8080`);
  assert.ok(plain.kind === 'deliver');
  assert.deepEqual(plain.target, at(`${serverIp}:8080`));
  assert.equal(plain.sourceAddress, clientIp);
  assert.equal(plain.service?.hostname, hostname);
  assert.equal(plain.source?.name, 'client');
  assert.equal(summary(plan('10.99.0.1:15006')), '503 SELF_CALL attempted recursive call to ourselves');
  const traced = plan(`${serverIp}:8080`, { ...defaultRouteSettings, trace: true });
  assert.equal(traced.because?.length, 1);
});
