// Records of requests and connections through a waypoint, for tests, with every field that does not matter filled in.
import type { Identity } from '../src/model/index.ts';
import {
  upstreamClusterName,
  type HttpExchangeRecord,
  type TcpConnectionRecord,
} from '../src/telemetry/index.ts';
import { aService, at, aWorkload } from './mesh-records.ts';

/** 2026-08-22T10:00:00.123Z and some microseconds. */
export const startedAt = Date.UTC(2026, 7, 22, 10, 0, 0, 123) + 0.456;

export const client = aWorkload('productpage-1', {
  namespace: 'default',
  workloadName: 'productpage-v1',
  canonicalName: 'productpage',
  canonicalRevision: 'v1',
  serviceAccount: 'productpage',
  clusterId: 'client-cluster',
});
export const server = aWorkload('ratings-1', {
  namespace: 'default',
  workloadName: 'ratings-v1',
  canonicalName: 'ratings',
  canonicalRevision: 'v1',
  serviceAccount: 'ratings',
  clusterId: 'server-cluster',
});
export const service = aService('server.default.svc.cluster.local', { namespace: 'default' });
export const clientIdentity = 'spiffe://cluster.local/ns/default/sa/productpage' as Identity;

const headers = (values: Readonly<Record<string, string>>) => ({ get: (name: string) => values[name] });

const common = {
  startedAt,
  durationMs: 11.7,
  flags: [],
  bytesReceived: 12,
  bytesSent: 1683,
  upstreamHost: at('10.244.1.24:9080'),
  upstreamLocalAddress: at('10.244.2.7:40112'),
  downstreamLocalAddress: at('10.96.138.243:9080'),
  downstreamRemoteAddress: at('10.244.1.22:38872'),
  source: client,
  destination: server,
  service,
  sourceIdentity: clientIdentity,
  mutualTls: true,
} as const;

/** A GET that was answered 200; `request` and `response` are headers. */
export function anExchange(
  fields: Partial<HttpExchangeRecord> & {
    readonly request?: Readonly<Record<string, string>>;
    readonly response?: Readonly<Record<string, string>>;
  } = {},
): HttpExchangeRecord {
  const { request, response, ...rest } = fields;
  return {
    kind: 'http',
    ...common,
    method: 'GET',
    path: '/ratings/0?full=1',
    scheme: 'http',
    authority: 'server:9080',
    protocol: 'HTTP/1.1',
    responseCode: 200,
    responseCodeDetails: 'via_upstream',
    upstreamCluster: upstreamClusterName(9080, 'http', service.hostname),
    upstreamServiceMs: 10.2,
    routeName: 'default',
    requestId: '66401a61-0656-4838-9d84-df03448355f9',
    grpc: false,
    requestHeaders: headers({ 'user-agent': 'curl/8.2.1', ...request }),
    responseHeaders: headers({ 'content-type': 'text/html', ...response }),
    ...rest,
  };
}

export const aTcpConnection = (fields: Partial<TcpConnectionRecord> = {}): TcpConnectionRecord => ({
  kind: 'tcp',
  ...common,
  upstreamCluster: upstreamClusterName(9000, 'tcp', service.hostname),
  ...fields,
});
