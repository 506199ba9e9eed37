// The objects of a running mesh: every kind that translation reads, and those that only analysis looks at.
import { objectDocument, type SourceDocument } from '#/analysis/index.ts';
import { errorText } from '#/errors/index.ts';
import {
  authorizationPolicies,
  configMaps,
  defineResource,
  destinationRules,
  endpointSlices,
  envoyFilters,
  gatewayClasses,
  gateways,
  grpcRoutes,
  httpRoutes,
  isNotFound,
  KubeError,
  namespaces,
  nodes,
  peerAuthentications,
  pods,
  requestAuthentications,
  serviceAccounts,
  serviceEntries,
  services,
  sidecars,
  virtualServices,
  wasmPlugins,
  workloadEntries,
  deployments,
  statefulSets,
  daemonSets,
  extensions,
  tcpRoutes,
  telemetries,
  tlsRoutes,
  trafficPolicies,
  type KubeClient,
  type KubeObject,
  type Resource,
} from '#/kube/index.ts';
import type { Kind, KindOnDemand, SourceObject } from '#/translate/index.ts';
import type { Objects } from './mesh-objects.ts';

/** A resource for each kind that translation reads, so that a new kind cannot be forgotten here. */
const byKind: Readonly<Record<Exclude<Kind, KindOnDemand>, Resource<KubeObject>>> = {
  Namespace: namespaces,
  Node: nodes,
  Service: services,
  Pod: pods,
  EndpointSlice: endpointSlices,
  GatewayClass: gatewayClasses,
  Gateway: gateways,
  ServiceEntry: serviceEntries,
  WorkloadEntry: workloadEntries,
  AuthorizationPolicy: authorizationPolicies,
  PeerAuthentication: peerAuthentications,
  RequestAuthentication: requestAuthentications,
  HTTPRoute: httpRoutes,
  GRPCRoute: grpcRoutes,
  TCPRoute: tcpRoutes,
  TLSRoute: tlsRoutes,
  VirtualService: virtualServices,
  DestinationRule: destinationRules,
  Telemetry: telemetries,
  TrafficPolicy: trafficPolicies,
  Extension: extensions,
};

const meshKinds = Object.values(byKind);

/** What analysis looks at beside what the mesh is made from. */
const otherKinds: readonly Resource<KubeObject>[] = [
  serviceAccounts,
  deployments,
  statefulSets,
  daemonSets,
  defineResource('networking.k8s.io/v1', 'networkpolicies', 'NetworkPolicy'),
  sidecars,
  envoyFilters,
  wasmPlugins,
];

/** What is asked of an API. */
type Reader = Pick<KubeClient, 'listAll' | 'find'>;

async function listed(
  client: Reader,
  resource: Resource<KubeObject>,
  missing: string[],
): Promise<readonly SourceDocument[]> {
  try {
    const { items } = await client.listAll(resource);
    return items.map((item) => objectDocument(item as SourceObject, resource.kind));
  } catch (error) {
    // A kind that the cluster does not have is none of which there is nothing.
    if (isNotFound(error)) return [];
    if (error instanceof KubeError && error.code === 403) {
      missing.push(`${resource.plural}: ${errorText(error)}`);
      return [];
    }
    throw error;
  }
}

/** The ConfigMaps that Extensions have their modules in. There may be thousands of others, which nobody needs. */
async function modules(
  client: Reader,
  documents: readonly SourceDocument[],
  missing: string[],
): Promise<readonly SourceDocument[]> {
  const wanted = new Map<string, { readonly namespace: string; readonly name: string }>();
  for (const { kind, namespace, object } of documents) {
    if (kind !== 'Extension') continue;
    const spec = object.spec as { moduleFrom?: { configMapKeyRef?: { name?: unknown } } } | undefined;
    const name = spec?.moduleFrom?.configMapKeyRef?.name;
    if (typeof name === 'string') wanted.set(`${namespace}/${name}`, { namespace, name });
  }
  const found = await Promise.all(
    [...wanted.values()].map(async ({ namespace, name }) => {
      try {
        return await client.find(configMaps, namespace, name);
      } catch (error) {
        if (!(error instanceof KubeError) || error.code !== 403) throw error;
        missing.push(`ConfigMap ${namespace}/${name}: ${errorText(error)}`);
        return undefined;
      }
    }),
  );
  return found
    .filter((map) => map !== undefined)
    .map((map) => objectDocument(map as SourceObject, configMaps.kind));
}

/** All objects of the mesh; with `everything`, those that only analysis looks at, too. */
export async function liveObjects(client: Reader, everything: boolean): Promise<Objects> {
  const missing: string[] = [];
  const wanted = everything ? [...meshKinds, ...otherKinds] : meshKinds;
  const lists = await Promise.all(wanted.map((resource) => listed(client, resource, missing)));
  const documents = lists.flat();
  return {
    documents: [...documents, ...(await modules(client, documents, missing))],
    unreadable: [],
    missing,
  };
}
