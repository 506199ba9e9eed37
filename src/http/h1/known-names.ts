// Names of headers that come often, so that reading one makes no new text: it is found by a hash over its bytes.
import { lowerTokenByte } from '../header-rules.ts';

/** What the codec itself does with a field. */
export const role = {
  ordinary: 0,
  host: 1,
  contentLength: 2,
  transferEncoding: 3,
  connection: 4,
  upgrade: 5,
  expect: 6,
  te: 7,
  /** Read by nobody, and not passed on. */
  dropped: 8,
} as const;
export type Role = (typeof role)[keyof typeof role];

export interface KnownName {
  readonly name: string;
  readonly role: Role;
}

const special: readonly KnownName[] = [
  { name: 'host', role: role.host },
  { name: 'content-length', role: role.contentLength },
  { name: 'transfer-encoding', role: role.transferEncoding },
  { name: 'connection', role: role.connection },
  { name: 'upgrade', role: role.upgrade },
  { name: 'expect', role: role.expect },
  { name: 'te', role: role.te },
  { name: 'keep-alive', role: role.dropped },
  { name: 'proxy-connection', role: role.dropped },
  { name: 'trailer', role: role.dropped },
  { name: 'http2-settings', role: role.dropped },
];

const ordinary =
  `accept accept-charset accept-encoding accept-language accept-ranges access-control-allow-credentials
  access-control-allow-headers access-control-allow-methods access-control-allow-origin
  access-control-expose-headers access-control-max-age access-control-request-headers
  access-control-request-method age allow alt-svc authorization b3 baggage cache-control content-disposition
  content-encoding content-language content-location content-range content-security-policy content-type cookie date
  dnt etag expires forwarded from grpc-encoding grpc-message grpc-status grpc-timeout if-match if-modified-since
  if-none-match if-range if-unmodified-since last-modified link location max-forwards origin permissions-policy
  pragma priority proxy-authenticate proxy-authorization range referer referrer-policy retry-after sec-ch-ua
  sec-fetch-dest sec-fetch-mode sec-fetch-site sec-fetch-user sec-websocket-accept sec-websocket-extensions
  sec-websocket-key sec-websocket-protocol sec-websocket-version server server-timing set-cookie
  strict-transport-security traceparent tracestate upgrade-insecure-requests user-agent vary via www-authenticate
  x-b3-parentspanid x-b3-sampled x-b3-spanid x-b3-traceid x-content-type-options x-envoy-attempt-count
  x-envoy-decorator-operation x-envoy-expected-rq-timeout-ms x-envoy-external-address x-envoy-internal
  x-envoy-peer-metadata x-envoy-peer-metadata-id x-envoy-upstream-service-time x-forwarded-client-cert
  x-forwarded-for x-forwarded-host x-forwarded-port x-forwarded-proto x-frame-options x-powered-by x-real-ip
  x-request-id x-requested-with x-xss-protection`
    .split(/\s+/)
    .map((name): KnownName => ({ name, role: role.ordinary }));

const slots = 2048;
const byHash: (KnownName | undefined)[] = Array.from({ length: slots });
const byName = new Map<string, KnownName>();

/** One step of the hash over the lower-case bytes of a name; begin with 0. */
export const hashStep = (hash: number, lower: number): number => (Math.imul(hash, 33) ^ lower) | 0;

for (const known of [...special, ...ordinary]) {
  let hash = 0;
  for (const char of known.name) hash = hashStep(hash, char.charCodeAt(0));
  byHash[hash & (slots - 1)] ??= known;
  byName.set(known.name, known);
}

/** The name that stands in `bytes` from `from` to `to`, in whatever case, with this hash. */
export function knownName(bytes: Uint8Array, from: number, to: number, hash: number): KnownName | undefined {
  const known = byHash[hash & (slots - 1)];
  if (known === undefined || known.name.length !== to - from) return undefined;
  const { name } = known;
  for (let i = 0; i < name.length; i++)
    if (name.charCodeAt(i) !== lowerTokenByte[bytes[from + i] as number]) return undefined;
  return known;
}

/** The same by text, for names that share a place in the table. */
export const knownByText = (name: string): KnownName | undefined => byName.get(name);
