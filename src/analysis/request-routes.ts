// The routes of a service at its waypoint, each rule with what it needs of a request and what this request lacks.
import type {
  HttpMatch,
  HttpRoute,
  HttpRule,
  NamedMatch,
  PathPrefix,
  RequestFacts,
  TcpRoute,
  TextMatch,
  WeightedDestination,
} from '#/model/index.ts';
import { compileRequestMatcher } from '#/route/index.ts';
import { placeOf, type Place } from './document.ts';
import { items, string } from './fields.ts';
import type { MeshModel } from './mesh-model.ts';

export interface RuleOfRoute {
  /** As in the object, from 0, where that can be told. */
  readonly rule: number;
  readonly name?: string;
  /** Alternatives. Empty: every request. */
  readonly needs: readonly string[];
  readonly does: string;
  readonly matches: boolean;
  /** What the nearest alternative does not find in the request. */
  readonly lacks: readonly string[];
  /** It is the rule that counts. */
  readonly taken: boolean;
  readonly place?: Place;
}

export interface RouteReport {
  /** `HTTPRoute demo/reviews` */
  readonly route: string;
  readonly place?: Place;
  /** Names of servers of a TLSRoute, or of requests of a waypoint's route. */
  readonly hostnames: readonly string[];
  readonly rules: readonly RuleOfRoute[];
}

interface Part {
  readonly text: string;
  readonly match: HttpMatch;
}

function textOf(match: TextMatch | PathPrefix): string {
  switch (match.kind) {
    case 'exact':
      return `= ${match.value}`;
    case 'prefix':
      return `beginning with ${match.value}`;
    case 'elements':
      return `under ${match.value}`;
    case 'suffix':
      return `ending with ${match.value}`;
    case 'regex':
      return `~ ${match.value}`;
    case 'presence':
      return 'present';
  }
}

const named = (what: string, { name, match }: NamedMatch): string => `${what} ${name} ${textOf(match)}`;

/** Each condition by itself. */
function partsOf(match: HttpMatch): readonly Part[] {
  const { path, method, scheme, authority, headers, withoutHeaders, query, ignorePathCase, port } = match;
  return [
    ...(port === undefined ? [] : [{ text: `port ${port}`, match: { port } }]),
    ...(path === undefined
      ? []
      : [
          {
            text: `path ${textOf(path)}${ignorePathCase === true ? ' in any case' : ''}`,
            match: { path, ...(ignorePathCase === undefined ? {} : { ignorePathCase }) },
          },
        ]),
    ...(method === undefined ? [] : [{ text: `method ${textOf(method)}`, match: { method } }]),
    ...(scheme === undefined ? [] : [{ text: `scheme ${textOf(scheme)}`, match: { scheme } }]),
    ...(authority === undefined ? [] : [{ text: `host ${textOf(authority)}`, match: { authority } }]),
    ...(headers ?? []).map((one) => ({ text: named('header', one), match: { headers: [one] } })),
    ...(withoutHeaders ?? []).map((one) => ({
      text: `not ${named('header', one)}`,
      match: { withoutHeaders: [one] },
    })),
    ...(query ?? []).map((one) => ({ text: named('parameter', one), match: { query: [one] } })),
  ];
}

export function needsOf({ matches }: Pick<HttpRule, 'matches'>): readonly string[] {
  const texts = matches.map((match) => partsOf(match).map(({ text }) => text));
  return texts.some((parts) => parts.length === 0) ? [] : texts.map((parts) => parts.join(', '));
}

export function destinationText({ destination, broken }: WeightedDestination): string {
  if (destination === undefined) return `nowhere (${broken ?? 'a broken reference'})`;
  const { service, port, subset } = destination;
  return `${service} port ${port}${subset === undefined ? '' : ` subset ${subset}`}`;
}

const weighted = (destinations: readonly WeightedDestination[]): string =>
  destinations.length === 0
    ? 'has no destination'
    : destinations
        .map((one) => `${destinations.length === 1 ? '' : `${one.weight} `}to ${destinationText(one)}`)
        .join(', ');

export function actionText({ action }: HttpRule): string {
  switch (action.kind) {
    case 'forward':
      return weighted(action.destinations);
    case 'redirect':
      return `redirects with ${action.redirect.status}`;
    case 'respond':
      return `answers ${action.response.status}`;
  }
}

/** The object of a route by its name on the wire: `HTTPRoute/demo/reviews`. */
export function routeObject(name: string): {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
} {
  const [kind = '', namespace = '', own = ''] = name.split('/');
  return { kind, namespace, name: own };
}

export function routeTitle(name: string): string {
  const { kind, namespace, name: own } = routeObject(name);
  return `${kind} ${namespace}/${own}`;
}

const listOf = (kind: string): string => (kind === 'VirtualService' ? 'http' : 'rules');

/** The rule of the object that a rule of the route was made of, if that can be told: some are left out. */
export function writtenRule(model: MeshModel, route: HttpRoute, index: number): number | undefined {
  const { kind, namespace, name } = routeObject(route.name);
  const document = model.document(kind, namespace, name);
  const list = listOf(kind);
  const written = items(document?.object, 'spec', list);
  if (written.length === route.rules.length) return index;
  const problems = model.problems.get(`${kind} ${namespace}/${name}`) ?? [];
  const kept = [...written.keys()].filter(
    (i) => !problems.some(({ field }) => field.startsWith(`spec.${list}[${i}].match`)),
  );
  if (kept.length === route.rules.length) return kept[index];
  const own = route.rules[index]?.name;
  const named = own === undefined ? -1 : written.findIndex((rule) => string(rule, 'name') === own);
  return named < 0 ? undefined : named;
}

export function rulePlace(model: MeshModel, route: HttpRoute, index: number): Place | undefined {
  const { kind, namespace, name } = routeObject(route.name);
  const document = model.document(kind, namespace, name);
  if (document === undefined) return undefined;
  const at = writtenRule(model, route, index);
  return placeOf(document, `spec.${listOf(kind)}${at === undefined ? '' : `[${at}]`}`);
}

function lacksOf(rule: HttpRule, route: HttpRoute, request: RequestFacts, port: number): readonly string[] {
  if (route.protocol === 'grpc' && !request.grpc) return ['gRPC (content-type: application/grpc)'];
  const missing = rule.matches.map((match) =>
    partsOf(match).filter((part) => !compileRequestMatcher(part.match).matches(request, port)),
  );
  const [nearest] = missing.toSorted((a, b) => a.length - b.length);
  return (nearest ?? []).map(({ text }) => text);
}

export function httpRouteReport(
  model: MeshModel,
  route: HttpRoute,
  request: RequestFacts | undefined,
  port: number,
  taken?: HttpRule,
): RouteReport {
  const { kind, namespace, name } = routeObject(route.name);
  return {
    route: routeTitle(route.name),
    place: model.place(kind, namespace, name),
    hostnames: route.hostnames,
    rules: route.rules.map((rule, i): RuleOfRoute => {
      const lacks = request === undefined ? [] : lacksOf(rule, route, request, port);
      const place = rulePlace(model, route, i);
      return {
        rule: writtenRule(model, route, i) ?? i,
        ...(rule.name === undefined ? {} : { name: rule.name }),
        needs: needsOf(rule),
        does: actionText(rule),
        matches: request !== undefined && lacks.length === 0,
        lacks,
        taken: rule === taken,
        ...(place && { place }),
      };
    }),
  };
}

export function tcpRouteReport(model: MeshModel, route: TcpRoute, taken: boolean): RouteReport {
  const { kind, namespace, name } = routeObject(route.name);
  return {
    route: routeTitle(route.name),
    place: model.place(kind, namespace, name),
    hostnames: route.sniHosts,
    rules: [
      {
        rule: 0,
        needs: route.sniHosts.length === 0 ? [] : [`SNI ${route.sniHosts.join(' or ')}`],
        does: weighted(route.destinations),
        matches: taken,
        lacks: [],
        taken,
      },
    ],
  };
}
