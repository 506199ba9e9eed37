// The ways that a request may take from a waypoint: its end there, or one of the endpoints of one of its destinations.
import type { SocketAddress } from '#/kit/index.ts';
import { isV6 } from '#/kit/index.ts';
import { serviceKey, type Destination, type Service, type Workload } from '#/model/index.ts';
import type { Subset } from './direct-view.ts';
import type { ExplainedRequest } from './explain-request.ts';
import type { MeshModel } from './mesh-model.ts';
import type { RequestOutcome } from './request-report.ts';

export type Branch =
  | {
      readonly kind: 'end';
      readonly outcome: RequestOutcome | undefined;
      /** By an answer that is not an error. */
      readonly answers: boolean;
      readonly code?: string;
      readonly reason: string;
      readonly by?: string;
    }
  | {
      readonly kind: 'send';
      readonly outcome: RequestOutcome;
      readonly address: SocketAddress;
      /** Stands for chance, so that load balancing takes one endpoint after the other. */
      readonly point: number;
      readonly subset?: Subset;
    };

const maxEndpoints = 40;

interface Where {
  readonly waypoint: Workload;
  readonly service: Service | undefined;
  readonly target: SocketAddress;
}

function ends(outcome: RequestOutcome): Branch {
  const { kind, status = 0, location, because } = outcome;
  if (kind === 'redirect')
    return {
      kind: 'end',
      outcome,
      answers: true,
      reason: `the waypoint answers ${status} to ${location ?? ''}`,
    };
  if (kind === 'respond')
    return { kind: 'end', outcome, answers: true, reason: `the waypoint answers ${status}` };
  // The last step but the details says why.
  const why = because.findLast((step) => !step.startsWith('response code details')) ?? '';
  return {
    kind: 'end',
    outcome,
    answers: false,
    code: status === 0 ? 'NO_ROUTE' : `HTTP_${status}`,
    reason: status === 0 ? why : `the waypoint answers ${status}: ${why}`,
  };
}

function targetPortOf(workload: Workload, service: Service, port: number): number {
  const mapped = workload.services[serviceKey(service)]?.find(({ servicePort }) => servicePort === port);
  if (mapped === undefined) return 0;
  if (mapped.targetPort > 0) return mapped.targetPort;
  return service.ports.find(({ servicePort }) => servicePort === port)?.targetPort ?? 0;
}

function sends(
  model: MeshModel,
  outcome: RequestOutcome,
  destination: Destination,
  gateway: string,
  { target }: Where,
): readonly Branch[] {
  const service = model.store.serviceByKey(destination.service);
  const fail = (reason: string): readonly Branch[] => [
    { kind: 'end', outcome, answers: false, code: 'NO_HEALTHY_UPSTREAM', reason },
  ];
  if (service === undefined) return fail(`there is no service ${destination.service}`);
  const { subset: name, port } = destination;
  const subset: Subset | undefined =
    name === undefined
      ? undefined
      : {
          service: destination.service,
          members: model.waypointConfig(gateway).subsetMembers(destination.service, name),
        };
  const endpoints = model.store
    .endpoints(destination.service)
    .workloads.filter((workload) => subset === undefined || subset.members.has(workload.uid))
    .filter((workload) => targetPortOf(workload, service, port) > 0);
  const through = service.loadBalancing.mode === 'PASSTHROUGH';
  if (endpoints.length === 0 && !through)
    return fail(
      `service ${destination.service} has no ready endpoint for port ${port}${name === undefined ? '' : ` in subset ${name}`}`,
    );
  const ips = service.addresses.map(({ ip }) => ip);
  const ip = ips.includes(target.ip)
    ? target.ip
    : (ips.find((one) => isV6(one) === isV6(target.ip)) ?? ips[0]);
  const base = { kind: 'send' as const, outcome, ...(subset && { subset }) };
  if (through) return [{ ...base, address: target, point: 0 }];
  const shown = endpoints.slice(0, maxEndpoints);
  return shown.map((workload, i): Branch => {
    const [own] = workload.addresses;
    const direct = ip === undefined && own !== undefined ? own : undefined;
    const address =
      direct === undefined
        ? { ip: ip ?? target.ip, port }
        : { ip: direct, port: targetPortOf(workload, service, port) };
    return { ...base, address, point: (i + 0.5) / shown.length };
  });
}

/** One at least. */
export function branchesAt(
  model: MeshModel,
  { report, ways }: ExplainedRequest,
  where: Where,
): readonly Branch[] {
  if (report.verdict === 'refused') {
    const { code, reason, by } = report;
    return [
      {
        kind: 'end',
        outcome: undefined,
        answers: false,
        ...(code === undefined ? {} : { code }),
        reason,
        ...(by === undefined ? {} : { by }),
      },
    ];
  }
  return ways.flatMap(({ outcome, destination }) => {
    if (outcome.kind !== 'forward') return [ends(outcome)];
    if (destination === undefined) return [{ kind: 'send', outcome, address: where.target, point: 0 }];
    return sends(model, outcome, destination, report.gateway, where);
  });
}
