// The compiled matches of one route: made once per route object, whatever tables they stand in.
import type { HttpMatch, HttpRoute, HttpRule, RouteOrder } from '#/model/index.ts';
import { compileMatch, type MatchTest, type PathKey } from './http-match.ts';
import type { MatchInput } from './match-input.ts';
import { compileRule, type CompiledRule } from './compiled-rule.ts';

/** One match of one rule of one route; what a look-up finds. */
export interface RouteEntry {
  readonly route: HttpRoute;
  readonly rule: HttpRule;
  /** Absent: a rule without matches. */
  readonly match?: HttpMatch;
  readonly compiled: CompiledRule;
  readonly path: PathKey;
  readonly tests: readonly MatchTest[];
  /** A header (not a part of the request that is named like one) that must have exactly this value. */
  readonly headerKey?: { readonly name: string; readonly value: string };
  readonly ruleIndex: number;
  readonly matchIndex: number;
  /** 3 exact, 2 a prefix, 1 a regular expression and the like, 0 every path. */
  readonly pathRank: number;
  readonly pathLength: number;
  readonly methods: number;
  readonly headers: number;
  readonly parameters: number;
}

/** Negative: the first comes first. */
export type EntryOrder = (a: RouteEntry, b: RouteEntry) => number;

export interface CompiledRoute {
  readonly route: HttpRoute;
  readonly entries: readonly RouteEntry[];
  /** Matches and rewrites that cannot be compiled. A match with a bad pattern never holds. */
  readonly problems: readonly string[];
}

const pathRanks = { exact: 3, elements: 2, prefix: 2, other: 1, every: 0 } as const;

function pathLength(path: PathKey): number {
  if (path.kind === 'every') return 0;
  return path.kind === 'other' ? path.length : path.value.length;
}

function exactHeader(match: HttpMatch | undefined): RouteEntry['headerKey'] {
  for (const { name, match: wanted } of match?.headers ?? []) {
    const lower = name.toLowerCase();
    if (wanted.kind === 'exact' && !lower.startsWith(':') && lower !== 'host')
      return { name: lower, value: wanted.value };
  }
  return undefined;
}

const grpcOnly: MatchTest = ({ request }) => request.grpc;

export function compileRoute(route: HttpRoute): CompiledRoute {
  const entries: RouteEntry[] = [];
  const problems: string[] = [];
  route.rules.forEach((rule, ruleIndex) => {
    const compiled = compileRule(rule, problems);
    const matches: readonly (HttpMatch | undefined)[] =
      rule.matches.length === 0 ? [undefined] : rule.matches;
    matches.forEach((match, matchIndex) => {
      const { path, tests } = made(compileMatch(match ?? {}), problems, ruleIndex);
      const headerKey = exactHeader(match);
      entries.push({
        route,
        rule,
        ...(match && { match }),
        compiled,
        path,
        tests: route.protocol === 'grpc' ? [grpcOnly, ...tests] : tests,
        ruleIndex,
        matchIndex,
        ...(headerKey && { headerKey }),
        pathRank: pathRanks[path.kind],
        pathLength: pathLength(path),
        methods: match?.method === undefined ? 0 : 1,
        headers: match?.headers?.length ?? 0,
        parameters: match?.query?.length ?? 0,
      });
    });
  });
  return { route, entries, problems };
}

// A match that cannot be compiled stays in its place and never holds, so that the others keep their order.
function made(
  compiled: ReturnType<typeof compileMatch>,
  problems: string[],
  ruleIndex: number,
): { readonly path: PathKey; readonly tests: readonly MatchTest[] } {
  if (typeof compiled !== 'string') return compiled;
  problems.push(`rule ${ruleIndex}: ${compiled}`);
  return { path: { kind: 'every' }, tests: [() => false] };
}

export function entryMatches(entry: RouteEntry, input: MatchInput): boolean {
  const { tests } = entry;
  for (let i = 0; i < tests.length; i++) if (!(tests[i] as MatchTest)(input)) return false;
  return true;
}

/** Negative: the first comes first. The older, then by `namespace/name`. */
export function compareRoutes(a: RouteOrder, b: RouteOrder): number {
  if (a.createdAt !== b.createdAt) return a.createdAt - b.createdAt;
  const first = `${a.namespace}/${a.name}`;
  const second = `${b.namespace}/${b.name}`;
  return first === second ? 0 : first < second ? -1 : 1;
}

/** VirtualServices: the order of the list; several of one host one after the other, the oldest first. */
export function compareListed(a: RouteEntry, b: RouteEntry): number {
  if (a.route === b.route) return a.ruleIndex - b.ruleIndex || a.matchIndex - b.matchIndex;
  return (
    compareRoutes(a.route.order, b.route.order) ||
    (a.route.name < b.route.name ? -1 : 1) ||
    a.ruleIndex - b.ruleIndex
  );
}

/**
 * Gateway API's precedence of matches over all routes of a parent. A GRPCRoute's service and method are a path, and
 * then follow the same order. Where the specification leaves regular expressions open: after prefixes, as upstream,
 * but before those that let every path pass, since upstream's order makes the expression dead there.
 */
export function compareSpecific(a: RouteEntry, b: RouteEntry): number {
  return (
    b.pathRank - a.pathRank ||
    b.pathLength - a.pathLength ||
    b.methods - a.methods ||
    b.headers - a.headers ||
    b.parameters - a.parameters ||
    compareListed(a, b)
  );
}
