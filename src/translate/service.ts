// Kubernetes Services. Their endpoints are not here: each workload lists the services it belongs to.
import { parseIp, type Ip } from '#/kit/index.ts';
import type { Service } from '#/model/index.ts';
import { appProtocolOf } from './app-protocol.ts';
import { distribute } from './load-balancing.ts';
import { clusterNetwork, type Lookup } from './lookup.ts';
import { annotation } from './names.ts';
import {
  annotationsOf,
  labelsOf,
  objectFacts,
  specOf,
  type ObjectFacts,
  type SourceObject,
} from './object.ts';
import { integer, labelMap, list, optionalText, record, text, texts, type Labels } from './read.ts';
import { validCondition, type Problem, type Translation, emptyTranslation } from './translation.ts';
import { isGlobal } from './service-scope.ts';
import {
  bindService,
  ingressUsesWaypoint,
  waypointWishOf,
  weightedWaypoints,
  type WaypointWish,
} from './waypoint.ts';
import { waypointBound } from './waypoint-conditions.ts';

export interface ServicePortFacts {
  readonly name: string;
  readonly port: number;
  readonly transport: string;
  readonly appProtocol: string | undefined;
  /** 0 when the target is a name, or absent. */
  readonly targetPort: number;
  /** Empty when the target is a number. */
  readonly targetName: string;
}

export interface ServiceFacts extends ObjectFacts {
  readonly external: boolean;
  readonly labels: Labels;
  readonly selector: Labels;
  readonly vips: readonly string[];
  readonly ports: readonly ServicePortFacts[];
  readonly ipFamilies: readonly string[];
  readonly internalLocal: boolean;
  readonly trafficDistribution: string | undefined;
  readonly trafficDistributionAnnotation: string | undefined;
  readonly publishNotReady: boolean;
  readonly waypoint: WaypointWish;
}

function readPort(value: unknown): ServicePortFacts {
  const port = record(value);
  const target = port['targetPort'];
  return {
    name: text(port['name']),
    port: integer(port['port']),
    transport: optionalText(port['protocol']) ?? 'TCP',
    appProtocol: optionalText(port['appProtocol']),
    // The API fills in an absent targetPort with the port; a file may lack it.
    targetPort: target === undefined ? integer(port['port']) : integer(target),
    targetName: text(target),
  };
}

export function readService(object: SourceObject): ServiceFacts {
  const spec = specOf(object);
  const ips = texts(spec['clusterIPs']);
  const all = ips.length > 0 ? ips : [text(spec['clusterIP'])];
  return {
    ...objectFacts(object),
    labels: labelsOf(object),
    external: spec['type'] === 'ExternalName',
    selector: labelMap(spec['selector']),
    vips: all.filter((ip) => ip !== '' && ip !== 'None'),
    ports: list(spec['ports']).map(readPort),
    ipFamilies: texts(spec['ipFamilies']),
    internalLocal: spec['internalTrafficPolicy'] === 'Local',
    trafficDistribution: optionalText(spec['trafficDistribution']),
    trafficDistributionAnnotation: annotationsOf(object)[annotation.trafficDistribution],
    publishNotReady: spec['publishNotReadyAddresses'] === true,
    waypoint: waypointWishOf(object),
  };
}

export function serviceHostname(service: Pick<ObjectFacts, 'namespace' | 'name'>, domain: string): string {
  return `${service.name}.${service.namespace}.svc.${domain}`;
}

function ipFamilies(families: readonly string[]): Service['ipFamilies'] {
  if (families.length >= 2) return 'DUAL';
  if (families.length === 0) return 'AUTOMATIC';
  return families[0] === 'IPv4' ? 'IPV4_ONLY' : 'IPV6_ONLY';
}

/** One Service record; none for ExternalName, whose name the client resolves to something else. */
export function translateService(service: ServiceFacts, lookup: Lookup): Translation {
  if (service.external) return emptyTranslation;
  const problems: Problem[] = [];
  const network = clusterNetwork(lookup);
  const addresses: { network: string; ip: Ip }[] = [];
  for (const vip of service.vips) {
    const ip = parseIp(vip);
    if (ip === undefined)
      problems.push({ field: 'spec.clusterIPs', reason: `"${vip}" is not an IP address; left out` });
    else addresses.push({ network, ip });
  }
  const binding = bindService(lookup, service);
  const canary =
    binding.waypoint === undefined ? { weighted: [] } : weightedWaypoints(lookup, service, binding.waypoint);
  const ingress =
    binding.waypoint === undefined || !lookup.mesh.ingressWaypoints
      ? undefined
      : ingressUsesWaypoint(lookup, service);
  const balancing = distribute({
    internalLocal: service.internalLocal,
    field: service.trafficDistribution,
    annotation: service.trafficDistributionAnnotation,
    namespaceAnnotation: lookup.namespace(service.namespace)?.trafficDistribution,
  });
  const translated: Service = {
    kind: 'service',
    name: service.name,
    namespace: service.namespace,
    hostname: serviceHostname(service, lookup.mesh.clusterDomain),
    addresses,
    cidrAddresses: [],
    ports: service.ports.map((port) => ({
      servicePort: port.port,
      targetPort: port.targetPort,
      appProtocol: appProtocolOf(port),
    })),
    subjectAltNames: [],
    ipFamilies: ipFamilies(service.ipFamilies),
    loadBalancing: service.publishNotReady ? { ...balancing, healthPolicy: 'ALLOW_ALL' } : balancing,
    // A Kubernetes Service always is, whatever ServiceEntries claim the same name.
    canonical: true,
    visibility: 'PUBLIC',
    ingressUseWaypoint: ingress === true,
    weightedWaypoints: canary.weighted,
    ...(binding.address === undefined ? {} : { waypoint: binding.address }),
  };
  return {
    records: [translated],
    ...(isGlobal(lookup, service) ? { global: true } : {}),
    conditions: [
      ...waypointBound(binding, { ingress, canaryProblem: canary.problem }),
      ...validCondition(problems),
    ],
    problems,
  };
}
