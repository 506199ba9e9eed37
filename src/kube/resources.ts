// Which paths the API has for which kinds. The type parameter carries the object's shape, so that
// `client.get(pods, ...)` gives a Pod.
import type {
  ConfigMap,
  DynamicObject,
  EndpointSlice,
  KubeEvent,
  KubeObject,
  KubeService,
  Lease,
  Namespace,
  Node,
  Secret,
  ServiceAccount,
} from './objects.ts';
import type {
  CronJob,
  DaemonSet,
  Deployment,
  Job,
  Pod,
  ReplicaSet,
  StatefulSet,
} from './workload-objects.ts';

export interface Resource<T extends KubeObject = DynamicObject> {
  /** Empty for the core group. */
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly kind: string;
  readonly namespaced: boolean;
  /** Never set: it only carries the type. */
  readonly shape?: T;
}

/** `v1` or `group/version`. */
export function apiVersionOf(resource: Pick<Resource, 'group' | 'version'>): string {
  return resource.group === '' ? resource.version : `${resource.group}/${resource.version}`;
}

export function defineResource<T extends KubeObject = DynamicObject>(
  groupVersion: string,
  plural: string,
  kind: string,
  scope: 'namespaced' | 'cluster' = 'namespaced',
): Resource<T> {
  const slash = groupVersion.indexOf('/');
  return {
    group: slash < 0 ? '' : groupVersion.slice(0, slash),
    version: groupVersion.slice(slash + 1),
    plural,
    kind,
    namespaced: scope === 'namespaced',
  };
}

export const pods = defineResource<Pod>('v1', 'pods', 'Pod');
export const namespaces = defineResource<Namespace>('v1', 'namespaces', 'Namespace', 'cluster');
export const nodes = defineResource<Node>('v1', 'nodes', 'Node', 'cluster');
export const services = defineResource<KubeService>('v1', 'services', 'Service');
export const configMaps = defineResource<ConfigMap>('v1', 'configmaps', 'ConfigMap');
export const secrets = defineResource<Secret>('v1', 'secrets', 'Secret');
export const serviceAccounts = defineResource<ServiceAccount>('v1', 'serviceaccounts', 'ServiceAccount');
export const events = defineResource<KubeEvent>('v1', 'events', 'Event');
export const endpointSlices = defineResource<EndpointSlice>(
  'discovery.k8s.io/v1',
  'endpointslices',
  'EndpointSlice',
);
export const leases = defineResource<Lease>('coordination.k8s.io/v1', 'leases', 'Lease');
export const deployments = defineResource<Deployment>('apps/v1', 'deployments', 'Deployment');
export const replicaSets = defineResource<ReplicaSet>('apps/v1', 'replicasets', 'ReplicaSet');
export const daemonSets = defineResource<DaemonSet>('apps/v1', 'daemonsets', 'DaemonSet');
export const statefulSets = defineResource<StatefulSet>('apps/v1', 'statefulsets', 'StatefulSet');
export const jobs = defineResource<Job>('batch/v1', 'jobs', 'Job');
export const cronJobs = defineResource<CronJob>('batch/v1', 'cronjobs', 'CronJob');
export const customResourceDefinitions = defineResource(
  'apiextensions.k8s.io/v1',
  'customresourcedefinitions',
  'CustomResourceDefinition',
  'cluster',
);
export const certificateSigningRequests = defineResource(
  'certificates.k8s.io/v1',
  'certificatesigningrequests',
  'CertificateSigningRequest',
  'cluster',
);

const security = 'security.istio.io/v1';
export const authorizationPolicies = defineResource(security, 'authorizationpolicies', 'AuthorizationPolicy');
export const peerAuthentications = defineResource(security, 'peerauthentications', 'PeerAuthentication');
export const requestAuthentications = defineResource(
  security,
  'requestauthentications',
  'RequestAuthentication',
);

const networking = 'networking.istio.io/v1';
export const serviceEntries = defineResource(networking, 'serviceentries', 'ServiceEntry');
export const workloadEntries = defineResource(networking, 'workloadentries', 'WorkloadEntry');
export const workloadGroups = defineResource(networking, 'workloadgroups', 'WorkloadGroup');
export const virtualServices = defineResource(networking, 'virtualservices', 'VirtualService');
export const destinationRules = defineResource(networking, 'destinationrules', 'DestinationRule');
export const istioGateways = defineResource(networking, 'gateways', 'Gateway');
export const sidecars = defineResource(networking, 'sidecars', 'Sidecar');
export const envoyFilters = defineResource('networking.istio.io/v1alpha3', 'envoyfilters', 'EnvoyFilter');
export const proxyConfigs = defineResource('networking.istio.io/v1beta1', 'proxyconfigs', 'ProxyConfig');
export const telemetries = defineResource('telemetry.istio.io/v1', 'telemetries', 'Telemetry');
export const extensions = defineResource('extensions.aura.io/v1alpha1', 'extensions', 'Extension');
export const trafficPolicies = defineResource('policy.aura.io/v1alpha1', 'trafficpolicies', 'TrafficPolicy');
export const wasmPlugins = defineResource('extensions.istio.io/v1alpha1', 'wasmplugins', 'WasmPlugin');

const gatewayApi = 'gateway.networking.k8s.io/v1';
export const gateways = defineResource(gatewayApi, 'gateways', 'Gateway');
export const gatewayClasses = defineResource(gatewayApi, 'gatewayclasses', 'GatewayClass', 'cluster');
export const httpRoutes = defineResource(gatewayApi, 'httproutes', 'HTTPRoute');
export const grpcRoutes = defineResource(gatewayApi, 'grpcroutes', 'GRPCRoute');
export const tlsRoutes = defineResource(gatewayApi, 'tlsroutes', 'TLSRoute');
export const tcpRoutes = defineResource(gatewayApi, 'tcproutes', 'TCPRoute');
export const udpRoutes = defineResource('gateway.networking.k8s.io/v1alpha2', 'udproutes', 'UDPRoute');
export const backendTlsPolicies = defineResource(gatewayApi, 'backendtlspolicies', 'BackendTLSPolicy');
export const referenceGrants = defineResource(
  'gateway.networking.k8s.io/v1beta1',
  'referencegrants',
  'ReferenceGrant',
);
