// The attributes of a record as CEL sees them, under the names that Envoy and Istio document. Only what an expression
// names is looked up, so that a filter on the status does not pay for the rest.
import { formatSocketAddress, type SocketAddress } from '#/kit/index.ts';
import { knownIdentity, localityText, type HeaderView, type Workload } from '#/model/index.ts';
import { loadCel } from './cel-library.ts';
import type { AnyRecord, HttpExchangeRecord } from './exchange-record.ts';
import { flagBits } from './response-flags.ts';

/** Undefined: the attribute is absent. `names`: every name that stands in the expression, for maps. */
type Getter = (record: AnyRecord, names: readonly string[]) => unknown;
type Getters = Readonly<Record<string, Getter>>;

const http =
  (get: (record: HttpExchangeRecord, names: readonly string[]) => unknown): Getter =>
  (record, names) =>
    record.kind === 'http' ? get(record, names) : undefined;

const int = (value: number | undefined): bigint | undefined =>
  value === undefined ? undefined : BigInt(Math.trunc(value));

type DurationClass = new (seconds: bigint, nanos: number) => object;
let Duration: DurationClass | undefined;

function duration(ms: number | undefined): object | undefined {
  if (ms === undefined) return undefined;
  // The library does not export the class of its durations.
  Duration ??= (loadCel().evaluate('duration("0s")') as object).constructor as DurationClass;
  const seconds = Math.floor(ms / 1000);
  return new Duration(BigInt(seconds), Math.floor((ms - seconds * 1000) * 1e6));
}

function headers(view: HeaderView | undefined, names: readonly string[]): Map<string, string> {
  const found = new Map<string, string>();
  if (view === undefined) return found;
  for (const name of names) {
    const value = view.get(name.toLowerCase());
    if (value !== undefined) found.set(name, value);
  }
  return found;
}

const addressText = (address: SocketAddress | undefined): string | undefined =>
  address && formatSocketAddress(address.ip, address.port);

const beforeQuery = (path: string): string => path.split('?', 1)[0] as string;
const query = (path: string): string => (path.includes('?') ? path.slice(path.indexOf('?') + 1) : '');

const request: Getters = {
  path: http(({ originalPath, path }) => originalPath ?? path),
  url_path: http(({ originalPath, path }) => beforeQuery(originalPath ?? path)),
  query: http(({ originalPath, path }) => query(originalPath ?? path)),
  host: http(({ authority }) => authority),
  scheme: http(({ scheme }) => scheme),
  method: http(({ method }) => method),
  headers: http((record, names) => headers(record.requestHeaders, names)),
  referer: http(({ requestHeaders }) => requestHeaders?.get('referer')),
  useragent: http(({ requestHeaders }) => requestHeaders?.get('user-agent')),
  id: http(({ requestId, requestHeaders }) => requestId ?? requestHeaders?.get('x-request-id')),
  protocol: http(({ protocol }) => protocol),
  time: (record) => new Date(record.startedAt),
  duration: (record) => duration(record.durationMs),
  size: (record) => int(record.bytesReceived),
  total_size: http((record) => int(record.bytesReceived + (record.requestHeaderBytes ?? 0))),
};

const response: Getters = {
  code: http(({ responseCode }) => int(responseCode)),
  code_details: ({ responseCodeDetails }) => responseCodeDetails,
  flags: ({ flags }) => BigInt(flagBits(flags)),
  grpc_status: http(({ grpcStatus }) => int(grpcStatus)),
  headers: http((record, names) => headers(record.responseHeaders, names)),
  trailers: http((record, names) => headers(record.trailers, names)),
  size: ({ bytesSent }) => int(bytesSent),
  total_size: http((record) => int(record.bytesSent + (record.responseHeaderBytes ?? 0))),
  backend_latency: http(({ upstreamServiceMs }) => duration(upstreamServiceMs)),
};

const connection: Getters = {
  id: ({ connectionId }) => int(connectionId),
  mtls: ({ mutualTls }) => mutualTls,
  tls_version: ({ mutualTls }) => (mutualTls ? 'TLSv1.3' : undefined),
  requested_server_name: ({ requestedServerName }) => requestedServerName,
  uri_san_peer_certificate: ({ sourceIdentity }) => sourceIdentity,
  uri_san_local_certificate: ({ localIdentity }) => localIdentity,
  termination_details: ({ connectionTerminationDetails }) => connectionTerminationDetails,
};

const source: Getters = {
  address: ({ downstreamRemoteAddress }) => addressText(downstreamRemoteAddress),
  port: ({ downstreamRemoteAddress }) => int(downstreamRemoteAddress.port),
  principal: ({ sourceIdentity }) => sourceIdentity,
};

const destination: Getters = {
  address: ({ downstreamLocalAddress }) => addressText(downstreamLocalAddress),
  port: ({ downstreamLocalAddress }) => int(downstreamLocalAddress.port),
  principal: (record) =>
    record.destinationIdentity ?? (record.destination && knownIdentity(record.destination)),
};

const upstream: Getters = {
  address: ({ upstreamHost }) => addressText(upstreamHost),
  port: ({ upstreamHost }) => int(upstreamHost?.port),
  local_address: ({ upstreamLocalAddress }) => addressText(upstreamLocalAddress),
  transport_failure_reason: ({ upstreamTransportFailureReason }) => upstreamTransportFailureReason,
  request_attempt_count: ({ upstreamAttempts }) => int(upstreamAttempts),
};

const xds: Getters = {
  cluster_name: ({ upstreamCluster }) => upstreamCluster,
  route_name: ({ routeName }) => routeName,
};

/** As Istio's filter state of peers has it. */
function peer(
  workload: Workload | undefined,
  identity: string | undefined,
): Map<string, unknown> | undefined {
  if (workload === undefined) return undefined;
  const { canonicalName, canonicalRevision } = workload;
  return new Map<string, unknown>([
    ['name', workload.name],
    ['namespace', workload.namespace],
    ['workload', workload.workloadName],
    ['type', workload.workloadType],
    ['cluster', workload.clusterId],
    ['identity', identity ?? ''],
    ['service', canonicalName],
    ['revision', canonicalRevision],
    ['app', canonicalName],
    ['version', canonicalRevision],
    ['locality', localityText(workload.locality)],
    ['labels', new Map(Object.entries({ app: canonicalName, version: canonicalRevision }))],
  ]);
}

const downstreamPeer: Getter = ({ source: from, sourceIdentity }) => peer(from, sourceIdentity);
const upstreamPeer: Getter = ({ destination: to, destinationIdentity }) =>
  peer(to, destinationIdentity ?? (to && knownIdentity(to)));

/** By root and attribute. */
export const attributes: Readonly<Record<string, Getters>> = {
  request,
  response,
  connection,
  source,
  destination,
  upstream,
  xds,
  filter_state: { downstream_peer: downstreamPeer, upstream_peer: upstreamPeer },
  metadata: {},
};

/** Roots that are attributes themselves. */
export const rootAttributes: Getters = { downstream_peer: downstreamPeer, upstream_peer: upstreamPeer };
