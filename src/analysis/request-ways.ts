// The ways that a request may go on from a waypoint: one for each destination with a weight, by the plans of the waypoint.
import type {
  ConnectionFacts,
  Destination,
  HttpRoute,
  HttpSubject,
  RequestFacts,
  TcpRoute,
} from '#/model/index.ts';
import { planRequest, type RequestPlan } from '#/route/index.ts';
import { forwardText } from './request-applied.ts';
import type { RequestOutcome } from './request-report.ts';
import { destinationText } from './request-routes.ts';
import type { WaypointConfig } from './waypoint-config.ts';

/** Spares the request from what happens to some only. */
const spared = 1 - Number.EPSILON;

const percent = (fraction: number): string => `${Math.round(fraction * 10_000) / 100}%`;

function outcomeOf(plan: RequestPlan, share: number, request: RequestFacts): RequestOutcome {
  const because = plan.because ?? [];
  switch (plan.kind) {
    case 'forward':
      return {
        kind: 'forward',
        share,
        ...(plan.destination && {
          destination: destinationText({ destination: plan.destination, weight: 1 }),
        }),
        does: forwardText(plan, request),
        because,
      };
    case 'redirect':
      return { kind: 'redirect', share, status: plan.status, location: plan.location, does: [], because };
    case 'respond':
      return {
        kind: plan.status >= 400 ? 'refuse' : 'respond',
        share,
        status: plan.status,
        does: plan.grpcStatus === undefined ? [] : [`as gRPC status ${plan.grpcStatus}`],
        because: [...because, `response code details: ${plan.reason}`],
      };
  }
}

/** `destination` undefined: the workload that was addressed, or nothing is sent on. */
export interface Way {
  readonly outcome: RequestOutcome;
  readonly destination: Destination | undefined;
}

export interface PlannedRequest {
  readonly ways: readonly Way[];
  readonly faults: readonly string[];
  readonly taken: { readonly route: HttpRoute; readonly rule: HttpRoute['rules'][number] } | undefined;
}

/** Every way that the plan may take: one for each destination with a weight. */
export function plansOf(config: WaypointConfig, subject: HttpSubject): PlannedRequest {
  const { request, connection } = subject;
  const target = {
    service: connection.service,
    gateway: config.gateway,
    port: connection.destination.port,
  };
  const found = config.view.routes.find(request, target);
  const rule = typeof found === 'object' ? found.rule : undefined;
  const destinations = rule?.action.kind === 'forward' ? rule.action.destinations : [];
  const total = destinations.reduce((sum, { weight }) => sum + Math.max(0, weight), 0);
  const { delay, abort } = rule?.fault ?? {};
  const drawn = [delay, abort].filter(
    (one) => one !== undefined && one.fraction > 0 && one.fraction < 1,
  ).length;
  const plan = (point: number, share: number): Way => {
    // Faults are drawn first, then the destination, then the mirrors, of which all are shown.
    let calls = 0;
    const random = (): number =>
      calls++ < drawn ? spared : calls === drawn + 1 && destinations.length > 1 ? point : 0;
    const planned = planRequest(subject, config.view, random, []);
    const outcome = outcomeOf(planned, share, request);
    const mirrors = [
      ...(rule?.mirrors ?? []),
      ...(destinations.find(
        ({ destination }) => planned.kind === 'forward' && destination === planned.destination,
      )?.mirrors ?? []),
    ].map(
      ({ destination, fraction }) =>
        `${percent(fraction)} mirrored to ${destinationText({ destination, weight: 1 })}`,
    );
    return {
      outcome: { ...outcome, does: [...outcome.does, ...mirrors] },
      destination: planned.kind === 'forward' ? planned.destination : undefined,
    };
  };
  const ways: Way[] = [];
  let before = 0;
  for (const { weight } of total > 0 ? destinations : []) {
    if (weight > 0) ways.push(plan((before + weight / 2) / total, weight / total));
    before += Math.max(0, weight);
  }
  if (ways.length === 0) ways.push(plan(0, 1));
  return {
    // What answers by itself does so whatever the destination.
    ways:
      ways.every(({ outcome }) => outcome.kind !== 'forward') && rule?.fault?.abort?.fraction === 1
        ? ways.slice(0, 1)
        : ways,
    faults: [
      ...(delay === undefined
        ? []
        : [`${percent(delay.fraction)} of requests are delayed by ${delay.ms} ms`]),
      ...(abort === undefined
        ? []
        : [
            `${percent(abort.fraction)} of requests are answered ${'grpcStatus' in abort ? `gRPC status ${abort.grpcStatus}` : abort.httpStatus}`,
          ]),
    ],
    taken: typeof found === 'object' ? { route: found.route, rule: found.rule } : undefined,
  };
}

export function streamWays(
  config: WaypointConfig,
  connection: ConnectionFacts,
): { readonly ways: readonly Way[]; readonly taken: TcpRoute | undefined } {
  const target = { service: connection.service, gateway: config.gateway, port: connection.destination.port };
  const taken = config.tcpRoutes.find(target, connection.sni);
  const forward = (destination: Destination | undefined, share: number, because: string): Way => ({
    outcome: {
      kind: 'forward',
      share,
      ...(destination && { destination: destinationText({ destination, weight: 1 }) }),
      does: [],
      because: [because],
    },
    destination,
  });
  const refuse = (share: number, reason: string): Way => ({
    outcome: { kind: 'refuse', share, does: [], because: [reason] },
    destination: undefined,
  });
  const match = config.tcpRoutes.match(target, connection.sni, () => 0);
  if (taken === undefined) {
    if (match?.kind === 'refuse') return { ways: [refuse(1, match.reason)], taken };
    const { service } = connection;
    const own = service === undefined ? undefined : { service, port: connection.destination.port };
    return { ways: [forward(own, 1, 'no route: forwarded as addressed')], taken };
  }
  const total = taken.destinations.reduce((sum, { weight }) => sum + Math.max(0, weight), 0);
  if (total === 0) return { ways: [refuse(1, 'the route has no destination with a weight')], taken };
  const ways = taken.destinations
    .filter(({ weight }) => weight > 0)
    .map(({ destination, broken, weight }) =>
      destination === undefined
        ? refuse(weight / total, broken ?? 'a broken reference')
        : forward(destination, weight / total, `by ${taken.name}`),
    );
  return { ways, taken };
}
