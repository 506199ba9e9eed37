// Rules that no request comes to, because those before them take everything that they would take.
import type { HttpMatch, HttpRoute, PathPrefix, TextMatch } from '#/model/index.ts';
import type { Analyzer } from '../finding.ts';
import { needsOf, routeObject, rulePlace, writtenRule } from '../request-routes.ts';

/** More alternatives than these are not compared with each other. */
const maxMatches = 200;

const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

/** What the path must begin with to match, and whether it is all of it. */
function pathCovers(wide: TextMatch | PathPrefix, narrow: TextMatch | PathPrefix | undefined): boolean {
  if (narrow === undefined) return wide.kind === 'prefix' && wide.value === '/';
  if (same(wide, narrow)) return true;
  if (!('value' in wide) || !('value' in narrow)) return false;
  const plain = narrow.kind === 'exact' || narrow.kind === 'prefix' || narrow.kind === 'elements';
  if (wide.kind === 'prefix') return (plain && narrow.value.startsWith(wide.value)) || wide.value === '/';
  if (wide.kind !== 'elements' || (narrow.kind !== 'exact' && narrow.kind !== 'elements')) return false;
  const base = wide.value.replace(/\/$/, '');
  return narrow.value === base || narrow.value.startsWith(`${base}/`);
}

const everyOf = (wide: readonly unknown[] = [], narrow: readonly unknown[] = []): boolean =>
  wide.every((one) => narrow.some((other) => same(one, other)));

/** Every request that matches `narrow` matches `wide`. May say no where it is so; never yes where it is not. */
export function covers(wide: HttpMatch, narrow: HttpMatch): boolean {
  const { path, ignorePathCase, method, scheme, authority, port, headers, withoutHeaders, query } = wide;
  if (
    ignorePathCase !== narrow.ignorePathCase &&
    path !== undefined &&
    !same(path, { kind: 'prefix', value: '/' })
  )
    return false;
  return (
    (path === undefined || pathCovers(path, narrow.path)) &&
    (method === undefined || same(method, narrow.method)) &&
    (scheme === undefined || same(scheme, narrow.scheme)) &&
    (authority === undefined || same(authority, narrow.authority)) &&
    (port === undefined || port === narrow.port) &&
    everyOf(headers, narrow.headers) &&
    everyOf(withoutHeaders, narrow.withoutHeaders) &&
    everyOf(query, narrow.query)
  );
}

const alternatives = ({ matches }: HttpRoute['rules'][number]): readonly HttpMatch[] =>
  matches.length === 0 ? [{}] : matches;

/** By the position of the rule, the first one before it that takes all of it (or the last of several that do). */
function unreachable(route: HttpRoute): readonly (readonly [rule: number, by: number])[] {
  const found: (readonly [number, number])[] = [];
  const before: { readonly match: HttpMatch; readonly rule: number }[] = [];
  const listed = route.precedence === 'listed';
  route.rules.forEach((rule, i) => {
    const own = alternatives(rule);
    // Of the Gateway API the more specific match wins wherever it stands: only what is the same is never reached.
    const takers = own.map((match) =>
      before.find((earlier) => (listed ? covers(earlier.match, match) : same(earlier.match, match))),
    );
    if (takers.every((taker) => taker !== undefined))
      found.push([i, Math.max(...takers.map((taker) => taker?.rule ?? 0))]);
    for (const match of own) if (before.length < maxMatches) before.push({ match, rule: i });
  });
  return found;
}

export const ruleOrder: Analyzer = (model, report) => {
  for (const { resource } of model.waypointRecords.values()) {
    if (resource.kind !== 'http-route') continue;
    const { kind, namespace, name } = routeObject(resource.name);
    const document = model.document(kind, namespace, name);
    if (document === undefined) continue;
    for (const [rule, by] of unreachable(resource)) {
      const taker = resource.rules[by];
      const needs = taker === undefined ? [] : needsOf(taker);
      const number = (index: number): number => (writtenRule(model, resource, index) ?? index) + 1;
      report(
        'AUR0906',
        document,
        rulePlace(model, resource, rule)?.field ?? 'spec',
        `rule ${number(rule)} is never reached: rule ${number(by)} takes ${needs.length === 0 ? 'every request' : needs.join('; or ')}`,
      );
    }
  }
};
