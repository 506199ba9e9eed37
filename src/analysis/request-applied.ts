// What else applies to a request at a waypoint: limits, filters, settings of the destination, telemetry. In phrases.
import type {
  DestinationPolicy,
  Extension,
  HeaderChange,
  HttpMatch,
  RequestFacts,
  Telemetry,
  TrafficPolicy,
  TrafficSettings,
} from '#/model/index.ts';
import { compileRequestMatcher, type ForwardPlan } from '#/route/index.ts';
import type { MeshModel } from './mesh-model.ts';
import type { AppliedObject } from './request-report.ts';
import { needsOf } from './request-routes.ts';
import type { AttachedToTarget, WaypointConfig } from './waypoint-config.ts';

const seconds = (ms: number): string => (ms % 1000 === 0 ? `${ms / 1000}s` : `${ms}ms`);

function forWhich(match: HttpMatch | undefined, request: RequestFacts | undefined, port: number): string {
  if (match === undefined) return '';
  const [needs] = needsOf({ matches: [match] });
  if (needs === undefined) return '';
  if (request === undefined) return ` (${needs})`;
  const holds = compileRequestMatcher(match).matches(request, port);
  return ` (${needs}: ${holds ? 'this request' : 'not this request'})`;
}

function limitsOf(policy: TrafficPolicy, request: RequestFacts | undefined, port: number): readonly string[] {
  const { externalProcessing: external, maxRequestBodyBytes, maxResponseBodyBytes } = policy;
  return [
    ...policy.localRateLimits.map(
      ({ maxTokens, tokensPerFill, intervalMs, per, match, status }) =>
        `at most ${maxTokens} at once and ${tokensPerFill} every ${seconds(intervalMs)} per ${per}, else ${status}${forWhich(match, request, port)}`,
    ),
    ...policy.globalRateLimits.map(
      ({ server, domain, failOpen, match }) =>
        `asks the rate limits of ${server.hostname}:${server.port} (${domain})${failOpen ? ', passes if it does not answer' : ''}${forWhich(match, request, port)}`,
    ),
    ...(external === undefined
      ? []
      : [`is processed by ${external.server.hostname}:${external.server.port}`]),
    ...(maxRequestBodyBytes === undefined ? [] : [`a request has at most ${maxRequestBodyBytes} bytes`]),
    ...(maxResponseBodyBytes === undefined ? [] : [`a response has at most ${maxResponseBodyBytes} bytes`]),
  ];
}

const extensionText = ({ phase, priority, onFailure }: Extension): string =>
  `phase ${phase}, priority ${priority}, ${onFailure === 'skip' ? 'skipped if it fails' : 'refuses if it fails'}`;

function telemetryText({ accessLogs, metrics, tracing }: Telemetry): readonly string[] {
  const names = (list: readonly { readonly providers: readonly string[] }[]): string => {
    const all = list.flatMap(({ providers }) => providers);
    return all.length === 0 ? 'the default providers' : all.join(', ');
  };
  const off = (list: readonly { readonly disabled?: boolean }[]): boolean =>
    list.length > 0 && list.every(({ disabled }) => disabled === true);
  return [
    ...(accessLogs.length === 0
      ? []
      : [off(accessLogs) ? 'no access log' : `access log to ${names(accessLogs)}`]),
    ...(metrics.length === 0
      ? []
      : [`${metrics.flatMap(({ overrides }) => overrides).length} changes of metrics`]),
    ...tracing.map(({ samplingPercent, disableSpanReporting, providers }) =>
      disableSpanReporting === true
        ? 'no spans'
        : `spans to ${names([{ providers }])}${samplingPercent === undefined ? '' : `, ${samplingPercent}% of requests`}`,
    ),
  ];
}

/** Phrases for the settings that a destination has. */
export function settingsText(settings: TrafficSettings): readonly string[] {
  const { balancing, locality, warmup, limits, outliers, tls, proxyProtocol, retryBudget } = settings;
  return [
    ...(balancing === undefined
      ? []
      : [
          balancing.kind === 'hash'
            ? `balanced by hash of ${balancing.by.kind}`
            : `balanced by ${balancing.kind}`,
        ]),
    ...(locality?.enabled === true ? ['balanced by locality'] : []),
    ...(warmup === undefined ? [] : [`new endpoints warm up for ${seconds(warmup.durationMs)}`]),
    ...(limits === undefined ? [] : ['limits of connections and requests']),
    ...(outliers === undefined
      ? []
      : [`failing endpoints are put out for ${seconds(outliers.baseEjectionMs)}`]),
    ...(tls === undefined ? [] : [`TLS (${tls.mode}) to the endpoint`]),
    ...(proxyProtocol === undefined ? [] : ['PROXY protocol to the endpoint']),
    ...(retryBudget === undefined ? [] : [`retries are at most ${retryBudget.percent}% of the requests`]),
  ];
}

function headersText(what: string, changes: readonly HeaderChange[]): readonly string[] {
  return changes.flatMap(({ set = [], add = [], remove = [] }) => [
    ...set.map(({ name, value }) => `${what} header ${name} becomes ${value}`),
    ...add.map(({ name, value }) => `${what} header ${name} gets ${value}`),
    ...remove.map((name) => `${what} header ${name} is removed`),
  ]);
}

/** Phrases for all that a plan does on the way. */
export function forwardText(plan: ForwardPlan, asked: RequestFacts): readonly string[] {
  const { timeoutMs, retry, settings } = plan;
  return [
    ...(plan.path === asked.path ? [] : [`path becomes ${plan.path}`]),
    ...(plan.authority === asked.authority ? [] : [`host becomes ${plan.authority}`]),
    ...headersText('request', plan.requestHeaders),
    ...headersText('response', plan.responseHeaders),
    ...(timeoutMs === undefined ? [] : [`timeout ${seconds(timeoutMs)}`]),
    ...(retry === undefined
      ? ['no retries']
      : [
          `${retry.attempts} ${retry.attempts === 1 ? 'retry' : 'retries'} on ${[...retry.on, ...retry.statuses].join(', ')}${retry.perTryTimeoutMs === undefined ? '' : `, ${seconds(retry.perTryTimeoutMs)} each`}`,
        ]),
    ...settingsText(settings),
  ];
}

/** `ns/name` of the DestinationRule; the name on the wire ends with the service. */
const ruleOf = ({ name }: DestinationPolicy): string => name.split('/').slice(0, 2).join('/');

export function appliedObjects(
  model: MeshModel,
  config: WaypointConfig,
  attached: AttachedToTarget,
  services: readonly string[],
  request: RequestFacts | undefined,
  port: number,
): readonly AppliedObject[] {
  const one = (kind: string, name: string, does: readonly string[]): AppliedObject => {
    const slash = name.indexOf('/');
    return { kind, name, does, place: model.place(kind, name.slice(0, slash), name.slice(slash + 1)) };
  };
  const rules = new Map<string, DestinationPolicy>();
  for (const service of services)
    for (const policy of config.destinationPolicies(service)) rules.set(policy.name, policy);
  return [
    ...attached.trafficPolicies.map((policy) =>
      one('TrafficPolicy', policy.name, limitsOf(policy, request, port)),
    ),
    ...attached.extensions.map((each) => one('Extension', each.name, [extensionText(each)])),
    ...[...rules.values()].map((policy) =>
      one('DestinationRule', ruleOf(policy), [
        `for ${policy.service}`,
        ...settingsText(policy.settings),
        ...(policy.subsets.length === 0
          ? []
          : [`subsets ${policy.subsets.map(({ name }) => name).join(', ')}`]),
      ]),
    ),
    ...attached.telemetry.map((each) => one('Telemetry', each.name, telemetryText(each))),
  ];
}
