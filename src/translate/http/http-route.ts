// HTTPRoute and GRPCRoute → http-route.
import type { HttpRule, Retry, WeightedDestination } from '#/model/index.ts';
import type { Lookup } from '../lookup.ts';
import { integer, list, optionalText, record, texts, type Json } from '../read.ts';
import { describeProblems, emptyTranslation, type Problem, type Translation } from '../translation.ts';
import { resolveBackend, type Resolved } from './route-backends.ts';
import { readFilters, type FilterContext } from './route-filters.ts';
import { grpcMatches, httpMatches } from './route-matches.ts';
import {
  parentStatuses,
  refusals,
  resolveParents,
  type RulesVerdict,
  type Verdict,
} from './route-parents.ts';
import { duration, Notes } from './values.ts';
import type { RouteFacts } from './spec-facts.ts';
import { recordFor } from './waypoint-record.ts';

/**
 * Besides the statuses that a route names itself. With `retry` the Gateway API repeats after every error of a connection,
 * a cut one and the end of `timeouts.backendRequest` included, which is `reset`; Istio leaves those two out.
 */
const retryOn = ['connect-failure', 'refused-stream', 'reset', 'unavailable', 'cancelled'] as const;

type Unresolved = Extract<Resolved, { readonly broken: string }>;

/** What the reading of a route's rules leaves behind. */
export class RulesReport {
  readonly problems: Problem[] = [];
  readonly unresolved: Unresolved[] = [];
  /** What does not work, though nothing is wrong with its form. */
  readonly remarks: Problem[] = [];
  badRules = 0;
  rules = 0;

  readonly missing = (broken: Unresolved, field: string): void => {
    this.unresolved.push(broken);
    this.remarks.push({ field, reason: `${broken.broken}: its share of requests gets 500` });
  };

  get verdict(): RulesVerdict {
    const [first] = this.unresolved;
    const resolved: Verdict | undefined =
      first === undefined
        ? undefined
        : {
            ok: false,
            reason: first.reason,
            message: [...new Set(this.unresolved.map(({ broken }) => broken))].slice(0, 10).join('; '),
          };
    if (this.badRules === 0) return { accepted: undefined, resolved, partial: undefined };
    const message = describeProblems(this.problems);
    if (this.badRules === this.rules)
      return { accepted: { ok: false, reason: 'UnsupportedValue', message }, resolved, partial: undefined };
    return {
      accepted: undefined,
      resolved,
      partial: `Dropped Rule: requests that match get 500: ${message}`,
    };
  }
}

export function readWeighted(
  value: unknown,
  field: string,
  context: Omit<FilterContext, 'notes'>,
  notes: Notes,
): readonly WeightedDestination[] {
  return list(value).map((item, i): WeightedDestination => {
    const ref = record(item);
    const weight = ref['weight'] === undefined ? 1 : integer(ref['weight']);
    const target = resolveBackend(ref, context.namespace, context.lookup);
    if (target.destination === undefined) {
      context.unresolved(target, `${field}[${i}]`);
      return { broken: target.broken, weight };
    }
    const filters = readFilters(ref['filters'], `${field}[${i}].filters`, { ...context, notes });
    if (filters.redirect !== undefined || filters.cors !== undefined)
      notes.add(`${field}[${i}].filters`, 'redirects and CORS are not supported for one backend');
    return {
      destination: target.destination,
      weight,
      ...(filters.requestHeaders === undefined ? {} : { requestHeaders: filters.requestHeaders }),
      ...(filters.responseHeaders === undefined ? {} : { responseHeaders: filters.responseHeaders }),
      ...(filters.mirrors === undefined ? {} : { mirrors: filters.mirrors }),
      ...(filters.rewrite === undefined ? {} : { rewrite: filters.rewrite }),
    };
  });
}

/** `request` for the whole request; `backendRequest` for a try, or for the whole where there are no retries. */
function timing(rule: Json, field: string, notes: Notes): Pick<HttpRule, 'timeoutMs' | 'retry'> {
  const timeouts = record(rule['timeouts']);
  const request = duration(timeouts['request'], `${field}.timeouts.request`, notes);
  const backend = duration(timeouts['backendRequest'], `${field}.timeouts.backendRequest`, notes);
  const wanted = rule['retry'] === undefined ? undefined : record(rule['retry']);
  let retry: Retry | undefined;
  if (wanted !== undefined) {
    const backoff = duration(wanted['backoff'], `${field}.retry.backoff`, notes);
    const statuses = list(wanted['codes']).filter((code) => typeof code === 'number');
    retry = {
      attempts: wanted['attempts'] === undefined ? 2 : integer(wanted['attempts']),
      on: retryOn,
      statuses,
      avoidPrevious: true,
      ...(backoff === undefined ? {} : { backoffMs: backoff }),
      ...(backend === undefined || backend === 0 ? {} : { perTryTimeoutMs: backend }),
    };
  }
  const whole = retry === undefined ? [request, backend] : [request];
  const limits = whole.filter((ms) => ms !== undefined && ms > 0) as number[];
  return {
    ...(limits.length === 0 ? {} : { timeoutMs: Math.min(...limits) }),
    ...(retry === undefined ? {} : { retry }),
  };
}

function readRule(
  route: RouteFacts,
  value: unknown,
  field: string,
  lookup: Lookup,
  report: RulesReport,
): HttpRule | undefined {
  const rule = record(value);
  const notes = new Notes();
  const context = {
    namespace: route.namespace,
    lookup,
    unresolved: report.missing,
  };
  const read = route.kind === 'GRPCRoute' ? grpcMatches : httpMatches;
  const matches = read(rule['matches'], `${field}.matches`, notes);
  const filters = readFilters(rule['filters'], `${field}.filters`, { ...context, notes });
  const destinations = readWeighted(rule['backendRefs'], `${field}.backendRefs`, context, notes);
  const times = timing(rule, field, notes);
  const name = optionalText(rule['name']);
  report.rules++;
  report.problems.push(...notes.problems);
  if (notes.problems.length > 0) {
    report.badRules++;
    const [first] = notes.problems as [Problem];
    // Without any match that could be read, the rule would take every request.
    if (matches.length === 0 && list(rule['matches']).length > 0) return undefined;
    return {
      ...(name === undefined ? {} : { name }),
      matches,
      action: { kind: 'forward', destinations: [{ broken: `${first.field}: ${first.reason}`, weight: 1 }] },
    };
  }
  const { redirect, ...others } = filters;
  if (redirect === undefined && destinations.every(({ weight }) => weight === 0))
    report.remarks.push({
      field: `${field}.backendRefs`,
      reason: `${destinations.length === 0 ? 'there are none' : 'all weights are zero'}: requests that match get 500`,
    });
  return {
    ...(name === undefined ? {} : { name }),
    matches,
    action: redirect === undefined ? { kind: 'forward', destinations } : { kind: 'redirect', redirect },
    ...others,
    ...times,
  };
}

export function translateHttpRoute(route: RouteFacts, lookup: Lookup): Translation {
  const resolved = resolveParents(route, lookup);
  // An ingress gateway's, whose controller may know what we do not.
  if (resolved.all.length === 0) return emptyTranslation;
  const report = new RulesReport();
  const rules = list(route.spec['rules'])
    .map((rule, i) => readRule(route, rule, `spec.rules[${i}]`, lookup, report))
    .filter((rule) => rule !== undefined);
  const { verdict } = report;
  const waypoint =
    verdict.accepted?.ok === false
      ? []
      : recordFor(resolved.gateways, () => ({
          kind: 'http-route',
          name: `${route.kind}/${route.namespace}/${route.name}`,
          parents: resolved.parents,
          hostnames: texts(route.spec['hostnames']).map((host) => host.toLowerCase()),
          order: { createdAt: route.created, namespace: route.namespace, name: route.name },
          precedence: 'specificity',
          protocol: route.kind === 'GRPCRoute' ? 'grpc' : 'http',
          rules,
        }));
  return {
    records: [],
    conditions: [],
    problems: [...report.problems, ...report.remarks, ...refusals(resolved)],
    waypoint,
    parents: parentStatuses(route, resolved, verdict),
  };
}

/** TCPRoute and TLSRoute: the backends of the first rule. */
export function translateStreamRoute(route: RouteFacts, lookup: Lookup): Translation {
  const resolved = resolveParents(route, lookup);
  // An ingress gateway's, whose controller may know what we do not.
  if (resolved.all.length === 0) return emptyTranslation;
  const report = new RulesReport();
  const notes = new Notes();
  const rules = list(route.spec['rules']);
  const context = {
    namespace: route.namespace,
    lookup,
    unresolved: report.missing,
  };
  const destinations = readWeighted(
    record(rules[0])['backendRefs'],
    'spec.rules[0].backendRefs',
    context,
    notes,
  );
  if (rules.length > 1)
    notes.add('spec.rules', 'only the first rule is used, as there is nothing to tell them apart by');
  return {
    records: [],
    conditions: [],
    problems: [...notes.problems, ...report.remarks, ...refusals(resolved)],
    waypoint: recordFor(resolved.gateways, () => ({
      kind: 'tcp-route',
      name: `${route.kind}/${route.namespace}/${route.name}`,
      parents: resolved.parents,
      sniHosts:
        route.kind === 'TLSRoute' ? texts(route.spec['hostnames']).map((host) => host.toLowerCase()) : [],
      order: { createdAt: route.created, namespace: route.namespace, name: route.name },
      destinations,
    })),
    parents: parentStatuses(route, resolved, report.verdict),
  };
}
