// What a waypoint does with one request, or with a connection that is not HTTP: the order is that of the waypoint, the
// functions are its own.
import type { Ip } from '#/kit/index.ts';
import {
  serviceKey,
  type ConnectionFacts,
  type Destination,
  type HttpRoute,
  type Identity,
  type Service,
  type TcpRoute,
  type Workload,
} from '#/model/index.ts';
import { explainHttp, explainTcp, type HttpExplanation } from '#/policy/index.ts';
import { planRequest, type RequestPlan } from '#/route/index.ts';
import type { MeshModel } from './mesh-model.ts';
import { appliedObjects, forwardText } from './request-applied.ts';
import { httpPolicyReport, unaskedHttp } from './request-policies.ts';
import type { RequestOutcome, RequestReport } from './request-report.ts';
import { destinationText, httpRouteReport, tcpRouteReport } from './request-routes.ts';
import { judgeToken } from './request-token.ts';
import { askedRequest, subjectOf, type RequestWish } from './request-wish.ts';
import type { WaypointConfig } from './waypoint-config.ts';

export interface RequestAtWaypoint {
  readonly model: MeshModel;
  readonly gateway: string;
  readonly service: Service | undefined;
  readonly workload: Workload | undefined;
  readonly source: Ip;
  readonly destination: { readonly ip: Ip; readonly port: number };
  readonly identity: Identity | undefined;
  readonly wish: RequestWish;
}

export interface ExplainedRequest {
  readonly report: RequestReport;
  /** For each outcome that sends something on; undefined: the workload that was addressed. */
  readonly ways: readonly {
    readonly outcome: RequestOutcome;
    readonly destination: Destination | undefined;
  }[];
}

/** Spares the request from what happens to some only. */
const spared = 1 - Number.EPSILON;

const protocols: Readonly<Record<string, string>> = { HTTP11: 'HTTP', HTTP2: 'HTTP/2', GRPC: 'gRPC' };

const percent = (fraction: number): string => `${Math.round(fraction * 10_000) / 100}%`;

function protocolOf({ service, workload, destination, wish, model }: RequestAtWaypoint): {
  readonly protocol: 'http' | 'tcp';
  readonly because: string;
} {
  const declared =
    service?.ports.find(({ servicePort }) => servicePort === destination.port)?.appProtocol ??
    (workload === undefined ? undefined : declaredAt(model, workload, destination.port)) ??
    'UNKNOWN';
  if (declared === 'TCP' || declared === 'TLS')
    return { protocol: 'tcp', because: `the port declares ${declared}: there are no requests to look at` };
  if (declared !== 'UNKNOWN')
    return { protocol: 'http', because: `the port declares ${protocols[declared] ?? declared}` };
  const said = Object.keys(wish).length > 0;
  return {
    protocol: 'http',
    because: `the port declares no protocol: the waypoint looks at the first bytes; HTTP is ${said ? 'what is asked about' : 'assumed'}`,
  };
}

/** What the services that lead to the port say of it. */
function declaredAt(model: MeshModel, workload: Workload, port: number): string | undefined {
  for (const service of model.store.servicesOf(workload)) {
    const mapping = workload.services[serviceKey(service)]?.find(({ targetPort }) => targetPort === port);
    const found = service.ports.find(({ servicePort }) => servicePort === mapping?.servicePort)?.appProtocol;
    if (found !== undefined && found !== 'UNKNOWN') return found;
  }
  return undefined;
}

interface Judged {
  readonly allow: boolean;
  readonly reason: string;
  readonly by?: string;
}

function verdictOf({ verdict, policies }: HttpExplanation): Judged {
  const by = verdict.by?.policy;
  if (!verdict.allow)
    return {
      allow: false,
      reason:
        by === undefined
          ? 'RBAC: access denied: allow policies exist, but none allowed'
          : `RBAC: access denied: denied by ${by}, rule ${(verdict.by?.rule ?? 0) + 1}`,
      ...(by === undefined ? {} : { by }),
    };
  if (by !== undefined) return { allow: true, reason: `allowed by ${by}`, by };
  const some = policies.some(({ dryRun }) => !dryRun);
  return {
    allow: true,
    reason: some ? 'no DENY policy matches, and there is no ALLOW policy' : 'no policy applies',
  };
}

function outcomeOf(
  plan: RequestPlan,
  share: number,
  request: Parameters<typeof forwardText>[1],
): RequestOutcome {
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

type Way = ExplainedRequest['ways'][number];

interface Planned {
  readonly ways: readonly Way[];
  readonly faults: readonly string[];
  readonly taken: { readonly route: HttpRoute; readonly rule: HttpRoute['rules'][number] } | undefined;
}

/** Every way that the plan may take: one for each destination with a weight. */
function plansOf(config: WaypointConfig, subject: ReturnType<typeof subjectOf>): Planned {
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

function streamWays(
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

export function explainRequest(at: RequestAtWaypoint): ExplainedRequest {
  const { model, gateway, service, workload, destination, identity, source, wish } = at;
  const config = model.waypointConfig(gateway);
  const key = service === undefined ? undefined : serviceKey(service);
  const attached = config.attachedTo(key, workload?.uid);
  const { protocol, because: protocolBecause } = protocolOf(at);
  const asked = askedRequest(wish, service, destination.ip, destination.port);
  const tokens = judgeToken(model, protocol === 'http' ? attached.authentications : [], wish.claims);
  const subject = subjectOf(
    asked,
    { identity, source, destination, service: key, workload: workload?.uid },
    tokens.token,
  );
  const policies = config.compile(attached.policies);
  const explained =
    protocol === 'http' ? explainHttp(policies, subject) : explainTcp(policies, subject.connection);
  const judged: Judged & { readonly code?: string } =
    tokens.refusal === undefined
      ? verdictOf(explained)
      : { allow: false, reason: tokens.refusal.reason, code: `HTTP_${tokens.refusal.status}` };
  const asks = [...new Set(explained.verdict.ask.map(({ provider }) => provider))];
  const http = protocol === 'http' ? plansOf(config, subject) : undefined;
  const stream = protocol === 'tcp' ? streamWays(config, subject.connection) : undefined;
  const ways = judged.allow ? ((http ?? stream)?.ways ?? []) : [];
  const namespaces = [
    ...new Set([gateway, key ?? '', model.settings.rootNamespace].map((one) => one.split('/')[0] ?? '')),
  ];
  const services = [...new Set([key, ...ways.map((way) => way.destination?.service)])].filter(
    (one) => one !== undefined,
  );
  const routes = config
    .routesOf(key, destination.port)
    .map((route) =>
      route.kind === 'tcp-route'
        ? tcpRouteReport(model, route, route === stream?.taken)
        : httpRouteReport(
            model,
            route,
            http && subject.request,
            destination.port,
            http?.taken?.route === route ? http.taken.rule : undefined,
          ),
    );
  const providers = new Map(attached.policies.map(({ name, provider }) => [name, provider]));
  return {
    ways,
    report: {
      gateway,
      protocol,
      protocolBecause,
      ...(protocol === 'http' ? { request: asked } : {}),
      authentications: tokens.authentications,
      ...(tokens.note === undefined ? {} : { tokenNote: tokens.note }),
      policies: explained.policies.map((policy) =>
        httpPolicyReport(model, policy, providers.get(policy.policy)),
      ),
      unaskedPolicies: unaskedHttp(model, attached.policies, namespaces),
      asks,
      applied: appliedObjects(model, config, attached, services, http && subject.request, destination.port),
      verdict: judged.allow ? 'allowed' : 'refused',
      ...(judged.allow ? {} : { code: judged.code ?? (protocol === 'http' ? 'HTTP_403' : 'POLICY_DENIED') }),
      reason:
        asks.length > 0 && judged.allow ? `${judged.reason}, if ${asks.join(' and ')} agrees` : judged.reason,
      ...(judged.by === undefined ? {} : { by: judged.by }),
      routes,
      faults: http?.faults ?? [],
      outcomes: ways.map(({ outcome }) => outcome),
    },
  };
}
