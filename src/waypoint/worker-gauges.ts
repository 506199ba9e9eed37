// What a waypoint tells of itself, beside its traffic.
import { spanFamilies, type MetricFamily } from '#/telemetry/index.ts';
import { extensionFamilies } from './extensions/index.ts';

const gauge = (name: string, help: string, labels: readonly string[] = []): MetricFamily => ({
  name,
  type: 'gauge',
  help,
  labels,
});
const counter = (name: string, help: string, labels: readonly string[] = []): MetricFamily => ({
  name,
  type: 'counter',
  help,
  labels,
});

export const waypointGauges = {
  connections: gauge('aura_waypoint_http_connections', 'HTTP connections of clients that are open'),
  tcpConnections: gauge('aura_waypoint_tcp_connections', 'Connections without HTTP that are open'),
  requests: gauge('aura_waypoint_requests', 'Requests that are open'),
  destinations: gauge('aura_waypoint_destinations', 'Destinations that were sent to lately'),
  tunnels: gauge('aura_waypoint_tunnels', 'HBONE sessions to endpoints that are open'),
  refused: counter(
    'aura_waypoint_refused',
    'Connections and requests that were refused before they were looked at',
    ['reason'],
  ),
  mirrorsDropped: counter('aura_waypoint_mirrors_dropped', 'Copies of requests that were not sent'),
  resources: gauge('aura_waypoint_resources', 'Routes, policies and settings that are in force'),
  crashes: counter('aura_waypoint_worker_crashes', 'Data workers that had to be started again'),
  linesLost: counter('aura_log_lines_lost', 'Log lines lost because nobody read them fast enough'),
  ...spanFamilies,
  ...extensionFamilies,
} as const satisfies Record<string, MetricFamily>;
