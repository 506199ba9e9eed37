// What becomes of one request: a plan that the engine carries out with one switch, and that `aura explain` prints.
// Pure: the same subject, view and random numbers give the same plan. Authorization is asked elsewhere, before.
import type {
  Destination,
  HeaderChange,
  HeaderValue,
  HttpSubject,
  RequestFacts,
  ServiceKey,
  TrafficSettings,
} from '#/model/index.ts';
import { chooseDestination, type DestinationChoice } from './choose-destination.ts';
import { answerPreflight, corsResponseHeaders } from './cors.ts';
import type { DestinationSettings } from './destination-settings.ts';
import { drawFault, type InjectedFault } from './fault.ts';
import { drawMirrors } from './mirrors.ts';
import { redirectLocation } from './redirects.ts';
import type { RetryPolicy } from './retry.ts';
import { authorityChange, rewritePath } from './rewrites.ts';
import type { RouteEntry } from './route-entry.ts';
import type { HttpRouteTables, RequestTarget } from './route-table.ts';
import { requestTimeout } from './timeouts.ts';

/** Envoy's response flags that a plan may give; `-`: none. */
export type PlanFlag = '-' | 'NR' | 'NC' | 'FI';

interface PlanBase {
  /** Name of the rule (or of the route, if it has none), for the log. Absent: no route. */
  readonly routeName?: string;
  /** An injected delay: waited for before the plan is carried out; the log flags the request DI. */
  readonly delayMs?: number;
  /** Applied in order to the response, whoever makes it. */
  readonly responseHeaders: readonly HeaderChange[];
  /** In the order of the decision; only if a trace was asked for. */
  readonly because?: readonly string[];
}

export interface RedirectPlan extends PlanBase {
  readonly kind: 'redirect';
  readonly status: number;
  readonly location: string;
}

export interface RespondPlan extends PlanBase {
  readonly kind: 'respond';
  readonly status: number;
  readonly body: string;
  readonly headers: readonly HeaderValue[];
  /** Set for a gRPC request: the answer is then 200 with this status in place of `status` and body. */
  readonly grpcStatus?: number;
  /** In Envoy's words, for the log (`%RESPONSE_CODE_DETAILS%`). */
  readonly reason: string;
  readonly flag: PlanFlag;
}

export interface ForwardPlan extends PlanBase {
  readonly kind: 'forward';
  /** Absent: the workload that the client addressed. */
  readonly destination?: Destination;
  readonly settings: TrafficSettings;
  /** Applied in order to the request, before host and path are replaced. */
  readonly requestHeaders: readonly HeaderChange[];
  /** The host to send. The engine notes the former one where `authority` differs from the request's. */
  readonly authority: string;
  /** The path to send, without the query, which stays. Where it differs, Envoy adds x-envoy-original-path. */
  readonly path: string;
  /** Of the whole request with its retries. Absent: no limit. */
  readonly timeoutMs?: number;
  /** Absent: no retry. */
  readonly retry?: RetryPolicy;
  readonly mirrors: readonly Destination[];
  /**
   * Applied to an answer that the waypoint gives in place of the destination's: a browser is to see a timeout as such,
   * and not as a request that it may not read.
   */
  readonly errorHeaders?: HeaderChange;
}

export type RequestPlan = RedirectPlan | RespondPlan | ForwardPlan;

/** The configuration that a decision reads, in one state. */
export interface RequestView {
  readonly routes: Pick<HttpRouteTables, 'find'>;
  readonly settings: Pick<DestinationSettings, 'resolve'>;
  /** `ns/name` of the waypoint. */
  readonly gateway: string;
  /** The mesh's; for rules that name none, and for services without routes. */
  readonly defaultRetry: RetryPolicy | undefined;
}

const noChanges: readonly HeaderChange[] = [];
const noValues: readonly HeaderValue[] = [];
const noMirrors: readonly Destination[] = [];
const noSettings: TrafficSettings = {};

/** What an HTTP status that a proxy made is to a gRPC client, as Envoy maps them. */
export function grpcStatusOf(status: number): number {
  switch (status) {
    case 400:
      return 13;
    case 401:
      return 16;
    case 403:
      return 7;
    case 404:
      return 12;
    case 429:
    case 502:
    case 503:
    case 504:
      return 14;
    default:
      return 2;
  }
}

/**
 * No backend can take the request: 500. Of a GRPCRoute, the specification wants UNAVAILABLE, not what 500 is mapped to.
 */
const brokenBackend = ({ protocol }: RouteEntry['route']): Partial<Pick<RespondPlan, 'grpcStatus'>> =>
  protocol === 'grpc' ? { grpcStatus: 14 } : {};

/** Fields of a plan that come from the route as a whole. */
type Common = Omit<PlanBase, 'responseHeaders'>;

function respond(
  request: RequestFacts,
  status: number,
  reason: string,
  flag: PlanFlag,
  common: Common,
  more: Partial<Pick<RespondPlan, 'body' | 'headers' | 'responseHeaders' | 'grpcStatus'>> = {},
): RespondPlan {
  return {
    kind: 'respond',
    status,
    body: '',
    headers: noValues,
    ...(request.grpc && status >= 400 && { grpcStatus: grpcStatusOf(status) }),
    reason,
    flag,
    responseHeaders: noChanges,
    ...common,
    ...more,
  };
}

/** `random` gives numbers in [0, 1). With a `trace`, each step of the decision is put into words. */
export function planRequest(
  { request, connection }: Pick<HttpSubject, 'request' | 'connection'>,
  view: RequestView,
  random: () => number,
  trace?: string[],
): RequestPlan {
  const target: RequestTarget = {
    service: connection.service,
    gateway: view.gateway,
    port: connection.destination.port,
  };
  const entry = view.routes.find(request, target);
  if (entry === undefined) return toService(request, target, view, trace);
  if (entry === 'no-route') {
    trace?.push(`no rule of the routes of ${parentText(target)} matches ${request.method} ${request.path}`);
    return respond(request, 404, 'route_not_found', 'NR', because({}, trace));
  }
  return planRule(entry, request, target, view, random, trace);
}

const parentText = ({ service, gateway, port }: RequestTarget): string =>
  service === undefined ? `waypoint ${gateway}` : `service ${service} port ${port}`;

const because = (common: Common, trace: string[] | undefined): Common =>
  trace === undefined ? common : { ...common, because: trace };

/** No route says anything: the service (or the workload) gets the request as it is. */
function toService(
  request: RequestFacts,
  { service, port, gateway }: RequestTarget,
  view: RequestView,
  trace: string[] | undefined,
): ForwardPlan {
  const destination: Destination | undefined = service === undefined ? undefined : { service, port };
  trace?.push(`no route for ${parentText({ service, port, gateway })}: forwarded as addressed`);
  const timeoutMs = requestTimeout(undefined, request);
  return {
    kind: 'forward',
    ...(destination && { destination }),
    settings: (destination && view.settings.resolve(destination)) ?? noSettings,
    requestHeaders: noChanges,
    responseHeaders: noChanges,
    authority: request.authority,
    path: request.path,
    ...(timeoutMs !== undefined && { timeoutMs }),
    ...(view.defaultRetry && { retry: view.defaultRetry }),
    mirrors: noMirrors,
    ...(trace && { because: trace }),
  };
}

function planRule(
  entry: RouteEntry,
  request: RequestFacts,
  target: RequestTarget,
  view: RequestView,
  random: () => number,
  trace: string[] | undefined,
): RequestPlan {
  const { rule, route, compiled } = entry;
  const routeName = rule.name ?? route.name;
  trace?.push(
    `${route.name} rule ${entry.ruleIndex}${rule.name === undefined ? '' : ` (${rule.name})`} matches ${request.method} ${request.path}`,
  );
  // Envoy's order: faults, then CORS, then the action of the route.
  const fault: InjectedFault | undefined = rule.fault && drawFault(rule.fault, random);
  const delayMs = fault?.delayMs;
  if (delayMs !== undefined) trace?.push(`fault: delayed by ${delayMs} ms`);
  const common = because({ routeName, ...(delayMs !== undefined && { delayMs }) }, trace);
  if (fault?.abort !== undefined) {
    const { httpStatus, grpcStatus } = fault.abort;
    trace?.push(`fault: aborted with ${grpcStatus === undefined ? httpStatus : `gRPC status ${grpcStatus}`}`);
    return respond(request, httpStatus, 'fault_filter_abort', 'FI', common, {
      body: 'fault filter abort',
      ...(grpcStatus !== undefined && { grpcStatus }),
    });
  }
  let cors: HeaderChange | undefined;
  if (compiled.cors !== undefined) {
    const answer = answerPreflight(compiled.cors, request);
    if (answer !== 'forward') {
      trace?.push('cors: the preflight is answered here');
      return respond(request, 200, 'cors_response', '-', common, { headers: answer });
    }
    cors = corsResponseHeaders(compiled.cors, request);
  }

  const { action } = rule;
  switch (action.kind) {
    case 'redirect':
      return {
        kind: 'redirect',
        status: action.redirect.status,
        // compileRule made it, for this kind of action.
        location: redirectLocation(
          compiled.redirect ?? { redirect: action.redirect },
          request,
          entry.match,
          target.port,
        ),
        responseHeaders: withCors(
          rule.responseHeaders === undefined ? noChanges : [rule.responseHeaders],
          cors,
        ),
        ...common,
      };
    case 'respond':
      return respond(request, action.response.status, 'direct_response', '-', common, {
        body: action.response.body ?? '',
        headers: action.response.headers ?? noValues,
        responseHeaders: withCors(
          rule.responseHeaders === undefined ? noChanges : [rule.responseHeaders],
          cors,
        ),
      });
    case 'forward': {
      const choice = compiled.destinations && chooseDestination(compiled.destinations, random);
      if (choice === undefined) {
        trace?.push('no destination of the rule has a weight');
        return respond(request, 500, 'direct_response', '-', common, {
          responseHeaders: withCors(noChanges, cors),
          ...brokenBackend(route),
        });
      }
      return planForward(entry, choice, request, view, random, common, cors, trace);
    }
  }
}

const withCors = (
  changes: readonly HeaderChange[],
  cors: HeaderChange | undefined,
): readonly HeaderChange[] => (cors === undefined ? changes : [...changes, cors]);

function planForward(
  { route, rule, compiled, match }: RouteEntry,
  { reference, requestHeaders, responseHeaders, mirrors, rewrite }: DestinationChoice,
  request: RequestFacts,
  view: RequestView,
  random: () => number,
  common: Common,
  cors: HeaderChange | undefined,
  trace: string[] | undefined,
): RequestPlan {
  const { destination } = reference;
  const changes = withCors(responseHeaders, cors);
  if (destination === undefined) {
    trace?.push(`the destination is broken: ${reference.broken ?? 'no reason was given'}`);
    return respond(request, 500, 'cluster_not_found', 'NC', common, {
      responseHeaders: changes,
      ...brokenBackend(route),
    });
  }
  const settings = view.settings.resolve(destination);
  const { service, port, subset }: { service: ServiceKey; port: number; subset?: string } = destination;
  if (settings === undefined) {
    trace?.push(`${service} has no subset ${subset}: no DestinationRule of it defines one`);
    return respond(request, 503, 'cluster_not_found', 'NC', common, { responseHeaders: changes });
  }
  trace?.push(`forwarded to ${service} port ${port}${subset === undefined ? '' : ` subset ${subset}`}`);
  const timeoutMs = requestTimeout(rule.timeoutMs, request);
  const retry = compiled.retry ?? view.defaultRetry;
  return {
    kind: 'forward',
    destination,
    settings,
    requestHeaders,
    responseHeaders: changes,
    authority: rewrite?.authority ?? authorityChange(requestHeaders) ?? request.authority,
    path: rewritePath(rewrite?.path, request.path, match),
    ...(timeoutMs !== undefined && { timeoutMs }),
    ...(retry && retry.attempts > 0 && { retry }),
    mirrors: drawMirrors(mirrors, random),
    ...(cors && { errorHeaders: cors }),
    ...common,
  };
}
