// The metric families of a waypoint, as data: Istio's names, labels in their order, and buckets.
import { families, type MetricFamily } from '../families.ts';

const peerLabels = [
  'reporter',
  'source_workload',
  'source_canonical_service',
  'source_canonical_revision',
  'source_workload_namespace',
  'source_principal',
  'source_app',
  'source_version',
  'source_cluster',
  'destination_workload',
  'destination_workload_namespace',
  'destination_principal',
  'destination_app',
  'destination_version',
  'destination_service',
  'destination_canonical_service',
  'destination_canonical_revision',
  'destination_service_name',
  'destination_service_namespace',
  'destination_cluster',
  'request_protocol',
] as const;

export const requestLabelNames = [
  ...peerLabels,
  'response_code',
  'grpc_response_status',
  'response_flags',
  'connection_security_policy',
] as const;

export const tcpLabelNames = [...peerLabels, 'response_flags', 'connection_security_policy'] as const;

/** Envoy's default, for milliseconds and bytes alike. */
export const istioBuckets: readonly number[] = [
  0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 300_000, 600_000, 1_800_000,
  3_600_000,
];

const counter = (name: string, help: string, labels: readonly string[]): MetricFamily => ({
  name,
  type: 'counter',
  help,
  labels,
});
const histogram = (name: string, help: string): MetricFamily => ({
  name,
  type: 'histogram',
  help,
  labels: requestLabelNames,
  buckets: istioBuckets,
});

/** In the order in which they are printed. */
export const waypointFamilies = {
  requests: counter('istio_requests', 'Requests', requestLabelNames),
  requestDuration: histogram('istio_request_duration_milliseconds', 'Time from request to end of response'),
  requestBytes: histogram('istio_request_bytes', 'Bytes of request bodies'),
  responseBytes: histogram('istio_response_bytes', 'Bytes of response bodies'),
  requestMessages: counter('istio_request_messages', 'gRPC messages from clients', requestLabelNames),
  responseMessages: counter('istio_response_messages', 'gRPC messages from servers', requestLabelNames),
  tcpOpened: counter('istio_tcp_connections_opened', 'TCP connections opened', tcpLabelNames),
  tcpClosed: counter('istio_tcp_connections_closed', 'TCP connections closed', tcpLabelNames),
  tcpReceived: counter('istio_tcp_received_bytes', 'Bytes from client to server', tcpLabelNames),
  tcpSent: counter('istio_tcp_sent_bytes', 'Bytes from server to client', tcpLabelNames),
  seriesOverflow: families.seriesOverflow,
} as const satisfies Record<string, MetricFamily>;

export type WaypointMetric = Exclude<keyof typeof waypointFamilies, 'seriesOverflow'>;

/** Names of the Telemetry API. */
export const metricNames: Readonly<Record<WaypointMetric, string>> = {
  requests: 'REQUEST_COUNT',
  requestDuration: 'REQUEST_DURATION',
  requestBytes: 'REQUEST_SIZE',
  responseBytes: 'RESPONSE_SIZE',
  requestMessages: 'GRPC_REQUEST_MESSAGES',
  responseMessages: 'GRPC_RESPONSE_MESSAGES',
  tcpOpened: 'TCP_OPENED_CONNECTIONS',
  tcpClosed: 'TCP_CLOSED_CONNECTIONS',
  tcpReceived: 'TCP_RECEIVED_BYTES',
  tcpSent: 'TCP_SENT_BYTES',
};

export const waypointMetrics = Object.keys(metricNames) as readonly WaypointMetric[];
/** A bit for each, so that a set of them is a number. */
export const metricBit = Object.fromEntries(
  waypointMetrics.map((metric, index) => [metric, 1 << index]),
) as Readonly<Record<WaypointMetric, number>>;
export const everyMetric = (1 << waypointMetrics.length) - 1;

/** Of the sending of spans; counted by whoever exports them. */
export const spanFamilies = {
  exported: counter('aura_trace_spans_exported', 'Spans that a collector has taken', ['provider']),
  lost: counter(
    'aura_trace_spans_lost',
    'Spans dropped because the queue was full, or not taken by a collector',
    ['provider', 'reason'],
  ),
} as const satisfies Record<string, MetricFamily>;
