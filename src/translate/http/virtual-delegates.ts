// Delegates: a rule of one VirtualService that hands over to the rules of another, which has no hosts of its own.
import type { Lookup } from '../lookup.ts';
import { list, record, text, type Json } from '../read.ts';
import type { VirtualServiceFacts } from './spec-facts.ts';
import type { Notes } from './values.ts';

/** A rule as it stands, and the namespace that its short host names are of. */
export interface PlacedRule {
  readonly rule: Json;
  readonly field: string;
  readonly namespace: string;
}

const textOf = (match: unknown): readonly [string, string] => {
  const [kind = '', value] = Object.entries(record(match))[0] ?? [];
  return [kind, text(value)];
};

/** The delegate's condition must be narrower than the root's. */
function narrower(root: unknown, leaf: unknown): boolean {
  const [rootKind, rootValue] = textOf(root);
  const [leafKind, leafValue] = textOf(leaf);
  if (rootKind === leafKind && rootValue === leafValue) return true;
  return rootKind === 'prefix' && leafKind !== 'regex' && leafValue.startsWith(rootValue);
}

/** Both hold; undefined if they contradict each other. */
function both(root: Json, leaf: Json): Json | undefined {
  const merged: Record<string, unknown> = { ...root, ...leaf };
  for (const field of ['uri', 'scheme', 'method', 'authority'])
    if (root[field] !== undefined && leaf[field] !== undefined && !narrower(root[field], leaf[field]))
      return undefined;
  for (const field of ['headers', 'withoutHeaders', 'queryParams']) {
    const above = record(root[field]);
    const below = record(leaf[field]);
    for (const key in below)
      if (above[key] !== undefined && !narrower(above[key], below[key])) return undefined;
    if (root[field] !== undefined || leaf[field] !== undefined) merged[field] = { ...above, ...below };
  }
  if (root['port'] !== undefined && leaf['port'] !== undefined && root['port'] !== leaf['port'])
    return undefined;
  return merged;
}

const inherited = [
  'rewrite',
  'timeout',
  'retries',
  'fault',
  'mirror',
  'mirrors',
  'mirrorPercentage',
  'corsPolicy',
  'headers',
] as const;

function merge(root: Json, leaf: Json): Json | undefined {
  const above = list(root['match']).map(record);
  const below = list(leaf['match']).map(record);
  let match: readonly Json[];
  if (above.length === 0) match = below;
  else if (below.length === 0) match = above;
  else {
    match = above.flatMap((one) =>
      below.map((other) => both(one, other)).filter((pair) => pair !== undefined),
    );
    if (match.length === 0) return undefined;
  }
  const out: Record<string, unknown> = { ...leaf, match };
  for (const field of inherited) if (out[field] === undefined) out[field] = root[field];
  return out;
}

/** The http rules with those of delegates in place. A delegate of a delegate is not followed, as upstream. */
export function placedRules(
  service: VirtualServiceFacts,
  lookup: Lookup,
  notes: Notes,
): readonly PlacedRule[] {
  return list(service.spec['http']).flatMap((item, i): readonly PlacedRule[] => {
    const rule = record(item);
    const field = `spec.http[${i}]`;
    if (rule['delegate'] === undefined) return [{ rule, field, namespace: service.namespace }];
    const ref = record(rule['delegate']);
    const namespace = text(ref['namespace']) || service.namespace;
    const delegate = lookup.virtualService(namespace, text(ref['name']));
    const refuse = (reason: string): readonly PlacedRule[] => {
      notes.add(`${field}.delegate`, `${reason}; requests that match get 500`);
      const { delegate: _, ...rest } = rule;
      return [{ rule: { ...rest, route: [] }, field, namespace }];
    };
    if (delegate === undefined)
      return refuse(`VirtualService ${namespace}/${text(ref['name'])} was not found`);
    if (delegate.hosts.length > 0)
      return refuse(`VirtualService ${namespace}/${delegate.name} has hosts of its own`);
    return list(delegate.spec['http'])
      .map(record)
      .filter((leaf) => leaf['delegate'] === undefined)
      .map((leaf) => merge(rule, leaf))
      .filter((merged) => merged !== undefined)
      .map((merged) => ({ rule: merged, field: `${field}.delegate`, namespace }));
  });
}
