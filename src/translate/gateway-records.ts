// Records that a Gateway gives: the workload of another network's gateway, and the policy that lets its waypoint in.
import { parseIp } from '#/kit/index.ts';
import { emptyLocality, emptyMatch, type Policy, type Workload } from '#/model/index.ts';
import type { GatewayFacts } from './gateway.ts';
import type { Lookup } from './lookup.ts';
import { eastWestGatewayClass, hbonePort, implicitWaypointPolicy, remoteGatewayClass } from './names.ts';
import { compareText } from './object.ts';
import type { NetworkGateway, Translation } from './translation.ts';
import { findWaypoint } from './waypoint.ts';

/**
 * Other networks' gateways are known by Gateways of class istio-remote among our own objects, and by the east-west
 * gateways of other clusters, where the port is fixed. Our own east-west gateways are for others.
 */
function networkGateways(gateway: GatewayFacts, { mesh }: Lookup): readonly NetworkGateway[] {
  const { network, namespace, name, className, listeners } = gateway;
  if (!mesh.multiNetwork || network === undefined || network === '') return [];
  const remote = mesh.remoteCluster === true;
  if (className !== (remote ? eastWestGatewayClass : remoteGatewayClass)) return [];
  const listener = listeners.find(
    ({ protocol, terminates }) => protocol === 'HBONE' && (!remote || terminates),
  );
  if (remote && listener === undefined) return [];
  const addresses = remote || gateway.addresses.length > 0 ? gateway.addresses : gateway.specAddresses;
  return addresses
    .filter(({ type }) => type === 'IPAddress' || type === 'Hostname')
    .map(({ value }) => ({
      network,
      address: value,
      port: remote ? hbonePort : (listener?.port ?? hbonePort),
      namespace,
      name,
      clusterId: mesh.clusterId,
    }));
}

function serviceAccountOf({ serviceAccount, name, className }: GatewayFacts): string {
  if (serviceAccount !== undefined && serviceAccount !== '') return serviceAccount;
  return className === remoteGatewayClass ? `${name}-${className}` : name;
}

function networkWorkloads(
  gateway: GatewayFacts,
  gateways: readonly NetworkGateway[],
  lookup: Lookup,
): readonly Workload[] {
  const { mesh } = lookup;
  return gateways.map(({ network, address: value, port }): Workload => {
    const ip = parseIp(value);
    const uid = `NetworkGateway/${network}/${value}/${port}`;
    return {
      kind: 'workload',
      uid,
      name: uid,
      namespace: gateway.namespace,
      addresses: ip === undefined ? [] : [ip],
      hostname: ip === undefined ? value : '',
      network,
      protocol: 'HBONE',
      networkMode: 'Standard',
      trustDomain: mesh.trustDomain,
      serviceAccount: serviceAccountOf(gateway),
      node: '',
      canonicalName: '',
      canonicalRevision: '',
      workloadType: 'deployment',
      workloadName: '',
      nativeTunnel: false,
      authorizationPolicies: [],
      status: 'Healthy',
      clusterId: mesh.clusterId,
      locality: emptyLocality,
      services: {},
      capacity: 1,
    };
  });
}

function implicitPolicies(gateway: GatewayFacts, lookup: Lookup): readonly Policy[] {
  if (!lookup.mesh.autoAllowWaypoints) return [];
  const waypoint = findWaypoint(lookup, gateway.namespace, gateway.name);
  if (waypoint?.address === undefined) return [];
  const accounts = lookup.gatewayPods(gateway.namespace, gateway.name).map((pod) => pod.serviceAccount);
  if (accounts.length === 0) return [];
  const principals = [...new Set(accounts)].sort(compareText).map((account) => ({
    kind: 'exact' as const,
    value: `${lookup.mesh.trustDomain}/ns/${gateway.namespace}/sa/${account}`,
  }));
  return [
    {
      name: implicitWaypointPolicy(gateway.namespace, gateway.name),
      namespace: gateway.namespace,
      scope: 'WorkloadSelector',
      action: 'Allow',
      rules: [{ clauses: [{ matches: [{ ...emptyMatch, principals }] }] }],
      dryRun: false,
    },
  ];
}

export function translateGateway(gateway: GatewayFacts, lookup: Lookup): Translation {
  const gateways = networkGateways(gateway, lookup);
  return {
    records: [...networkWorkloads(gateway, gateways, lookup), ...implicitPolicies(gateway, lookup)],
    ...(gateways.length === 0 ? {} : { networkGateways: gateways }),
    conditions: [],
    problems: [],
  };
}
