// The CustomResourceDefinitions that are there from the start: Istio's kinds, those of the Gateway API, and
// our own.
import type { Item, Json, JsonObject } from '../json.ts';
import type { Schema } from '../schema/schema.ts';
import { loadMeshTypes } from './type-table.ts';

interface Entry {
  readonly kind: string;
  readonly plural: string;
  readonly short?: readonly string[];
  /** The first is the one that is stored. */
  readonly versions: readonly string[];
  readonly cluster?: boolean;
  readonly spec: string;
  /** A type; none: no status subresource. */
  readonly status?: string;
  /** Conditions that are Unknown until a controller has looked. */
  readonly pending?: readonly string[];
  readonly columns?: readonly (readonly [string, string, string])[];
}

const age = ['Age', '.metadata.creationTimestamp', 'date'] as const;
const accepted = ['Accepted', '.status.conditions[?(@.type=="Accepted")].status', 'string'] as const;
const programmed = ['Programmed', '.status.conditions[?(@.type=="Programmed")].status', 'string'] as const;
const networkingVersions = ['v1', 'v1beta1', 'v1alpha3'];

const groups: Readonly<Record<string, readonly Entry[]>> = {
  'security.istio.io': [
    {
      kind: 'AuthorizationPolicy',
      plural: 'authorizationpolicies',
      short: ['ap'],
      versions: ['v1', 'v1beta1'],
      spec: 'AuthorizationPolicySpec',
      status: 'IstioStatus',
      columns: [['Action', '.spec.action', 'string'], age],
    },
    {
      kind: 'PeerAuthentication',
      plural: 'peerauthentications',
      short: ['pa'],
      versions: ['v1', 'v1beta1'],
      spec: 'PeerAuthenticationSpec',
      status: 'IstioStatus',
      columns: [['Mode', '.spec.mtls.mode', 'string'], age],
    },
    {
      kind: 'RequestAuthentication',
      plural: 'requestauthentications',
      short: ['ra'],
      versions: ['v1', 'v1beta1'],
      spec: 'RequestAuthenticationSpec',
      status: 'IstioStatus',
    },
  ],
  'networking.istio.io': [
    {
      kind: 'ServiceEntry',
      plural: 'serviceentries',
      short: ['se'],
      versions: networkingVersions,
      spec: 'ServiceEntrySpec',
      status: 'ServiceEntryStatus',
      columns: [
        ['Hosts', '.spec.hosts', 'string'],
        ['Location', '.spec.location', 'string'],
        ['Resolution', '.spec.resolution', 'string'],
        age,
      ],
    },
    {
      kind: 'WorkloadEntry',
      plural: 'workloadentries',
      short: ['we'],
      versions: networkingVersions,
      spec: 'WorkloadEntrySpec',
      status: 'IstioStatus',
      columns: [age, ['Address', '.spec.address', 'string']],
    },
    {
      kind: 'WorkloadGroup',
      plural: 'workloadgroups',
      short: ['wg'],
      versions: networkingVersions,
      spec: 'WorkloadGroupSpec',
      status: 'IstioStatus',
      columns: [age],
    },
    {
      kind: 'VirtualService',
      plural: 'virtualservices',
      short: ['vs'],
      versions: networkingVersions,
      spec: 'VirtualServiceSpec',
      status: 'IstioStatus',
      columns: [['Gateways', '.spec.gateways', 'string'], ['Hosts', '.spec.hosts', 'string'], age],
    },
    {
      kind: 'DestinationRule',
      plural: 'destinationrules',
      short: ['dr'],
      versions: networkingVersions,
      spec: 'DestinationRuleSpec',
      status: 'IstioStatus',
      columns: [['Host', '.spec.host', 'string'], age],
    },
    {
      kind: 'Gateway',
      plural: 'gateways',
      short: ['gw'],
      versions: networkingVersions,
      spec: 'IstioGatewaySpec',
      status: 'IstioStatus',
    },
    {
      kind: 'Sidecar',
      plural: 'sidecars',
      versions: networkingVersions,
      spec: 'SidecarSpec',
      status: 'IstioStatus',
    },
    {
      kind: 'EnvoyFilter',
      plural: 'envoyfilters',
      versions: ['v1alpha3'],
      spec: 'EnvoyFilterSpec',
      status: 'IstioStatus',
    },
    {
      kind: 'ProxyConfig',
      plural: 'proxyconfigs',
      versions: ['v1beta1'],
      spec: 'ProxyConfigSpec',
      status: 'IstioStatus',
    },
  ],
  'telemetry.istio.io': [
    {
      kind: 'Telemetry',
      plural: 'telemetries',
      short: ['telemetry'],
      versions: ['v1', 'v1alpha1'],
      spec: 'TelemetrySpec',
      status: 'IstioStatus',
      columns: [age],
    },
  ],
  'extensions.istio.io': [
    {
      kind: 'WasmPlugin',
      plural: 'wasmplugins',
      versions: ['v1alpha1'],
      spec: 'WasmPluginSpec',
      status: 'IstioStatus',
      columns: [age],
    },
  ],
  'policy.aura.io': [
    {
      kind: 'TrafficPolicy',
      plural: 'trafficpolicies',
      versions: ['v1alpha1'],
      spec: 'AuraTrafficPolicySpec',
      status: 'IstioStatus',
      columns: [accepted, age],
    },
  ],
  'extensions.aura.io': [
    {
      kind: 'Extension',
      plural: 'extensions',
      versions: ['v1alpha1'],
      spec: 'AuraExtensionSpec',
      status: 'IstioStatus',
      columns: [['Phase', '.spec.phase', 'string'], accepted, age],
    },
  ],
  'gateway.networking.k8s.io': [
    {
      kind: 'GatewayClass',
      plural: 'gatewayclasses',
      short: ['gc'],
      versions: ['v1', 'v1beta1'],
      cluster: true,
      spec: 'GatewayClassSpec',
      status: 'GatewayClassStatus',
      pending: ['Accepted'],
      columns: [['Controller', '.spec.controllerName', 'string'], accepted, age],
    },
    {
      kind: 'Gateway',
      plural: 'gateways',
      short: ['gtw'],
      versions: ['v1', 'v1beta1'],
      spec: 'GatewaySpec',
      status: 'GatewayStatus',
      pending: ['Accepted', 'Programmed'],
      columns: [
        ['Class', '.spec.gatewayClassName', 'string'],
        ['Address', '.status.addresses[*].value', 'string'],
        programmed,
        age,
      ],
    },
    {
      kind: 'ListenerSet',
      plural: 'listenersets',
      short: ['lset'],
      versions: ['v1'],
      spec: 'ListenerSetSpec',
      status: 'ListenerSetStatus',
      pending: ['Accepted', 'Programmed'],
      columns: [accepted, programmed, age],
    },
    {
      kind: 'HTTPRoute',
      plural: 'httproutes',
      versions: ['v1', 'v1beta1'],
      spec: 'HTTPRouteSpec',
      status: 'RouteStatus',
      columns: [['Hostnames', '.spec.hostnames', 'string'], age],
    },
    {
      kind: 'GRPCRoute',
      plural: 'grpcroutes',
      versions: ['v1'],
      spec: 'GRPCRouteSpec',
      status: 'RouteStatus',
      columns: [['Hostnames', '.spec.hostnames', 'string'], age],
    },
    {
      kind: 'TCPRoute',
      plural: 'tcproutes',
      versions: ['v1', 'v1alpha2'],
      spec: 'TCPRouteSpec',
      status: 'RouteStatus',
      columns: [age],
    },
    {
      kind: 'TLSRoute',
      plural: 'tlsroutes',
      versions: ['v1', 'v1alpha3', 'v1alpha2'],
      spec: 'TLSRouteSpec',
      status: 'RouteStatus',
      columns: [age],
    },
    {
      kind: 'UDPRoute',
      plural: 'udproutes',
      versions: ['v1', 'v1alpha2'],
      spec: 'TCPRouteSpec',
      status: 'RouteStatus',
      columns: [age],
    },
    {
      kind: 'ReferenceGrant',
      plural: 'referencegrants',
      short: ['refgrant'],
      versions: ['v1beta1', 'v1'],
      spec: 'ReferenceGrantSpec',
      columns: [age],
    },
    {
      kind: 'BackendTLSPolicy',
      plural: 'backendtlspolicies',
      short: ['btlspolicy'],
      versions: ['v1', 'v1alpha3'],
      spec: 'BackendTLSPolicySpec',
      status: 'PolicyStatus',
      columns: [age],
    },
  ],
};

/** The Gateway API's own marks, which controllers look at before they read a kind. */
const gatewayApiAnnotations = {
  'api-approved.kubernetes.io': 'https://github.com/kubernetes-sigs/gateway-api/pull/4530',
  'gateway.networking.k8s.io/bundle-version': 'v1.6.0',
  'gateway.networking.k8s.io/channel': 'experimental',
};

/** The status of an object that no controller has seen yet. */
const pendingStatus = (types: readonly string[] | undefined): Pick<Schema, 'default'> =>
  types === undefined
    ? {}
    : {
        default: {
          conditions: types.map((type) => ({
            type,
            status: 'Unknown',
            reason: 'Pending',
            message: 'Waiting for controller',
            lastTransitionTime: '1970-01-01T00:00:00Z',
          })),
        },
      };

export function defaultDefinitions(): Item[] {
  const types = loadMeshTypes();
  const typeOf = (name: string): Schema => {
    const found = types.get(name);
    if (found === undefined) throw new Error(`mesh-types.txt has no type "${name}"`);
    return found;
  };
  const out: Item[] = [];
  for (const [group, entries] of Object.entries(groups)) {
    const family = group.split('.')[0] as string;
    const isGatewayApi = group === 'gateway.networking.k8s.io';
    const isOurs = group.endsWith('.aura.io');
    const categories = isGatewayApi
      ? ['gateway-api']
      : isOurs
        ? ['aura-io']
        : ['istio-io', `${family}-istio-io`];
    for (const entry of entries) {
      const schema: Schema = {
        type: 'object',
        properties: {
          apiVersion: { type: 'string' },
          kind: { type: 'string' },
          metadata: { type: 'object' },
          spec: typeOf(entry.spec),
          ...(entry.status === undefined
            ? {}
            : { status: { ...typeOf(entry.status), ...pendingStatus(entry.pending) } }),
        },
        ...(isGatewayApi || isOurs ? { required: ['spec'] } : {}),
      };
      out.push({
        kind: 'CustomResourceDefinition',
        apiVersion: 'apiextensions.k8s.io/v1',
        metadata: {
          name: `${entry.plural}.${group}`,
          ...(isGatewayApi ? { annotations: { ...gatewayApiAnnotations } } : {}),
        },
        spec: {
          group,
          scope: entry.cluster === true ? 'Cluster' : 'Namespaced',
          names: {
            kind: entry.kind,
            listKind: `${entry.kind}List`,
            plural: entry.plural,
            singular: entry.kind.toLowerCase(),
            ...(entry.short === undefined ? {} : { shortNames: [...entry.short] }),
            categories,
          },
          versions: entry.versions.map((name, i): Json => ({
            name,
            served: true,
            storage: i === 0,
            schema: { openAPIV3Schema: structuredClone(schema) as unknown as JsonObject },
            ...(entry.status === undefined ? {} : { subresources: { status: {} } }),
            ...(entry.columns === undefined
              ? {}
              : {
                  additionalPrinterColumns: entry.columns.map(([column, jsonPath, type]) => ({
                    name: column,
                    jsonPath,
                    type,
                  })),
                }),
          })),
        },
      });
    }
  }
  return out;
}
