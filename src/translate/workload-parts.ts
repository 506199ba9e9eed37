// What workloads of all origins have in common: names for telemetry, tunnel protocol, policies, gateway.
import type { GatewayAddress, PortMapping, ServiceKey, Workload } from '#/model/index.ts';
import { emptyLocality, type Locality } from '#/model/index.ts';
import { parseIp } from '#/kit/index.ts';
import { isSentToZtunnel } from './authorization-policy.ts';
import type { Lookup } from './lookup.ts';
import { annotation, hbonePort, label } from './names.ts';
import { byAge, compareText, objectKey } from './object.ts';
import { peerAuthenticationPolicies } from './peer-authentication.ts';
import type { Labels } from './read.ts';
import type { ServiceFacts } from './service.ts';
import { serviceHostname } from './service.ts';
import type { WaypointBinding } from './waypoint.ts';

/** Name and revision for telemetry, from the labels in their order of precedence. */
export function canonical(labels: Labels, workloadName: string): { name: string; revision: string } {
  return {
    name: labels[label.canonicalName] ?? labels['app.kubernetes.io/name'] ?? labels['app'] ?? workloadName,
    revision:
      labels[label.canonicalRevision] ?? labels['app.kubernetes.io/version'] ?? labels['version'] ?? 'latest',
  };
}

export interface TunnelFacts {
  /** The node agent has said that the pod's traffic is redirected. */
  readonly redirected: boolean;
  /** The application (a sidecar, say) speaks HBONE itself. */
  readonly native: boolean;
}

const tunnels: readonly TunnelFacts[] = [
  { redirected: false, native: false },
  { redirected: true, native: false },
  { redirected: false, native: true },
  { redirected: true, native: true },
];

export function readTunnel(labels: Labels, annotations: Labels): TunnelFacts {
  const redirected = annotations[annotation.redirection] === 'enabled';
  const native = (labels[label.tunnel] ?? '').split(',').includes('http');
  return tunnels[(redirected ? 1 : 0) + (native ? 2 : 0)] as TunnelFacts;
}

export function tunnelOf(tunnel: TunnelFacts): Pick<Workload, 'protocol' | 'nativeTunnel'> {
  return { protocol: tunnel.native || tunnel.redirected ? 'HBONE' : 'TCP', nativeTunnel: tunnel.native };
}

/** Keys of the policies that the workload must list: those with a selector. Wider ones apply by themselves. */
export function workloadPolicies(lookup: Lookup, namespace: string, labels: Labels): readonly string[] {
  const selected = lookup
    .policiesSelecting(namespace, labels)
    .filter((policy) => isSentToZtunnel(policy, lookup.mesh))
    .map(objectKey)
    .sort(compareText);
  return [...selected, ...peerAuthenticationPolicies(lookup, namespace, labels)];
}

/** With PILOT_AUTO_ALLOW_WAYPOINT_POLICY: the names of the policies that let only the waypoints in. */
export function implicitWaypointPolicies(
  lookup: Lookup,
  bindings: readonly WaypointBinding[],
): readonly string[] {
  if (!lookup.mesh.autoAllowWaypoints) return [];
  const keys = new Set<string>();
  for (const { waypoint } of bindings) {
    if (waypoint === undefined || lookup.gatewayPods(waypoint.namespace, waypoint.name).length === 0)
      continue;
    keys.add(`${waypoint.namespace}/istio_allow_waypoint_${waypoint.namespace}_${waypoint.name}`);
  }
  return [...keys].sort(compareText);
}

/** The gateway to a workload's network, if it is known. Sent with all workloads of that network, as upstream does. */
export function networkGateway(lookup: Lookup, network: string): GatewayAddress | undefined {
  if (!lookup.mesh.multiNetwork || network === '') return undefined;
  const gateway = [...lookup.networkGateways(network)].sort(byAge)[0];
  if (gateway === undefined) return undefined;
  const addresses = gateway.addresses.length > 0 ? gateway.addresses : gateway.specAddresses;
  const hostname = addresses.find((address) => address.type === 'Hostname');
  const ip = addresses
    .filter((address) => address.type === 'IPAddress')
    .map((address) => parseIp(address.value))
    .find((parsed) => parsed !== undefined);
  if (ip !== undefined) return { destination: { kind: 'address', network, ip }, hboneMtlsPort: hbonePort };
  if (hostname === undefined) return undefined;
  return {
    destination: { kind: 'hostname', namespace: gateway.namespace, hostname: hostname.value },
    hboneMtlsPort: hbonePort,
  };
}

/** `region/zone/subzone`, as WorkloadEntries write it. */
export function parseLocality(value: string): Locality {
  if (value === '') return emptyLocality;
  const [region = '', zone = '', subzone = ''] = value.split('/');
  return { region, zone, subzone };
}

/** The ports of a Service on one workload. `named` gives the number of a named target; undefined leaves the port out. */
export function servicePorts(
  service: ServiceFacts,
  named: (name: string) => number | undefined,
): readonly PortMapping[] {
  const ports: PortMapping[] = [];
  for (const port of service.ports) {
    const targetPort = port.targetName === '' ? port.targetPort : named(port.targetName);
    if (targetPort !== undefined) ports.push({ servicePort: port.port, targetPort });
  }
  return ports;
}

export function serviceKeyOf(service: ServiceFacts, domain: string): ServiceKey {
  return `${service.namespace}/${serviceHostname(service, domain)}`;
}

/** A record with its keys in order, so that equal contents encode to equal bytes. */
export function sortedRecord<V>(entries: Iterable<readonly [string, V]>): Readonly<Record<string, V>> {
  return Object.fromEntries([...entries].sort(([a], [b]) => compareText(a, b)));
}
