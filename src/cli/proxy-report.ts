// What control planes say of their proxies, as rows: pure, from the pages of all replicas.
import { typeState, type SyncEntry } from './control-access.ts';

export interface ControlPlaneReport {
  /** The pod. */
  readonly name: string;
  readonly version: string;
  readonly proxies: readonly SyncEntry[];
}

/** A pod that should be connected. */
export interface ProxyPod {
  readonly type: 'ztunnel' | 'waypoint';
  readonly namespace: string;
  readonly name: string;
  readonly node: string;
  readonly ready: boolean;
}

export type ProxyStatus = 'SYNCED' | 'STALE' | 'ERROR' | 'NOT SENT' | 'NOT CONNECTED';

export interface ProxyReport {
  readonly name: string;
  /** `ztunnel`, `waypoint`; of Istio's others `sidecar` and `router`. */
  readonly type: string;
  readonly cluster: string;
  readonly controlPlane: string;
  readonly version: string;
  readonly node: string;
  readonly status: ProxyStatus;
  readonly types: readonly {
    readonly type: string;
    readonly status: ProxyStatus;
    readonly sentTime?: string;
    readonly error?: string;
  }[];
}

const shortNames: Readonly<Record<string, string>> = {
  'istio.workload.Address': 'WDS',
  'istio.workload.Workload': 'WDS',
  'istio.security.Authorization': 'WADS',
  'aura.waypoint.v1.Resource': 'WPDS',
  'envoy.config.cluster.v3.Cluster': 'CDS',
  'envoy.config.endpoint.v3.ClusterLoadAssignment': 'EDS',
  'envoy.config.listener.v3.Listener': 'LDS',
  'envoy.config.route.v3.RouteConfiguration': 'RDS',
  'envoy.extensions.transport_sockets.tls.v3.Secret': 'SDS',
  'envoy.config.core.v3.TypedExtensionConfig': 'ECDS',
  'istio.networking.nds.v1.NameTable': 'NDS',
  'istio.mesh.v1alpha1.ProxyConfig': 'PCDS',
};

/** `WDS` for the type URL of addresses; the last part of one that is not known. */
export function shortType(typeUrl: string): string {
  const full = typeUrl.replace(/^type\.googleapis\.com\//, '');
  return shortNames[full] ?? full.slice(full.lastIndexOf('.') + 1);
}

const worst: readonly ProxyStatus[] = ['ERROR', 'NOT SENT', 'STALE', 'SYNCED'];

export function proxyReports(
  controlPlanes: readonly ControlPlaneReport[],
  pods: readonly ProxyPod[],
): readonly ProxyReport[] {
  const known = new Map(pods.map((pod) => [`${pod.namespace} ${pod.name}`, pod]));
  const connected = new Set<string>();
  const reports: ProxyReport[] = [];
  for (const { name, proxies } of controlPlanes)
    for (const entry of proxies) {
      const dot = entry.proxy.lastIndexOf('.');
      const key = `${entry.proxy.slice(dot + 1)} ${entry.proxy.slice(0, dot)}`;
      connected.add(key);
      const types = Object.entries(entry.resources ?? {})
        .map(([typeUrl, type]) => ({
          type: shortType(typeUrl),
          status: typeState(type),
          ...(type.sentTime === undefined ? {} : { sentTime: type.sentTime }),
          ...(type.lastError === undefined ? {} : { error: type.lastError }),
        }))
        .sort((a, b) => (a.type < b.type ? -1 : 1));
      reports.push({
        name: entry.proxy,
        type: entry.proxy_type || (known.get(key)?.type ?? ''),
        cluster: entry.cluster_id ?? '',
        controlPlane: name,
        version: entry.istio_version ?? '',
        node: known.get(key)?.node ?? '',
        status: worst.find((status) => types.some((type) => type.status === status)) ?? 'NOT SENT',
        types,
      });
    }
  for (const { namespace, name, node, type } of pods)
    if (!connected.has(`${namespace} ${name}`))
      reports.push({
        name: `${name}.${namespace}`,
        type,
        cluster: '',
        controlPlane: '',
        version: '',
        node,
        status: 'NOT CONNECTED',
        types: [],
      });
  return reports.sort((a, b) => (a.name < b.name ? -1 : 1));
}

export interface VersionCount {
  readonly version: string;
  readonly proxies: number;
}

/** How many proxies of each version are connected; `unknown` for those that do not say. */
export function dataPlaneVersions(controlPlanes: readonly ControlPlaneReport[]): readonly VersionCount[] {
  const counts = new Map<string, number>();
  for (const { proxies } of controlPlanes)
    for (const { istio_version: own } of proxies) {
      const version = own === undefined || own === '' ? 'unknown' : own;
      counts.set(version, (counts.get(version) ?? 0) + 1);
    }
  return [...counts].sort(([a], [b]) => (a < b ? -1 : 1)).map(([version, proxies]) => ({ version, proxies }));
}
