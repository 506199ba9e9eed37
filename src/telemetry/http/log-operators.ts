// The command operators of log formats, under Envoy's names: each becomes a small function of a record.
import { formatSocketAddress, type SocketAddress } from '#/kit/index.ts';
import { knownIdentity } from '#/model/index.ts';
import { celText, compileCel } from './cel-program.ts';
import type { AnyRecord, HttpExchangeRecord } from './exchange-record.ts';
import { grpcCamelName, grpcSnakeName } from './grpc-status.ts';
import { eitherHeader, requestHeader, responseHeader, trailer } from './log-lookup.ts';
import { compileTimeFormat, isoMillis } from './log-time.ts';
import { flagsText, longFlagsText } from './response-flags.ts';

/** Undefined prints `-`, or null where a JSON value is nothing else. Numbers are numbers in JSON. */
export type LogValue = (record: AnyRecord) => string | number | undefined;
export interface FormatProblem {
  readonly problem: string;
}

/** What operators need beside the record. */
export interface LogSurroundings {
  readonly hostname?: string;
  readonly environment?: Readonly<Record<string, string | undefined>>;
}

type Operator = (args: string | undefined, around: LogSurroundings) => LogValue | FormatProblem;

const plain =
  (value: LogValue): Operator =>
  (args) =>
    args === undefined ? value : { problem: 'takes no arguments' };

/** Known, but there is nothing here that it could show. */
const nothing: Operator = () => () => undefined;

const http = (get: (record: HttpExchangeRecord) => string | number | undefined): Operator =>
  plain((record) => (record.kind === 'http' ? get(record) : undefined));

const whole = (ms: number | undefined): number | undefined =>
  ms === undefined ? undefined : Math.max(0, Math.floor(ms));

type AddressOf = (record: AnyRecord) => SocketAddress | undefined;
const address = (of: AddressOf): Operator =>
  plain((record) => {
    const found = of(record);
    return found && formatSocketAddress(found.ip, found.port);
  });
const ip = (of: AddressOf): Operator => plain((record) => of(record)?.ip);
const port = (of: AddressOf): Operator => plain((record) => of(record)?.port);

const local: AddressOf = (record) => record.downstreamLocalAddress;
const remote: AddressOf = (record) => record.downstreamRemoteAddress;
const direct: AddressOf = (record) => record.downstreamDirectRemoteAddress ?? record.downstreamRemoteAddress;
const host: AddressOf = (record) => record.upstreamHost;
const upstreamLocal: AddressOf = (record) => record.upstreamLocalAddress;

// Spaces would make two fields of one.
const joined = (text: string | undefined): string | undefined => text?.replaceAll(/\s/g, '_');

const startTime: Operator = (args) => {
  const format = compileTimeFormat(args ?? '');
  return typeof format === 'function' ? ({ startedAt }) => format(startedAt) : format;
};

const emitTime: Operator = (args) => {
  const format = args === undefined ? isoMillis : compileTimeFormat(args);
  return typeof format === 'function'
    ? ({ startedAt, durationMs }) => format(startedAt + durationMs)
    : format;
};

const grpcStatus: Operator = (args = 'CAMEL_STRING') => {
  const names: Readonly<Record<string, (status: number) => string | number>> = {
    CAMEL_STRING: grpcCamelName,
    SNAKE_STRING: grpcSnakeName,
    NUMBER: (status) => status,
  };
  const name = Object.hasOwn(names, args) ? names[args] : undefined;
  if (name === undefined) return { problem: 'needs CAMEL_STRING, SNAKE_STRING or NUMBER' };
  return (record) =>
    record.kind === 'http' && record.grpcStatus !== undefined ? name(record.grpcStatus) : undefined;
};

const reqWithoutQuery: Operator = (args) => {
  const look = eitherHeader(args, requestHeader);
  return typeof look === 'function' ? (record) => look(record)?.split('?', 1)[0] : look;
};

const queryParameter: Operator = (args) => {
  if (args === undefined || args === '') return { problem: 'needs the name of a parameter' };
  return (record) => {
    if (record.kind !== 'http') return undefined;
    const path = record.originalPath ?? record.path;
    const at = path.indexOf('?');
    return at < 0 ? undefined : (new URLSearchParams(path.slice(at)).get(args) ?? undefined);
  };
};

const cel: Operator = (args = '') => {
  const compiled = compileCel(args);
  if (!compiled.ok) return { problem: `does not compile: ${compiled.problem}` };
  const { run } = compiled;
  return (record) => celText(run(record));
};

const environment: Operator = (args, around) => {
  if (args === undefined || args === '') return { problem: 'needs the name of a variable' };
  const value = around.environment?.[args];
  return () => value;
};

const operators: Readonly<Record<string, Operator>> = {
  START_TIME: startTime,
  START_TIME_LOCAL: startTime,
  EMIT_TIME: emitTime,
  EMIT_TIME_LOCAL: emitTime,
  REQ: (args) => eitherHeader(args, requestHeader),
  RESP: (args) => eitherHeader(args, responseHeader),
  TRAILER: (args) => eitherHeader(args, trailer),
  REQ_WITHOUT_QUERY: reqWithoutQuery,
  QUERY_PARAM: queryParameter,
  CEL: cel,
  ENVIRONMENT: environment,
  HOSTNAME:
    (_, { hostname }) =>
    () =>
      hostname,
  PROTOCOL: http(({ protocol }) => protocol),
  UPSTREAM_PROTOCOL: http(({ upstreamProtocol }) => upstreamProtocol),
  RESPONSE_CODE: plain((record) => (record.kind === 'http' ? record.responseCode : 0)),
  RESPONSE_CODE_DETAILS: plain((record) => joined(record.responseCodeDetails)),
  RESPONSE_FLAGS: plain(({ flags }) => flagsText(flags)),
  RESPONSE_FLAGS_LONG: plain(({ flags }) => longFlagsText(flags)),
  CONNECTION_TERMINATION_DETAILS: plain((record) => joined(record.connectionTerminationDetails)),
  UPSTREAM_TRANSPORT_FAILURE_REASON: plain((record) => record.upstreamTransportFailureReason),
  BYTES_RECEIVED: plain(({ bytesReceived }) => bytesReceived),
  BYTES_SENT: plain(({ bytesSent }) => bytesSent),
  REQUEST_HEADERS_BYTES: http(({ requestHeaderBytes }) => requestHeaderBytes),
  RESPONSE_HEADERS_BYTES: http(({ responseHeaderBytes }) => responseHeaderBytes),
  DURATION: plain(({ durationMs }) => whole(durationMs)),
  REQUEST_DURATION: http(({ requestMs }) => whole(requestMs)),
  REQUEST_TX_DURATION: http(({ requestMs }) => whole(requestMs)),
  RESPONSE_DURATION: http(({ responseMs }) => whole(responseMs)),
  RESPONSE_TX_DURATION: http(({ durationMs, responseMs }) =>
    responseMs === undefined ? undefined : whole(durationMs - responseMs),
  ),
  UPSTREAM_HOST: address(host),
  UPSTREAM_HOST_NAME: address(host),
  UPSTREAM_HOST_NAME_WITHOUT_PORT: ip(host),
  UPSTREAM_REMOTE_ADDRESS: address(host),
  UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT: ip(host),
  UPSTREAM_REMOTE_PORT: port(host),
  UPSTREAM_LOCAL_ADDRESS: address(upstreamLocal),
  UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT: ip(upstreamLocal),
  UPSTREAM_LOCAL_PORT: port(upstreamLocal),
  UPSTREAM_CLUSTER: plain(({ upstreamCluster }) => upstreamCluster),
  UPSTREAM_CLUSTER_RAW: plain(({ upstreamCluster }) => upstreamCluster),
  UPSTREAM_REQUEST_ATTEMPT_COUNT: plain(({ upstreamAttempts }) => upstreamAttempts),
  UPSTREAM_PEER_URI_SAN: plain(
    ({ destinationIdentity, destination }) =>
      destinationIdentity ?? (destination && knownIdentity(destination)),
  ),
  UPSTREAM_LOCAL_URI_SAN: plain(({ localIdentity }) => localIdentity),
  DOWNSTREAM_LOCAL_ADDRESS: address(local),
  DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT: ip(local),
  DOWNSTREAM_LOCAL_PORT: port(local),
  DOWNSTREAM_REMOTE_ADDRESS: address(remote),
  DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT: ip(remote),
  DOWNSTREAM_REMOTE_PORT: port(remote),
  DOWNSTREAM_DIRECT_REMOTE_ADDRESS: address(direct),
  DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT: ip(direct),
  DOWNSTREAM_DIRECT_REMOTE_PORT: port(direct),
  DOWNSTREAM_PEER_URI_SAN: plain(({ sourceIdentity }) => sourceIdentity),
  DOWNSTREAM_LOCAL_URI_SAN: plain(({ localIdentity }) => localIdentity),
  DOWNSTREAM_TLS_VERSION: plain(({ mutualTls }) => (mutualTls ? 'TLSv1.3' : undefined)),
  CONNECTION_ID: plain(({ connectionId }) => connectionId),
  REQUESTED_SERVER_NAME: plain((record) => joined(record.requestedServerName)),
  ROUTE_NAME: plain(({ routeName }) => joined(routeName)),
  GRPC_STATUS: grpcStatus,
  GRPC_STATUS_NUMBER: http((record) => record.grpcStatus),
  TRACE_ID: http(({ traceId }) => traceId),
  SPAN_ID: http(({ spanId }) => spanId),
  // Known to Envoy; a waypoint of ours has no such thing.
  DYNAMIC_METADATA: nothing,
  CLUSTER_METADATA: nothing,
  UPSTREAM_METADATA: nothing,
  METADATA: nothing,
  FILTER_STATE: nothing,
  UPSTREAM_FILTER_STATE: nothing,
  CUSTOM_FLAGS: nothing,
  STREAM_ID: nothing,
  UNIQUE_ID: nothing,
  VIRTUAL_CLUSTER_NAME: nothing,
  COMMON_DURATION: nothing,
  ROUNDTRIP_DURATION: nothing,
  UPSTREAM_CONNECTION_ID: nothing,
  RESPONSE_TRAILERS_BYTES: nothing,
  UPSTREAM_WIRE_BYTES_SENT: nothing,
  UPSTREAM_WIRE_BYTES_RECEIVED: nothing,
  UPSTREAM_HEADER_BYTES_SENT: nothing,
  UPSTREAM_HEADER_BYTES_RECEIVED: nothing,
  DOWNSTREAM_WIRE_BYTES_SENT: nothing,
  DOWNSTREAM_WIRE_BYTES_RECEIVED: nothing,
  DOWNSTREAM_HEADER_BYTES_SENT: nothing,
  DOWNSTREAM_HEADER_BYTES_RECEIVED: nothing,
  DOWNSTREAM_TRANSPORT_FAILURE_REASON: nothing,
  ACCESS_LOG_TYPE: nothing,
};

// Details of certificates and ciphers, for which a mesh certificate has nothing to tell.
const certificateDetail =
  /^(DOWNSTREAM|UPSTREAM)_(PEER|LOCAL|TLS)_(SUBJECT|ISSUER|CERT|CERT_V_START|CERT_V_END|FINGERPRINT_1|FINGERPRINT_256|SERIAL|CHAIN_SERIALS|CHAIN_FINGERPRINTS_1|CHAIN_FINGERPRINTS_256|DNS_SAN|IP_SAN|EMAIL_SAN|OTHERNAME_SAN|CIPHER|SESSION_ID|VERSION)$/;

/** One operator of a format. */
export function compileOperator(
  name: string,
  args: string | undefined,
  around: LogSurroundings,
): LogValue | FormatProblem {
  const operator = Object.hasOwn(operators, name) ? operators[name] : undefined;
  if (operator !== undefined) {
    const compiled = operator(args, around);
    return typeof compiled === 'function' ? compiled : { problem: `%${name}% ${compiled.problem}` };
  }
  if (certificateDetail.test(name)) return () => undefined;
  return { problem: `%${name}% is not a known operator` };
}
