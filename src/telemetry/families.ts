// The metric families of the node proxy, as data: names, labels and types that dashboards rely on.

export interface MetricFamily {
  /** Without `_total`, which the text of a counter adds. */
  readonly name: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  readonly unit?: string;
  /** In the order in which they are printed. The traffic families print the list of `trafficLabels`. */
  readonly labels: readonly string[];
  /** Upper bounds, ascending, without +Inf. */
  readonly buckets?: readonly number[];
}

const sourceLabels = [
  'source_workload',
  'source_canonical_service',
  'source_canonical_revision',
  'source_workload_namespace',
  'source_principal',
  'source_app',
  'source_version',
  'source_cluster',
] as const;

export const trafficLabelNames = [
  'reporter',
  ...sourceLabels,
  'destination_service',
  'destination_service_namespace',
  'destination_service_name',
  'destination_workload',
  'destination_canonical_service',
  'destination_canonical_revision',
  'destination_workload_namespace',
  'destination_principal',
  'destination_app',
  'destination_version',
  'destination_cluster',
  'request_protocol',
  'response_flags',
  'connection_security_policy',
  'source_region',
  'source_zone',
  'destination_region',
  'destination_zone',
] as const;

const dnsLabels = [
  'request_query_type',
  'request_protocol',
  'source_canonical_service',
  'source_canonical_revision',
] as const;

const counter = (name: string, help: string, labels: readonly string[]): MetricFamily => ({
  name,
  type: 'counter',
  help,
  labels,
});
const gauge = (name: string, help: string, labels: readonly string[]): MetricFamily => ({
  name,
  type: 'gauge',
  help,
  labels,
});

/** By a short name for the code. */
export const families = {
  connectionsOpened: counter('istio_tcp_connections_opened', 'TCP connections opened', trafficLabelNames),
  connectionsClosed: counter('istio_tcp_connections_closed', 'TCP connections closed', trafficLabelNames),
  connectionsFailed: counter(
    'istio_tcp_connections_failed',
    'TCP connections that ended with an error; response_flags says which',
    trafficLabelNames,
  ),
  receivedBytes: counter('istio_tcp_received_bytes', 'Bytes from client to server', trafficLabelNames),
  sentBytes: counter('istio_tcp_sent_bytes', 'Bytes from server to client', trafficLabelNames),
  socketsOpen: gauge('istio_tcp_sockets_open', 'Sockets of applications and peers that are open', [
    'reporter',
  ]),
  onDemandDns: counter('istio_on_demand_dns', 'Connections whose destination was resolved by DNS', [
    ...sourceLabels,
    'hostname',
  ]),
  crlRejections: counter('istio_crl_policy_rejections', 'Connections refused for a revoked certificate', [
    'reporter',
  ]),
  crlUntracked: counter('istio_crl_untracked_connections', 'Connections not watched for revocation', [
    'reporter',
  ]),
  dnsRequests: counter('istio_dns_requests', 'DNS requests', dnsLabels),
  dnsUpstreamRequests: counter(
    'istio_dns_upstream_requests',
    'DNS requests sent on to a name server',
    dnsLabels,
  ),
  dnsUpstreamFailures: counter(
    'istio_dns_upstream_failures',
    'DNS requests that no name server answered',
    dnsLabels,
  ),
  dnsUpstreamDuration: {
    name: 'istio_dns_upstream_request_duration_seconds',
    type: 'histogram',
    help: 'Time until a name server answered',
    unit: 'seconds',
    labels: dnsLabels,
    buckets: [0.0005, 0.001, 0.01, 0.1, 1, 5],
  },
  xdsTerminations: counter(
    'istio_xds_connection_terminations',
    'Connections to the control plane that ended',
    ['reason'],
  ),
  xdsMessages: counter('istio_xds_message', 'Messages from the control plane', ['url']),
  xdsMessageBytes: {
    ...counter('istio_xds_message_bytes', 'Bytes of messages from the control plane', ['url']),
    unit: 'bytes',
  },
  build: gauge('istio_build', 'The version that runs', ['component', 'tag']),
  activeProxies: gauge('workload_manager_active_proxy_count', 'Pods that have a proxy', []),
  pendingProxies: gauge(
    'workload_manager_pending_proxy_count',
    'Pods whose proxy could not be started yet',
    [],
  ),
  proxiesStarted: counter('workload_manager_proxies_started', 'Pod proxies started', []),
  proxiesStopped: counter('workload_manager_proxies_stopped', 'Pod proxies stopped', []),
  linesLost: counter('aura_log_lines_lost', 'Log lines lost because the log was not read fast enough', []),
  openFds: gauge('process_open_fds', 'Open file descriptors', []),
  maxFds: gauge('process_max_fds', 'Limit of open file descriptors', []),
  seriesOverflow: counter(
    'aura_metric_series_overflow',
    'Samples counted under unknown labels because the limit of series was reached',
    [],
  ),
} as const satisfies Record<string, MetricFamily>;

export type FamilyName = keyof typeof families;
