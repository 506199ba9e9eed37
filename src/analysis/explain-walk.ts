// One connection followed from proxy to proxy, each decision taken by the function that the proxy itself uses.
import { formatSocketAddress, type Ip, type SocketAddress } from '#/kit/index.ts';
import {
  knownIdentity,
  type Identity,
  type MeshView,
  type OutboundPlan,
  type Service,
  type Workload,
} from '#/model/index.ts';
import { defaultRouteSettings, planInbound, planOutbound, planPlaintext } from '#/route/index.ts';
import { directView } from './direct-view.ts';
import { partyReport, workloadTitle } from './explain-party.ts';
import { judge } from './explain-policies.ts';
import type { HopReport, PathReport } from './explain-report.ts';
import { explainRequest, type ExplainedRequest } from './explain-request.ts';
import type { MeshModel } from './mesh-model.ts';
import type { RequestWish } from './request-wish.ts';
import { branchesAt, type Branch } from './waypoint-branches.ts';
import { gatewayOf, waypointPolicies } from './waypoint-policies.ts';

export const show = ({ ip, port }: SocketAddress): string => formatSocketAddress(ip, port);
const settings = { ...defaultRouteSettings, trace: true };
const clientPort = 40_000;
/** Stands for an answer of DNS that is not asked for. From the range for documentation. */
export const unresolved = '203.0.113.10' as Ip;

/** What the walks of one explanation share. */
export interface Asking {
  readonly wish: RequestWish;
  /** By waypoint pod: the same request is judged once. */
  readonly explained: Map<string, ExplainedRequest>;
}

export interface Walk {
  readonly model: MeshModel;
  readonly asking: Asking;
  /** Which of the ways that a waypoint may take. */
  readonly branch: number;
  /** How many there are; 1 without a waypoint. */
  branches: number;
  readonly hops: HopReport[];
  encrypted: boolean;
  plain: boolean;
}

export const newWalk = (model: MeshModel, asking: Asking, branch = 0): Walk => ({
  model,
  asking,
  branch,
  branches: 1,
  hops: [],
  encrypted: false,
  plain: false,
});

export type End = Pick<PathReport, 'verdict' | 'code' | 'reason' | 'by' | 'share'> & {
  readonly endpoint: string;
};

export const refused = (endpoint: string, code: string, reason: string, by?: string): End => ({
  verdict: 'refused',
  endpoint,
  code,
  reason,
  ...(by === undefined ? {} : { by }),
});

function outbound(
  source: Workload,
  target: SocketAddress,
  random: () => number,
  view: MeshView,
): OutboundPlan {
  const facts = {
    source,
    sourceAddress: { ip: source.addresses[0] ?? unresolved, port: clientPort },
    originalDestination: target,
    network: source.network,
  };
  const plan = planOutbound(facts, view, random, settings);
  if (plan.kind !== 'needs') return plan;
  const resolved = new Map(plan.hostnames.map((name) => [name, [unresolved]]));
  return planOutbound({ ...facts, resolved }, view, random, settings);
}

function hopOf(
  at: HopReport['at'],
  workload: Workload | undefined,
  who?: string,
): Pick<HopReport, 'at' | 'who' | 'node'> {
  return {
    at,
    who: who ?? (workload === undefined ? '(unknown)' : workloadTitle(workload)),
    ...(workload === undefined || workload.node === '' ? {} : { node: workload.node }),
  };
}

/** A connection that a proxy sends on by its plan; ends where it is delivered or refused. */
export function send(
  walk: Walk,
  at: HopReport['at'],
  source: Workload,
  target: SocketAddress,
  random: () => number,
  view: MeshView = walk.model.store,
  extra: Partial<HopReport> = {},
): End {
  const plan = outbound(source, target, random, view);
  const stands = [target.ip, ...('nextHop' in plan ? [plan.nextHop.ip] : [])].includes(unresolved);
  const because = [...(plan.because ?? []), ...(stands ? [`${unresolved} stands for what DNS answers`] : [])];
  const base = { ...hopOf(at, source), ...extra };
  switch (plan.kind) {
    case 'needs':
      walk.hops.push({ ...base, decision: 'reject', because, reason: 'it cannot be planned' });
      return refused(show(target), 'NO_ROUTE', 'it cannot be planned');
    case 'reject':
      walk.hops.push({ ...base, decision: 'reject', because, code: plan.code, reason: plan.reason });
      return refused(show(target), plan.code, plan.reason);
    case 'passthrough': {
      walk.hops.push({ ...base, decision: 'passthrough', nextHop: show(plan.nextHop), because });
      walk.plain = true;
      const found = plan.destination ?? walk.model.store.workloadByAddress(source.network, plan.nextHop.ip);
      return arrivePlain(walk, found, plan.nextHop, source.addresses[0] ?? unresolved);
    }
    case 'double-hbone':
      walk.encrypted = true;
      walk.hops.push({
        ...base,
        decision: 'double-hbone',
        nextHop: show(plan.outer.nextHop),
        authority: plan.authority,
        expects: plan.innerIdentities,
        because,
      });
      walk.hops.push({
        ...hopOf('gateway', plan.outer.destination),
        decision: 'terminate',
        because: ['the other network decides the rest: its objects are not known here'],
      });
      return {
        verdict: 'allowed',
        endpoint: plan.authority,
        reason: 'it reaches the gateway of the other network, whose policies are not known here',
      };
    case 'hbone': {
      walk.encrypted = true;
      walk.hops.push({
        ...base,
        decision: 'hbone',
        nextHop: show(plan.nextHop),
        authority: plan.authority,
        expects: plan.expectedIdentities,
        because,
      });
      const identity = knownIdentity(source);
      if (plan.viaWaypoint)
        return passWaypoint(walk, {
          waypoint: plan.destination,
          service: plan.service,
          source,
          target,
          identity,
          random,
        });
      return arriveTunnel(walk, plan.destination, plan.nextHop.ip, plan.authority, source, identity);
    }
  }
}

interface AtWaypoint {
  readonly waypoint: Workload;
  readonly service: Service | undefined;
  readonly source: Workload;
  readonly target: SocketAddress;
  readonly identity: Identity | undefined;
  readonly random: () => number;
}

function passWaypoint(walk: Walk, at: AtWaypoint): End {
  const { waypoint, service, target, identity, random } = at;
  const { model, branch } = walk;
  const base = {
    ...(identity === undefined ? {} : { peerIdentity: identity }),
    requestPolicies: waypointPolicies(model, waypoint, service),
  };
  const gateway = gatewayOf(model, waypoint);
  if (gateway === undefined)
    return send(walk, 'waypoint', waypoint, target, random, directView(model.store), base);
  const explained = requestAt(walk, at, `${waypoint.namespace}/${gateway}`);
  const branches = branchesAt(model, explained, { waypoint, service, target });
  walk.branches = branches.length;
  // There is one at least.
  const chosen = branches[branch] as Branch;
  const { outcome } = chosen;
  const extra = { ...base, request: explained.report, ...(outcome && { outcome }) };
  const share = outcome === undefined ? {} : { share: outcome.share };
  if (chosen.kind === 'end') {
    const { code, reason, by, answers } = chosen;
    walk.hops.push({
      ...hopOf('waypoint', waypoint),
      ...extra,
      decision: answers ? 'respond' : 'reject',
      because: outcome?.because ?? [],
      ...(code === undefined ? {} : { code }),
      reason,
    });
    const endpoint = workloadTitle(waypoint);
    if (!answers) return { ...refused(endpoint, code ?? 'HTTP_403', reason, by), ...share };
    return { verdict: 'allowed', endpoint, reason, ...share };
  }
  const { address, point, subset } = chosen;
  const end = send(walk, 'waypoint', waypoint, address, () => point, directView(model.store, subset), extra);
  const { report } = explained;
  if (end.verdict === 'refused' || (report.by === undefined && report.asks.length === 0))
    return { ...end, ...share };
  return { ...end, ...share, reason: `${report.reason} at the waypoint; ${end.reason} at the destination` };
}

function requestAt(walk: Walk, at: AtWaypoint, gateway: string): ExplainedRequest {
  const { model, asking } = walk;
  const { service, source, target, identity } = at;
  const known = asking.explained.get(`${gateway} ${show(target)}`);
  if (known !== undefined) return known;
  const explained = explainRequest({
    model,
    gateway,
    service,
    workload: service === undefined ? model.store.workloadByAddress(source.network, target.ip) : undefined,
    source: source.addresses[0] ?? unresolved,
    destination: target,
    identity,
    wish: asking.wish,
  });
  asking.explained.set(`${gateway} ${show(target)}`, explained);
  return explained;
}

function arriveTunnel(
  walk: Walk,
  local: Workload,
  ip: Ip,
  authority: string,
  source: Workload,
  identity: Identity | undefined,
): End {
  const base = {
    ...hopOf('destination', local),
    ...(identity === undefined ? {} : { peerIdentity: identity }),
  };
  const endpoint = workloadTitle(local);
  if (local.nativeTunnel) {
    walk.hops.push({
      ...base,
      decision: 'terminate',
      because: ['it takes HBONE itself: ztunnel asks no policy here'],
    });
    return { verdict: 'allowed', endpoint, reason: 'it is handed to a proxy of its own' };
  }
  if (identity === undefined) {
    const reason = 'the names of the client make no identity';
    walk.hops.push({ ...base, decision: 'reject', because: [], code: 'TLS_FAILED', reason });
    return refused(endpoint, 'TLS_FAILED', reason);
  }
  const peer = { ip: source.addresses[0] ?? unresolved, port: clientPort };
  const plan = planInbound(
    {
      local,
      connection: { ip, port: settings.hbonePort },
      peer,
      peerIdentity: identity,
      authority,
      network: local.network,
    },
    walk.model.store,
    settings,
  );
  return deliver(walk, base, plan, local, peer.ip, identity);
}

function deliver(
  walk: Walk,
  base: Pick<HopReport, 'at' | 'who' | 'node'>,
  plan: ReturnType<typeof planInbound>,
  local: Workload,
  sourceIp: Ip,
  identity: Identity | undefined,
): End {
  const because = plan.because ?? [];
  const endpoint = workloadTitle(local);
  if (plan.kind !== 'deliver') {
    const { code, reason } =
      plan.kind === 'reject' ? plan : { code: 'NO_ROUTE', reason: 'it cannot be planned' };
    walk.hops.push({ ...base, decision: 'reject', because, code, reason });
    return refused(endpoint, code, reason);
  }
  const { destination } = plan;
  const judgement = judge(walk.model, local, {
    sourceIp,
    destinationIp: destination.ip,
    destinationPort: destination.port,
    identity,
  });
  const { verdict, policies, unasked } = judgement;
  walk.hops.push({
    ...base,
    decision: verdict.allow ? 'deliver' : 'reject',
    nextHop: show(plan.target),
    because,
    ...(verdict.allow ? {} : { code: verdict.code, reason: verdict.reason }),
    policies,
    unasked,
  });
  if (!verdict.allow) return refused(endpoint, verdict.code, verdict.reason, verdict.by);
  return {
    verdict: 'allowed',
    endpoint,
    reason:
      verdict.by !== undefined
        ? `allowed by ${verdict.by}`
        : policies.some(({ dryRun }) => !dryRun)
          ? 'no DENY policy matches, and there is no ALLOW policy'
          : 'no policy applies',
    ...(verdict.by === undefined ? {} : { by: verdict.by }),
  };
}

/** Plain text, at a workload or somewhere outside. */
export function arrivePlain(walk: Walk, local: Workload | undefined, target: SocketAddress, peer: Ip): End {
  if (local === undefined) {
    return {
      verdict: 'allowed',
      endpoint: show(target),
      reason: 'it leaves the mesh: nothing here decides on it',
    };
  }
  const base = hopOf('destination', local);
  const pod = walk.model.podOf(local);
  if (pod === undefined || !walk.model.isCaptured(pod)) {
    walk.hops.push({
      ...base,
      decision: 'uncaptured',
      nextHop: show(target),
      because: [
        partyReport(walk.model, { kind: 'workload', workload: local, ...(pod && { document: pod }) }).because,
      ],
    });
    return {
      verdict: 'allowed',
      endpoint: workloadTitle(local),
      reason: 'the destination is not in the mesh: no policy is asked',
    };
  }
  const plan = planPlaintext(
    { local, peer: { ip: peer, port: clientPort }, originalDestination: target, network: local.network },
    walk.model.store,
    settings,
  );
  return deliver(walk, base, plan, local, peer, undefined);
}
