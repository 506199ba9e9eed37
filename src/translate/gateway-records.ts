// Records that a Gateway gives: the workload of another network's gateway, and the policy that lets its waypoint in.
import { parseIp } from '#/kit/index.ts';
import { emptyLocality, emptyMatch, type Policy, type Workload } from '#/model/index.ts';
import type { GatewayFacts } from './gateway.ts';
import type { Lookup } from './lookup.ts';
import { hbonePort, implicitWaypointPolicy } from './names.ts';
import { compareText } from './object.ts';
import type { Translation } from './translation.ts';
import { findWaypoint } from './waypoint.ts';

function networkWorkloads(gateway: GatewayFacts, lookup: Lookup): readonly Workload[] {
  const { mesh } = lookup;
  const { network } = gateway;
  if (!mesh.multiNetwork || network === undefined || gateway.className !== 'istio-remote') return [];
  const addresses = gateway.addresses.length > 0 ? gateway.addresses : gateway.specAddresses;
  return addresses.map(({ value }): Workload => {
    const ip = parseIp(value);
    const uid = `NetworkGateway/${network}/${value}/${hbonePort}`;
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
      serviceAccount: `${gateway.name}-${gateway.className}`,
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
  return {
    records: [...networkWorkloads(gateway, lookup), ...implicitPolicies(gateway, lookup)],
    conditions: [],
    problems: [],
  };
}
