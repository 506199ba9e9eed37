// Gateways and GatewayClasses as this folder reads them, and the names that go with them. The names are upstream's.
import type { Condition, KubeObject } from '#/kube/index.ts';

export const waypointClass = 'istio-waypoint';
/** `spec.controllerName` of classes whose Gateways are waypoints. */
export const meshController = 'istio.io/mesh-controller';
/** Field manager of server-side apply. */
export const gatewayManager = 'istio.io/gateway-controller';
/** Larger numbers win a Gateway; every Istio since 1.18 writes 5. */
export const controllerVersion = 5;
export const hbonePort = 15008;
export const statusPort = 15021;

export const gatewayLabel = {
  name: 'gateway.networking.k8s.io/gateway-name',
  className: 'gateway.networking.k8s.io/gateway-class-name',
  managed: 'gateway.istio.io/managed',
  revision: 'istio.io/rev',
  classDefaults: 'gateway.istio.io/defaults-for-class',
  network: 'topology.istio.io/network',
} as const;

/** Value of the label `gateway.istio.io/managed`. */
export const managedByMesh = meshController.replaceAll('/', '-');

export const gatewayAnnotation = {
  controllerVersion: 'gateway.istio.io/controller-version',
  nameOverride: 'gateway.istio.io/name-override',
  serviceAccount: 'gateway.istio.io/service-account',
  serviceType: 'networking.istio.io/service-type',
  lastApplied: 'kubectl.kubernetes.io/last-applied-configuration',
  proxyImage: 'sidecar.istio.io/proxyImage',
  logLevel: 'sidecar.istio.io/logLevel',
  clientIdentity: 'ambient.istio.io/xfcc-include-client-identity',
} as const;

export interface RouteKind {
  readonly group?: string;
  readonly kind: string;
}

export interface Listener {
  readonly name: string;
  readonly port: number;
  readonly protocol: string;
  readonly allowedRoutes?: { readonly kinds?: readonly RouteKind[] };
}

export interface GatewayAddressValue {
  readonly type?: string;
  readonly value?: string;
}

export interface ListenerStatus {
  readonly name: string;
  readonly attachedRoutes: number;
  readonly supportedKinds: readonly RouteKind[];
  readonly conditions: readonly Condition[];
}

export interface GatewayStatus {
  readonly addresses?: readonly GatewayAddressValue[];
  readonly conditions?: readonly Condition[];
  readonly listeners?: readonly ListenerStatus[];
}

export interface Gateway extends KubeObject {
  readonly spec: {
    readonly gatewayClassName: string;
    readonly listeners?: readonly Listener[];
    readonly addresses?: readonly GatewayAddressValue[];
    readonly infrastructure?: {
      readonly labels?: Readonly<Record<string, string>>;
      readonly annotations?: Readonly<Record<string, string>>;
      readonly parametersRef?: { readonly group: string; readonly kind: string; readonly name: string };
    };
  };
  readonly status?: GatewayStatus;
}

export interface GatewayClass extends KubeObject {
  readonly spec: { readonly controllerName: string; readonly description?: string };
  readonly status?: {
    readonly conditions?: readonly Condition[];
    readonly supportedFeatures?: readonly { readonly name: string }[];
  };
}

/** Whether the Gateway gets a Deployment of its own; one with a hostname stands for something that is there. */
export function isManaged({ spec: { addresses = [] } }: Gateway): boolean {
  const [only, second] = addresses;
  return only === undefined || (second === undefined && (only.type ?? 'IPAddress') === 'IPAddress');
}

export type Claim = 'ours' | 'another-version' | 'unknown-version';

/** The annotation by which two controllers do not fight over a Gateway. */
export function claim({ metadata: { annotations } }: Gateway): Claim {
  const written = annotations?.[gatewayAnnotation.controllerVersion];
  if (written === undefined) return 'ours';
  if (!/^[0-9]{1,9}$/.test(written)) return 'unknown-version';
  return Number(written) > controllerVersion ? 'another-version' : 'ours';
}

/** Name of Deployment and Service. */
export const objectName = ({ metadata }: Gateway): string =>
  metadata.annotations?.[gatewayAnnotation.nameOverride] || metadata.name;

export const accountName = ({ metadata }: Gateway): string =>
  metadata.annotations?.[gatewayAnnotation.serviceAccount] || metadata.name;

/** The revision that a Gateway asks for: its own label, else its namespace's, else the default one. */
export const wantedRevision = (
  gateway: Gateway,
  namespaceLabels: Readonly<Record<string, string>> | undefined,
): string =>
  gateway.metadata.labels?.[gatewayLabel.revision] || namespaceLabels?.[gatewayLabel.revision] || 'default';
