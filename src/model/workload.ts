// A workload: one thing with addresses that sends and takes connections, in most cases a pod.
// Field by field the `istio.workload.Workload` of the wire, with its defaults filled in.
import type { Ip } from '#/kit/index.ts';
import { identityOf, parseIdentity, type Identity } from './identity.ts';

export const tunnelProtocols = ['TCP', 'HBONE'] as const;
export type TunnelProtocol = (typeof tunnelProtocols)[number];
export type WorkloadType = 'deployment' | 'cronjob' | 'pod' | 'job';

/** `namespace/hostname`, the key of a service. */
export type ServiceKey = string;

export interface NetworkAddress {
  readonly network: string;
  readonly ip: Ip;
}

export interface NamespacedHostname {
  readonly namespace: string;
  readonly hostname: string;
}

export interface GatewayAddress {
  readonly destination:
    | ({ readonly kind: 'address' } & NetworkAddress)
    | ({ readonly kind: 'hostname' } & NamespacedHostname);
  readonly hboneMtlsPort: number;
}

export interface Locality {
  readonly region: string;
  readonly zone: string;
  readonly subzone: string;
}

export interface ApplicationTunnel {
  readonly protocol: 'NONE' | 'PROXY';
  /** 0 or absent: the port of the request. */
  readonly port: number;
}

export interface Workload {
  readonly kind: 'workload';
  readonly uid: string;
  readonly name: string;
  readonly namespace: string;
  readonly addresses: readonly Ip[];
  /** A DNS name to resolve when there is no address; empty otherwise. */
  readonly hostname: string;
  readonly network: string;
  readonly protocol: TunnelProtocol;
  readonly networkMode: 'Standard' | 'HostNetwork';
  readonly trustDomain: string;
  readonly serviceAccount: string;
  readonly node: string;
  readonly canonicalName: string;
  readonly canonicalRevision: string;
  readonly workloadType: WorkloadType;
  readonly workloadName: string;
  readonly nativeTunnel: boolean;
  /** Names (`ns/name`) of the selector policies that apply here. */
  readonly authorizationPolicies: readonly string[];
  readonly status: 'Healthy' | 'Unhealthy';
  readonly clusterId: string;
  readonly locality: Locality;
  /** By service key: the service's port → the port on this workload. */
  readonly services: Readonly<Record<ServiceKey, readonly PortMapping[]>>;
  readonly capacity: number;
  readonly waypoint?: GatewayAddress;
  readonly networkGateway?: GatewayAddress;
  readonly applicationTunnel?: ApplicationTunnel;
}

export interface PortMapping {
  readonly servicePort: number;
  /** 0 when the service names the port and the name is resolved per workload. */
  readonly targetPort: number;
}

export function workloadIdentity(
  workload: Pick<Workload, 'trustDomain' | 'namespace' | 'serviceAccount'>,
): Identity {
  return identityOf(workload.trustDomain, workload.namespace, workload.serviceAccount);
}

const identities = new WeakMap<Workload, Identity | null>();

/** As workloadIdentity, but undefined where a record's names make none (a slash, an empty part). Made once per record. */
export function knownIdentity(workload: Workload): Identity | undefined {
  const kept = identities.get(workload);
  if (kept !== undefined) return kept ?? undefined;
  const { trustDomain, namespace, serviceAccount } = workload;
  const made = parseIdentity(`spiffe://${trustDomain}/ns/${namespace}/sa/${serviceAccount}`);
  identities.set(workload, made ?? null);
  return made;
}

export const emptyLocality: Locality = { region: '', zone: '', subzone: '' };
