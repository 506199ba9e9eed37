// Labels, annotations and fixed names of the mesh, as Istio has them.

export const label = {
  useWaypoint: 'istio.io/use-waypoint',
  useWaypointNamespace: 'istio.io/use-waypoint-namespace',
  useWaypointCanary: 'istio.io/use-waypoint-canary',
  useWaypointCanaryNamespace: 'istio.io/use-waypoint-canary-namespace',
  ingressUseWaypoint: 'istio.io/ingress-use-waypoint',
  waypointFor: 'istio.io/waypoint-for',
  gatewayManaged: 'gateway.istio.io/managed',
  gatewayName: 'gateway.networking.k8s.io/gateway-name',
  network: 'topology.istio.io/network',
  global: 'istio.io/global',
  subzone: 'topology.istio.io/subzone',
  region: 'topology.kubernetes.io/region',
  zone: 'topology.kubernetes.io/zone',
  tunnel: 'networking.istio.io/tunnel',
  autoAllocateIp: 'networking.istio.io/enable-autoallocate-ip',
  canonicalName: 'service.istio.io/canonical-name',
  canonicalRevision: 'service.istio.io/canonical-revision',
  workloadName: 'service.istio.io/workload-name',
  sliceService: 'kubernetes.io/service-name',
  sliceManagedBy: 'endpointslice.kubernetes.io/managed-by',
} as const;

export const annotation = {
  canaryWeight: 'istio.io/use-waypoint-canary-weight',
  redirection: 'ambient.istio.io/redirection',
  inboundBinding: 'ambient.istio.io/waypoint-inbound-binding',
  trafficDistribution: 'networking.istio.io/traffic-distribution',
  connectStrategy: 'istio.io/connect-strategy',
  dryRun: 'istio.io/dry-run',
  gatewayServiceAccount: 'gateway.istio.io/service-account',
  autoRegistrationGroup: 'istio.io/autoRegistrationGroup',
} as const;

/** Values of `gateway.istio.io/managed` on Services that may not have a waypoint themselves. */
export const managedGateways: readonly string[] = [
  'istio.io-mesh-controller',
  'istio.io-eastwest-controller',
];

/** Controllers whose GatewayClasses are waypoints. */
export const waypointControllers: readonly string[] = [
  'istio.io/mesh-controller',
  'istio.io/agentgateway-waypoint-controller',
];

/** Classes that exist by convention, should their GatewayClass object be missing. */
export const waypointClasses: readonly string[] = ['istio-waypoint', 'istio-agentgateway-waypoint'];

/** Class of Gateways that describe the gateway of another network, which is run elsewhere. */
export const remoteGatewayClass = 'istio-remote';

/** Class of Gateways that let other networks in. */
export const eastWestGatewayClass = 'istio-east-west';

/** Port of HBONE, also of waypoints: upstream has it fixed. */
export const hbonePort = 15008;

/** The policy that every workload in STRICT mode lists. `_` cannot occur in a Kubernetes name. */
export const staticStrictPolicy = 'istio_converted_static_strict';

export const convertedPeerAuthentication = (name: string): string => `converted_peer_authentication_${name}`;

export const implicitWaypointPolicy = (namespace: string, name: string): string =>
  `istio_allow_waypoint_${namespace}_${name}`;
