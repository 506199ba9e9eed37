// What a translation must know of the mesh as a whole. Made once at start (from flags, environment and the mesh
// ConfigMap); a change of it means that everything is translated again.
import type { Json } from './read.ts';
import type { LabelSelector } from './selector.ts';

/** One entry of MeshConfig.serviceEntryVisibility: the first whose selector matches the namespace decides. */
export interface VisibilityPolicy {
  readonly visibility: 'PUBLIC' | 'NAMESPACE' | 'NONE';
  /** Absent: every namespace. */
  readonly namespaceSelector?: LabelSelector;
}

/** One entry of MeshConfig.serviceScopeConfigs: the first whose selectors match decides. */
export interface ServiceScope {
  readonly scope: 'GLOBAL' | 'LOCAL';
  /** Absent: every namespace. */
  readonly namespaceSelector?: LabelSelector;
  /** Absent: every service. */
  readonly servicesSelector?: LabelSelector;
}

export interface MeshSettings {
  readonly clusterId: string;
  /** Suffix of service names, `cluster.local`. */
  readonly clusterDomain: string;
  readonly trustDomain: string;
  /** Where mesh-wide policies live. */
  readonly rootNamespace: string;
  /** Whose network label names the network of this cluster. */
  readonly systemNamespace: string;
  /**
   * Restores upstream's behaviour where it lets traffic pass (decision D8): waypoints that are not ready are
   * bypassed, a DENY rule made of L7 attributes alone has no effect, `trustDomains` is ignored, values that
   * cannot be parsed are left out.
   */
  readonly upstreamCompat: boolean;
  /** AMBIENT_ENABLE_DRY_RUN_AUTHORIZATION_POLICY */
  readonly dryRunPolicies: boolean;
  /** PILOT_AUTO_ALLOW_WAYPOINT_POLICY */
  readonly autoAllowWaypoints: boolean;
  /** PILOT_ENABLE_IP_AUTOALLOCATE */
  readonly autoAllocateIps: boolean;
  /** ENABLE_INGRESS_WAYPOINT_ROUTING */
  readonly ingressWaypoints: boolean;
  /** AMBIENT_ENABLE_MULTI_NETWORK */
  readonly multiNetwork: boolean;
  /** PILOT_ENABLE_K8S_SELECT_WORKLOAD_ENTRIES: Services select WorkloadEntries too. */
  readonly servicesSelectWorkloadEntries: boolean;
  /** PILOT_ENABLE_SERVICEENTRY_SELECT_PODS: ServiceEntries select pods too. */
  readonly serviceEntriesSelectPods: boolean;
  /** Which services other clusters may use. Absent: those labelled istio.io/global=true, as in the ambient profile. */
  readonly serviceScopes?: readonly ServiceScope[];
  /** These are the objects of another cluster, not of the one whose proxies are served. */
  readonly remoteCluster?: boolean;
  /** Absent: not configured, and no condition is written. */
  readonly serviceEntryVisibility?: readonly VisibilityPolicy[];
  /** The fields of MeshConfig that waypoints are told of, as they stand there. */
  readonly meshConfig?: Json;
}

export const defaultSettings: MeshSettings = {
  clusterId: 'Kubernetes',
  clusterDomain: 'cluster.local',
  trustDomain: 'cluster.local',
  rootNamespace: 'istio-system',
  systemNamespace: 'istio-system',
  upstreamCompat: false,
  dryRunPolicies: false,
  autoAllowWaypoints: false,
  autoAllocateIps: true,
  ingressWaypoints: true,
  multiNetwork: false,
  servicesSelectWorkloadEntries: true,
  serviceEntriesSelectPods: true,
};
