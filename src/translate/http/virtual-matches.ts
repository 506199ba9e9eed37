// Matches of a VirtualService's rules.
import type { HttpMatch, NamedMatch } from '#/model/index.ts';
import { list, record, text, texts, type Json } from '../read.ts';
import { namespaceOf } from './bindings.ts';
import { port, stringMatch, type Notes } from './values.ts';

export interface MatchContext {
  readonly notes: Notes;
  /** The waypoints that get the rule. */
  readonly gateways: readonly string[];
}

function named(value: unknown, field: string, notes: Notes, lower: boolean): readonly NamedMatch[] {
  const found: NamedMatch[] = [];
  for (const [key, item] of Object.entries(record(value))) {
    const match = stringMatch(item, `${field}.${key}`, notes);
    if (match !== undefined) found.push({ name: lower ? key.toLowerCase() : key, match });
  }
  return found;
}

/** Why the match is never true at a waypoint; undefined if it may be. */
export function neverTrue(match: Json, gateways: readonly string[]): string | undefined {
  if (Object.keys(record(match['sourceLabels'])).length > 0)
    return 'matches with sourceLabels are left out: a waypoint does not know labels of clients';
  const names = texts(match['gateways']);
  if (names.length > 0 && !names.includes('mesh')) return 'not for the mesh';
  const source = text(match['sourceNamespace']);
  // As upstream has it: compared with the waypoint's own namespace, not the client's.
  if (source !== '' && !gateways.every((gateway) => namespaceOf(gateway) === source))
    return `sourceNamespace is the waypoint's at a waypoint, which is not "${source}"`;
  return undefined;
}

function httpMatch(match: Json, field: string, notes: Notes): HttpMatch | undefined {
  const before = notes.problems.length;
  const one = (name: string) =>
    match[name] === undefined || match[name] === null
      ? undefined
      : stringMatch(match[name], `${field}.${name}`, notes);
  const path = one('uri');
  const scheme = one('scheme');
  const method = one('method');
  const authority = one('authority');
  const headers = named(match['headers'], `${field}.headers`, notes, true);
  const without = named(match['withoutHeaders'], `${field}.withoutHeaders`, notes, true);
  const query = named(match['queryParams'], `${field}.queryParams`, notes, false);
  const at = port(match['port']);
  if (notes.problems.length > before) return undefined;
  return {
    ...(path === undefined || (path.kind === 'prefix' && path.value === '/') ? {} : { path }),
    ...(scheme === undefined ? {} : { scheme }),
    ...(method === undefined ? {} : { method }),
    ...(authority === undefined ? {} : { authority }),
    ...(headers.length === 0 ? {} : { headers }),
    ...(without.length === 0 ? {} : { withoutHeaders: without }),
    ...(query.length === 0 ? {} : { query }),
    ...(match['ignoreUriCase'] === true ? { ignorePathCase: true } : {}),
    ...(at === undefined ? {} : { port: at }),
  };
}

/** Undefined: the rule had matches, and none of them can be true here. */
export function virtualMatches(
  value: unknown,
  field: string,
  { notes, gateways }: MatchContext,
): readonly HttpMatch[] | undefined {
  const all = list(value);
  const good: HttpMatch[] = [];
  all.forEach((item, i) => {
    const match = record(item);
    const never = neverTrue(match, gateways);
    if (never !== undefined) {
      if (never !== 'not for the mesh') notes.add(`${field}[${i}]`, never);
      return;
    }
    const read = httpMatch(match, `${field}[${i}]`, notes);
    if (read !== undefined) good.push(read);
  });
  return good.length === 0 && all.length > 0 ? undefined : good;
}
