// What a connection would get, hop by hop, by the functions that the proxies decide with: the plan on the way out,
// the plan on the way in, the verdict of the policies; for each way that load balancing may take.
import { isV6, type Ip, type SocketAddress } from '#/kit/index.ts';
import { serviceKey, type Service, type Workload } from '#/model/index.ts';
import { changesFor } from './explain-changes.ts';
import { differences } from './explain-differences.ts';
import { partyReport, workloadTitle } from './explain-party.ts';
import type { ConnectionExplanation, ExplainRequest, PathReport } from './explain-report.ts';
import {
  arrivePlain,
  newWalk,
  refused,
  send,
  show,
  unresolved,
  type Asking,
  type End,
  type Walk,
} from './explain-walk.ts';
import type { MeshModel } from './mesh-model.ts';
import { TargetError, type Party } from './target.ts';

const maxSamples = 40;
const maxPaths = 20;

/** The address that a client uses. Throws TargetError if it has none. */
function destinationAddress(party: Party, source: Party): Ip {
  const v6 =
    source.kind === 'workload' &&
    source.workload.addresses[0] !== undefined &&
    isV6(source.workload.addresses[0]);
  const pick = (ips: readonly Ip[]): Ip | undefined => ips.find((ip) => isV6(ip) === v6) ?? ips[0];
  switch (party.kind) {
    case 'address':
      return party.ip;
    case 'hostname':
      return unresolved;
    case 'absent':
      throw new TargetError(
        `pod ${party.document.namespace}/${party.document.name} has no address, or has ended`,
      );
    case 'workload': {
      const ip = pick(party.workload.addresses);
      if (ip === undefined) throw new TargetError(`${workloadTitle(party.workload)} has no address`);
      return ip;
    }
    case 'service': {
      const ip = pick(party.service.addresses.map((address) => address.ip));
      if (ip !== undefined) return ip;
      throw new TargetError(
        `service ${party.service.namespace}/${party.service.name} has no address, and no ready endpoint that has one`,
      );
    }
  }
}

/** The record that decides how a connection of this pod begins: captured, or nobody looks at it. */
function isProxied(model: MeshModel, workload: Workload): boolean {
  const pod = model.podOf(workload);
  return workload.nativeTunnel || (pod !== undefined && model.isCaptured(pod));
}

/** Numbers that make load balancing take each of its ways. */
function* samples(service: Service | undefined, endpoints: number): Iterable<() => number> {
  const count = Math.max(1, Math.min(maxSamples, endpoints));
  let total = 0;
  for (const { weight } of service?.weightedWaypoints ?? []) total += weight;
  const firsts: (number | undefined)[] = [];
  let before = 0;
  for (const { weight } of service?.weightedWaypoints ?? []) {
    if (weight > 0) firsts.push((before + weight / 2) / total);
    before += weight;
  }
  if (firsts.length === 0) firsts.push(undefined);
  for (const first of firsts)
    for (let i = 0; i < count; i++) {
      let calls = 0;
      yield () => (calls++ === 0 && first !== undefined ? first : (i + 0.5) / count);
    }
}

/** A client that nobody proxies: Kubernetes' own load balancing, and no waypoint. */
function* sendDirect(
  model: MeshModel,
  request: ExplainRequest,
  target: SocketAddress,
  asking: Asking,
): Iterable<PathReport> {
  const { source, destination } = request;
  const report = partyReport(model, source);
  const peer =
    source.kind === 'workload'
      ? source.workload.addresses[0]
      : source.kind === 'address'
        ? source.ip
        : undefined;
  const start = (because: readonly string[], nextHop: string): Walk => ({
    ...newWalk(model, asking),
    plain: true,
    hops: [
      {
        at: 'client',
        who: report.title,
        ...(report.node === undefined ? {} : { node: report.node }),
        decision: 'direct',
        nextHop,
        because: [report.because, ...because],
      },
    ],
  });
  if (destination.kind !== 'service') {
    const walk = start([], show(target));
    const local = destination.kind === 'workload' ? destination.workload : undefined;
    yield finish(walk, arrivePlain(walk, local, target, peer ?? unresolved));
    return;
  }
  const { service } = destination;
  const key = serviceKey(service);
  const round =
    service.waypoint === undefined
      ? []
      : ['clients outside of the mesh go round the waypoint of the service'];
  const servicePort = service.ports.find((port) => port.servicePort === target.port);
  const endpoints = model.store.endpoints(key).workloads.flatMap((workload) => {
    const mapped = workload.services[key]?.find((port) => port.servicePort === target.port)?.targetPort ?? 0;
    const port = mapped > 0 ? mapped : (servicePort?.targetPort ?? 0);
    const ip = workload.addresses[0];
    return port > 0 && ip !== undefined ? [{ workload, address: { ip, port } }] : [];
  });
  if (endpoints.length === 0) {
    const walk = start(
      [...round, `service ${key} has no ready endpoint for port ${target.port}`],
      show(target),
    );
    yield finish(
      walk,
      refused(key, 'NO_HEALTHY_UPSTREAM', `service ${key} has no ready endpoint for port ${target.port}`),
    );
  }
  for (const { workload, address } of endpoints.slice(0, maxSamples)) {
    const walk = start([...round, `the cluster sends it to an endpoint of ${key}`], show(address));
    yield finish(walk, arrivePlain(walk, workload, address, peer ?? unresolved));
  }
}

function finish(walk: Walk, end: End): PathReport {
  const { endpoint, ...rest } = end;
  return {
    endpoints: [endpoint],
    ...rest,
    security: walk.encrypted ? (walk.plain ? 'partly' : 'mtls') : 'plain',
    hops: walk.hops,
  };
}

/** Paths that differ in nothing but their endpoint are one. */
function merged(paths: Iterable<PathReport>): readonly PathReport[] {
  const byShape = new Map<string, PathReport>();
  const seen = new Set<string>();
  for (const path of paths) {
    const waypoints = path.hops.filter(({ at }) => at === 'waypoint');
    const through = waypoints.flatMap(({ who, outcome }) => [
      who,
      outcome?.kind ?? '',
      outcome?.destination ?? '',
      ...(outcome?.because ?? []),
    ]);
    const once = [...path.endpoints, ...through].join(' ');
    if (seen.has(once)) continue;
    seen.add(once);
    const last = path.hops.at(-1);
    const shape = JSON.stringify([
      path.verdict,
      path.code,
      path.by,
      path.security,
      path.hops.map(({ at, decision }) => [at, decision]),
      (last?.policies ?? []).map(({ policy, matched, rules }) => [
        policy,
        matched,
        rules.map((rule) => rule.matched),
      ]),
      // A different node is no different path; a different waypoint object is.
      path.hops.flatMap(({ requestPolicies }) => requestPolicies?.map(({ policy }) => policy) ?? []),
      path.hops.map(({ request, outcome }) => [request?.gateway, outcome?.destination, outcome?.because]),
    ]);
    const known = byShape.get(shape);
    if (known === undefined) byShape.set(shape, path);
    else byShape.set(shape, { ...known, endpoints: [...new Set([...known.endpoints, ...path.endpoints])] });
  }
  return [...byShape.values()].slice(0, maxPaths);
}

function* sendCaptured(
  model: MeshModel,
  source: Workload,
  destination: Party,
  target: SocketAddress,
  asking: Asking,
): Iterable<PathReport> {
  const service = destination.kind === 'service' ? destination.service : undefined;
  const endpoints = service === undefined ? 1 : model.store.endpoints(serviceKey(service)).workloads.length;
  for (const random of samples(service, endpoints)) {
    // One way of a waypoint after the other; the walk says how many there are.
    for (let branch = 0, branches = 1; branch < branches; branch++) {
      const walk = newWalk(model, asking, branch);
      const end = send(walk, 'client', source, target, random);
      ({ branches } = walk);
      yield finish(walk, end);
    }
  }
}

/** What a client connects to: where a service has no address, DNS gives those of its pods. */
function endsOf(model: MeshModel, destination: Party): readonly Party[] {
  if (destination.kind !== 'service' || destination.service.addresses.length > 0) return [destination];
  const { workloads } = model.store.endpoints(serviceKey(destination.service));
  const ends = workloads
    .filter(({ addresses }) => addresses.length > 0)
    .slice(0, maxSamples)
    .map((workload): Party => {
      const document = model.podOf(workload);
      return { kind: 'workload', workload, ...(document && { document }) };
    });
  return ends.length > 0 ? ends : [destination];
}

/** Throws TargetError if the two cannot be connected for want of an address. */
export function explainConnection(model: MeshModel, request: ExplainRequest): ConnectionExplanation {
  const { source, destination, port } = request;
  if (source.kind === 'service')
    throw new TargetError(
      `${source.service.namespace}/${source.service.name} is a service: a connection comes from a pod or an address`,
    );
  if (source.kind === 'absent')
    throw new TargetError(
      `pod ${source.document.namespace}/${source.document.name} has no address, or has ended`,
    );
  const asking: Asking = { wish: request.http ?? {}, explained: new Map() };
  const ways = endsOf(model, destination).flatMap((end) => {
    const target = { ip: destinationAddress(end, source), port };
    return source.kind === 'workload' && isProxied(model, source.workload)
      ? [...sendCaptured(model, source.workload, end, target, asking)]
      : [...sendDirect(model, { ...request, destination: end }, target, asking)];
  });
  const paths = merged(ways);
  const verdicts = new Set(paths.map(({ verdict }) => verdict));
  const [only] = verdicts;
  const explanation = {
    source: partyReport(model, source),
    destination: { ...partyReport(model, destination), port },
    verdict: verdicts.size === 1 && only !== undefined ? only : ('depends' as const),
    paths,
  };
  const unread =
    request.http !== undefined && paths.every(({ hops }) => hops.every((hop) => hop.request === undefined));
  return {
    ...explanation,
    ...(unread
      ? { requestNote: 'no waypoint is on the way: nobody looks at method, path, host, headers and tokens' }
      : {}),
    changes: changesFor(model, request, paths),
    differences: differences(model, request, paths),
    assumed: model.live ? [] : assumptions(model, [source, destination], paths),
  };
}

function assumptions(
  model: MeshModel,
  parties: readonly Party[],
  paths: readonly PathReport[],
): readonly string[] {
  const pods = paths
    .flatMap(({ endpoints, hops }) => [...endpoints, ...hops.map(({ who }) => who)])
    .map((title) => model.documents.get(`Pod ${title.replace(/^pod /, '')}`));
  const named = parties.map((party) => ('document' in party ? party.document : undefined));
  return [...new Set([...named, ...pods].flatMap((document) => document?.assumed ?? []))];
}
