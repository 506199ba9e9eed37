// Filters of HTTPRoute and GRPCRoute, of a rule or of one of its backends.
import type { Cors, HeaderChange, Mirror, PathRewrite, Redirect, Rewrite, TextMatch } from '#/model/index.ts';
import type { Lookup } from '../lookup.ts';
import { integer, list, optionalText, record, text, texts, type Json } from '../read.ts';
import { resolveBackend, type Resolved } from './route-backends.ts';
import { headerModifier, port, type Notes } from './values.ts';

export interface Filters {
  requestHeaders?: HeaderChange;
  responseHeaders?: HeaderChange;
  redirect?: Redirect;
  rewrite?: Rewrite;
  mirrors?: Mirror[];
  cors?: Cors;
}

export interface FilterContext {
  readonly namespace: string;
  readonly lookup: Lookup;
  /** What cannot be supported: the rule answers with an error. */
  readonly notes: Notes;
  /** References that do not resolve. */
  readonly unresolved: (broken: Extract<Resolved, { readonly broken: string }>, field: string) => void;
}

function pathModifier(value: unknown, field: string, notes: Notes): PathRewrite | undefined {
  if (value === undefined || value === null) return undefined;
  const path = record(value);
  switch (path['type']) {
    case 'ReplaceFullPath':
      return { kind: 'full', value: text(path['replaceFullPath']) };
    case 'ReplacePrefixMatch':
      return { kind: 'prefix', value: text(path['replacePrefixMatch']) };
    default:
      return notes.add(`${field}.type`, 'is not a path modifier');
  }
}

const redirects = [301, 302, 303, 307, 308] as const;

function redirectOf(value: unknown, field: string, notes: Notes): Redirect | undefined {
  const redirect = record(value);
  const status = redirects.find((code) => code === (redirect['statusCode'] ?? 302));
  if (status === undefined) return notes.add(`${field}.statusCode`, 'is not a redirect');
  const path = pathModifier(redirect['path'], `${field}.path`, notes);
  const scheme = optionalText(redirect['scheme']);
  const hostname = optionalText(redirect['hostname']);
  const to = port(redirect['port']);
  return {
    status,
    ...(scheme === undefined ? {} : { scheme: scheme.toLowerCase() }),
    ...(hostname === undefined ? {} : { hostname }),
    ...(to === undefined ? {} : { port: to }),
    ...(path === undefined ? {} : { path }),
  };
}

function rewriteOf(value: unknown, field: string, notes: Notes): Rewrite {
  const rewrite = record(value);
  const authority = optionalText(rewrite['hostname']);
  const path = pathModifier(rewrite['path'], `${field}.path`, notes);
  return { ...(authority === undefined ? {} : { authority }), ...(path === undefined ? {} : { path }) };
}

function mirrorOf(value: unknown, field: string, context: FilterContext): Mirror | undefined {
  const mirror = record(value);
  const target = resolveBackend(mirror['backendRef'], context.namespace, context.lookup);
  if (target.destination === undefined) {
    context.unresolved(target, `${field}.backendRef`);
    return undefined;
  }
  const { percent } = mirror;
  const fraction = record(mirror['fraction']);
  let share = 1;
  if (typeof percent === 'number') share = percent / 100;
  else if (typeof fraction['numerator'] === 'number')
    share = fraction['numerator'] / (integer(fraction['denominator']) || 100);
  if (share >= 0 && share <= 1) return { destination: target.destination, fraction: share };
  return context.notes.add(field, 'its share is not from 0 to 1');
}

/** `https://*.example.com` as a pattern; others as they are. */
function origin(value: string): TextMatch {
  if (value === '*') return { kind: 'presence' };
  if (!value.includes('*')) return { kind: 'exact', value };
  const escaped = value.replaceAll(/[.+?^${}()|[\]\\]/g, String.raw`\$&`);
  return { kind: 'regex', value: escaped.replaceAll('*', '.*') };
}

function corsOf(value: unknown): Cors {
  const cors = record(value);
  const maxAge = cors['maxAge'];
  return {
    origins: texts(cors['allowOrigins']).map(origin),
    methods: texts(cors['allowMethods']),
    headers: texts(cors['allowHeaders']),
    expose: texts(cors['exposeHeaders']),
    // The default of the Gateway API.
    maxAgeSeconds: typeof maxAge === 'number' ? maxAge : 5,
    ...(cors['allowCredentials'] === true ? { credentials: true } : {}),
  };
}

export function readFilters(value: unknown, field: string, context: FilterContext): Filters {
  const { notes } = context;
  const out: Filters = {};
  list(value).forEach((item, i) => {
    const filter: Json = record(item);
    const at = `${field}[${i}]`;
    switch (filter['type']) {
      case 'RequestHeaderModifier': {
        const change = headerModifier(filter['requestHeaderModifier'], `${at}.requestHeaderModifier`, notes);
        if (change !== undefined) out.requestHeaders = change;
        return;
      }
      case 'ResponseHeaderModifier': {
        const change = headerModifier(
          filter['responseHeaderModifier'],
          `${at}.responseHeaderModifier`,
          notes,
        );
        if (change !== undefined) out.responseHeaders = change;
        return;
      }
      case 'RequestRedirect': {
        const redirect = redirectOf(filter['requestRedirect'], `${at}.requestRedirect`, notes);
        if (redirect !== undefined) out.redirect = redirect;
        return;
      }
      case 'URLRewrite':
        out.rewrite = rewriteOf(filter['urlRewrite'], `${at}.urlRewrite`, notes);
        return;
      case 'RequestMirror': {
        const mirror = mirrorOf(filter['requestMirror'], `${at}.requestMirror`, context);
        if (mirror !== undefined) (out.mirrors ??= []).push(mirror);
        return;
      }
      case 'CORS':
        out.cors = corsOf(filter['cors']);
        return;
      default:
        notes.add(`${at}.type`, `filters of type ${text(filter['type']) || '(none)'} are not supported`);
    }
  });
  return out;
}
