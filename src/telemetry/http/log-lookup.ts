// Headers by the names that log formats use, pseudo headers and what the engine knows better included.
import type { AnyRecord, HttpExchangeRecord } from './exchange-record.ts';

export type TextLookup = (record: AnyRecord) => string | undefined;

type HttpLookup = (record: HttpExchangeRecord) => string | undefined;

const own: Readonly<Record<string, HttpLookup>> = {
  ':method': ({ method }) => (method === '' ? undefined : method),
  ':path': ({ path }) => (path === '' ? undefined : path),
  ':authority': ({ authority }) => (authority === '' ? undefined : authority),
  host: ({ authority }) => (authority === '' ? undefined : authority),
  ':scheme': ({ scheme }) => scheme,
  'x-envoy-original-path': ({ originalPath }) => originalPath,
  'x-request-id': ({ requestId, requestHeaders }) => requestId ?? requestHeaders?.get('x-request-id'),
};

const withHttp =
  (get: HttpLookup): TextLookup =>
  (record) =>
    record.kind === 'http' ? get(record) : undefined;

export function requestHeader(name: string): TextLookup {
  const key = name.toLowerCase();
  const known = Object.hasOwn(own, key) ? own[key] : undefined;
  return withHttp(known ?? (({ requestHeaders }) => requestHeaders?.get(key)));
}

export function responseHeader(name: string): TextLookup {
  const key = name.toLowerCase();
  if (key === ':status') return withHttp(({ responseCode }) => String(responseCode));
  if (key === 'x-envoy-upstream-service-time')
    return withHttp(({ upstreamServiceMs, responseHeaders }) =>
      upstreamServiceMs === undefined ? responseHeaders?.get(key) : String(Math.floor(upstreamServiceMs)),
    );
  return withHttp(({ responseHeaders }) => responseHeaders?.get(key));
}

export function trailer(name: string): TextLookup {
  const key = name.toLowerCase();
  return withHttp(({ trailers }) => trailers?.get(key));
}

const named = /^[!#$%&'*+\-.^_`|~0-9a-z:]+$/i;

/** `NAME`, or `NAME?OTHER`: the other one if the first is not there. */
export function eitherHeader(
  args: string | undefined,
  look: (name: string) => TextLookup,
): TextLookup | { readonly problem: string } {
  const [first = '', second, more] = (args ?? '').split('?');
  if (!named.test(first) || (second !== undefined && !named.test(second)) || more !== undefined)
    return { problem: 'needs the name of a header, or two with "?" between' };
  const main = look(first);
  if (second === undefined) return main;
  const other = look(second);
  return (record) => main(record) ?? other(record);
}
