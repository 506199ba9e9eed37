// What a VirtualService's http rule does with a request.
import type { Cors, DirectResponse, Fault, Mirror, Redirect, Retry, Rewrite } from '#/model/index.ts';
import { grpcStatusNumber } from './grpc-status.ts';
import { integer, list, optionalText, record, text, texts, type Json } from '../read.ts';
import { duration, isPattern, percentage, port, stringMatch, type Notes } from './values.ts';
import type { Resolved } from './route-backends.ts';

const redirects = [301, 302, 303, 307, 308] as const;

export function virtualRedirect(value: unknown, field: string, notes: Notes): Redirect | undefined {
  const redirect = record(value);
  const status = redirects.find((code) => code === (redirect['redirectCode'] ?? 301));
  if (status === undefined) return notes.add(`${field}.redirectCode`, 'is not 301, 302, 303, 307 or 308');
  const uri = text(redirect['uri']);
  const prefix = text(redirect['prefixRewrite']);
  const authority = text(redirect['authority']);
  const scheme = text(redirect['scheme']);
  // A port within the authority is Istio's older way to say one.
  const colon = authority.lastIndexOf(':');
  const inside = colon > 0 ? port(Number(authority.slice(colon + 1))) : undefined;
  const to = port(redirect['port']) ?? inside;
  return {
    status,
    ...(scheme === '' ? {} : { scheme: scheme.toLowerCase() }),
    ...(authority === '' ? {} : { hostname: inside === undefined ? authority : authority.slice(0, colon) }),
    ...(to === undefined ? {} : { port: to }),
    ...(uri !== ''
      ? { path: { kind: 'full', value: uri } }
      : prefix === ''
        ? {}
        : { path: { kind: 'prefix', value: prefix } }),
  };
}

export function virtualResponse(value: unknown, field: string, notes: Notes): DirectResponse | undefined {
  const response = record(value);
  const status = integer(response['status']);
  if (status < 200 || status > 599) return notes.add(`${field}.status`, 'is not a status from 200 to 599');
  const body = record(response['body']);
  const bytes = text(body['bytes']);
  const given =
    optionalText(body['string']) ?? (bytes === '' ? undefined : Buffer.from(bytes, 'base64').toString());
  return { status, ...(given === undefined ? {} : { body: given }) };
}

export function virtualRewrite(value: unknown, field: string, notes: Notes): Rewrite | undefined {
  if (value === undefined || value === null) return undefined;
  const rewrite = record(value);
  const uri = text(rewrite['uri']);
  const authority = text(rewrite['authority']);
  const regex = rewrite['uriRegexRewrite'] === undefined ? undefined : record(rewrite['uriRegexRewrite']);
  const pattern = text(regex?.['match']);
  if (regex !== undefined && !isPattern(pattern))
    return notes.add(`${field}.uriRegexRewrite.match`, 'is not a regular expression (RE2 syntax)');
  return {
    ...(authority === '' ? {} : { authority }),
    ...(regex !== undefined
      ? { path: { kind: 'regex', pattern, substitution: text(regex['rewrite']) } }
      : uri === ''
        ? {}
        : { path: { kind: 'prefix', value: uri } }),
  };
}

/** `retryOn` mixes conditions and statuses. */
export function virtualRetry(value: unknown, field: string, notes: Notes): Retry | undefined {
  if (value === undefined || value === null) return undefined;
  const retries = record(value);
  const words = (optionalText(retries['retryOn']) ?? '').split(',').map((word) => word.trim());
  const on = words.filter(
    (word) => word !== '' && !/^[0-9]{3}$/.test(word) && word !== 'retriable-status-codes',
  );
  const statuses = words.filter((word) => /^[1-5][0-9]{2}$/.test(word)).map(Number);
  const perTry = duration(retries['perTryTimeout'], `${field}.perTryTimeout`, notes);
  const backoff = duration(retries['backoff'], `${field}.backoff`, notes);
  const none = words.every((word) => word === '');
  return {
    attempts: integer(retries['attempts']),
    on: none ? ['connect-failure', 'refused-stream', 'unavailable', 'cancelled'] : on,
    statuses,
    avoidPrevious: retries['retryIgnorePreviousHosts'] !== false,
    ...(perTry === undefined || perTry === 0 ? {} : { perTryTimeoutMs: perTry }),
    ...(backoff === undefined ? {} : { backoffMs: backoff }),
  };
}

export function virtualFault(value: unknown, field: string, notes: Notes): Fault | undefined {
  if (value === undefined || value === null) return undefined;
  const fault = record(value);
  const out: { delay?: Fault['delay']; abort?: Fault['abort'] } = {};
  const share = (part: Json, at: string): number =>
    typeof part['percent'] === 'number' && part['percentage'] === undefined
      ? Math.min(100, Math.max(0, part['percent'])) / 100
      : percentage(part['percentage'], 0, `${at}.percentage`, notes);
  if (fault['delay'] !== undefined) {
    const delay = record(fault['delay']);
    const ms = duration(delay['fixedDelay'], `${field}.delay.fixedDelay`, notes);
    const fraction = share(delay, `${field}.delay`);
    if (ms !== undefined && fraction > 0) out.delay = { fraction, ms };
  }
  if (fault['abort'] !== undefined) {
    const abort = record(fault['abort']);
    const fraction = share(abort, `${field}.abort`);
    const httpStatus = integer(abort['httpStatus']);
    const grpcText = optionalText(abort['grpcStatus']);
    const grpcStatus = grpcText === undefined ? undefined : grpcStatusNumber(grpcText);
    if (grpcText !== undefined && grpcStatus === undefined)
      notes.add(`${field}.abort.grpcStatus`, 'is not a status of gRPC');
    else if (grpcStatus === undefined && (httpStatus < 200 || httpStatus > 599))
      notes.add(`${field}.abort.httpStatus`, 'is not a status from 200 to 599');
    else if (fraction > 0)
      out.abort = grpcStatus === undefined ? { fraction, httpStatus } : { fraction, grpcStatus };
  }
  return out.delay === undefined && out.abort === undefined ? undefined : (out as Fault);
}

export function virtualMirrors(
  rule: Json,
  field: string,
  resolve: (destination: unknown) => Resolved,
  notes: Notes,
): readonly Mirror[] {
  const wanted: [unknown, unknown, string][] = list(rule['mirrors']).map((item, i) => [
    record(item)['destination'],
    record(item)['percentage'],
    `${field}.mirrors[${i}]`,
  ]);
  if (wanted.length === 0 && rule['mirror'] !== undefined && rule['mirror'] !== null)
    wanted.push([rule['mirror'], rule['mirrorPercentage'], `${field}.mirror`]);
  const mirrors: Mirror[] = [];
  for (const [destination, share, at] of wanted) {
    const target = resolve(destination);
    const fraction = percentage(share, 1, at, notes);
    if (target.destination === undefined) notes.add(at, target.broken);
    else if (fraction > 0) mirrors.push({ destination: target.destination, fraction });
  }
  return mirrors;
}

export function virtualCors(value: unknown, field: string, notes: Notes): Cors | undefined {
  if (value === undefined || value === null) return undefined;
  const cors = record(value);
  const origins = list(cors['allowOrigins']).map((item, i) =>
    stringMatch(item, `${field}.allowOrigins[${i}]`, notes),
  );
  const older = texts(cors['allowOrigin']).map((origin) =>
    origin === '*' ? ({ kind: 'presence' } as const) : ({ kind: 'exact', value: origin } as const),
  );
  const maxAge = duration(cors['maxAge'], `${field}.maxAge`, notes);
  return {
    origins: [...origins.filter((origin) => origin !== undefined), ...older],
    methods: texts(cors['allowMethods']),
    headers: texts(cors['allowHeaders']),
    expose: texts(cors['exposeHeaders']),
    ...(maxAge === undefined ? {} : { maxAgeSeconds: maxAge / 1000 }),
    ...(cors['allowCredentials'] === true ? { credentials: true } : {}),
    ...(cors['unmatchedPreflights'] === 'IGNORE' ? { forwardUnmatched: false } : {}),
  };
}
