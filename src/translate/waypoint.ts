// Which Gateways are waypoints, and what an object's `istio.io/use-waypoint` binds it to.
// A waypoint that is named but cannot be used is not bypassed (decision D8): the object gets an address at which
// nothing answers, so that clients refuse, and its status says why. `upstreamCompat` leaves the address out.
import { parseIp } from '#/kit/index.ts';
import type { ApplicationTunnel, GatewayAddress, WeightedWaypoint } from '#/model/index.ts';
import {
  parseInboundBinding,
  type GatewayClassFacts,
  type GatewayFacts,
  type GatewayListener,
} from './gateway.ts';
import { clusterNetwork, type Lookup } from './lookup.ts';
import {
  annotation,
  hbonePort,
  label,
  managedGateways,
  waypointClasses,
  waypointControllers,
} from './names.ts';
import { annotationsOf, labelsOf, objectKey, type SourceObject } from './object.ts';
import { isTrue } from './read.ts';
import { matchesSelector } from './selector.ts';

/** The labels and annotations by which an object asks for a waypoint. */
export interface WaypointWish {
  readonly use: string | undefined;
  readonly useNamespace: string | undefined;
  readonly canary: string | undefined;
  readonly canaryNamespace: string | undefined;
  readonly canaryWeight: string | undefined;
  readonly ingress: string | undefined;
  readonly managed: string | undefined;
  /** The Gateway that this object is an instance of. */
  readonly instanceOf: string | undefined;
}

export function readWaypointWish(
  labels: Readonly<Record<string, string>>,
  canaryWeight?: string,
): WaypointWish {
  return {
    use: labels[label.useWaypoint],
    useNamespace: labels[label.useWaypointNamespace],
    canary: labels[label.useWaypointCanary],
    canaryNamespace: labels[label.useWaypointCanaryNamespace],
    canaryWeight,
    ingress: labels[label.ingressUseWaypoint],
    managed: labels[label.gatewayManaged],
    instanceOf: labels[label.gatewayName],
  };
}

export function waypointWishOf(object: SourceObject): WaypointWish {
  return readWaypointWish(labelsOf(object), annotationsOf(object)[annotation.canaryWeight]);
}

export interface Waypoint {
  readonly namespace: string;
  readonly name: string;
  readonly trafficType: string;
  readonly address: GatewayAddress | undefined;
  readonly binding: ApplicationTunnel | undefined;
  readonly listener: Pick<GatewayListener, 'from' | 'selector'>;
}

export interface BindingProblem {
  readonly reason:
    | 'WaypointIsNotReady'
    | 'AttachmentDenied'
    | 'UnsupportedTrafficType'
    | 'CanaryInvalidWeight'
    | 'CanarySameAsPrimary'
    | 'CrossNamespaceWaypointForbidden';
  readonly message: string;
}

export interface WaypointBinding {
  /** Set when the object is bound. */
  readonly waypoint?: Waypoint;
  /** What the record carries: the waypoint's address, or one at which traffic is refused. */
  readonly address?: GatewayAddress;
  readonly problem?: BindingProblem;
}

function isWaypoint(gateway: GatewayFacts, gatewayClass: GatewayClassFacts | undefined): boolean {
  if (
    gatewayClass === undefined
      ? waypointClasses.includes(gateway.className)
      : waypointControllers.includes(gatewayClass.controller)
  )
    return true;
  // A waypoint of a foreign controller (a "sandwich") says so itself.
  const declared = [
    gateway.waypointFor,
    gateway.inboundBinding,
    gatewayClass?.waypointFor,
    gatewayClass?.inboundBinding,
  ];
  return declared.some((value) => value !== undefined);
}

function addressOf(lookup: Lookup, gateway: GatewayFacts): GatewayAddress | undefined {
  // A host name is preferred: it is the key of a service, while addresses may be given to another one.
  const hostname = gateway.addresses.find((address) => address.type === 'Hostname');
  if (hostname !== undefined)
    return {
      destination: { kind: 'hostname', namespace: gateway.namespace, hostname: hostname.value },
      hboneMtlsPort: hbonePort,
    };
  for (const address of gateway.addresses) {
    const ip = address.type === 'IPAddress' ? parseIp(address.value) : undefined;
    if (ip !== undefined)
      return {
        destination: { kind: 'address', network: clusterNetwork(lookup), ip },
        hboneMtlsPort: hbonePort,
      };
  }
  return undefined;
}

function boundListener(gateway: GatewayFacts, binding: ApplicationTunnel | undefined): Waypoint['listener'] {
  const bound =
    binding === undefined
      ? undefined
      : gateway.listeners.find((listener) =>
          binding.port === 0
            ? binding.protocol === 'PROXY' && listener.protocol === 'istio.io/PROXY'
            : listener.port === binding.port,
        );
  return (
    bound ??
    gateway.listeners.find((listener) => listener.protocol === 'HBONE' && listener.port === hbonePort) ?? {
      from: 'Same',
      selector: undefined,
    }
  );
}

/** The waypoint of that name; undefined if there is no such Gateway or it is not a waypoint. */
export function findWaypoint(lookup: Lookup, namespace: string, name: string): Waypoint | undefined {
  const gateway = lookup.gateway(namespace, name);
  if (gateway === undefined) return undefined;
  const gatewayClass = lookup.gatewayClass(gateway.className);
  if (!isWaypoint(gateway, gatewayClass)) return undefined;
  const binding = parseInboundBinding(gateway.inboundBinding ?? gatewayClass?.inboundBinding);
  return {
    namespace,
    name,
    trafficType: gateway.waypointFor ?? gatewayClass?.waypointFor ?? 'service',
    address: addressOf(lookup, gateway),
    binding,
    listener: boundListener(gateway, binding),
  };
}

export interface Bound {
  readonly namespace: string;
  readonly waypoint: WaypointWish;
}

/** Which waypoint is asked for: by the object itself, or else by its namespace. */
export function wanted(
  lookup: Lookup,
  object: Bound,
): { namespace: string; name: string; own: boolean } | undefined {
  const own = object.waypoint.use;
  if (own !== undefined)
    return own === 'none'
      ? undefined
      : { name: own, namespace: object.waypoint.useNamespace ?? object.namespace, own: true };
  const labels = lookup.namespace(object.namespace)?.labels;
  const inherited = labels?.[label.useWaypoint];
  return inherited === undefined || inherited === 'none'
    ? undefined
    : { name: inherited, namespace: labels?.[label.useWaypointNamespace] ?? object.namespace, own: false };
}

export function admits(lookup: Lookup, waypoint: Waypoint, namespace: string): boolean {
  switch (waypoint.listener.from) {
    case 'All':
      return true;
    case 'Same':
      return waypoint.namespace === namespace;
    case 'Selector':
      return (
        waypoint.listener.selector !== undefined &&
        matchesSelector(waypoint.listener.selector, lookup.namespace(namespace)?.labels ?? {})
      );
  }
}

const refusedAt = (namespace: string, hostname: string): GatewayAddress => ({
  destination: { kind: 'hostname', namespace, hostname },
  hboneMtlsPort: hbonePort,
});

function refuse(lookup: Lookup, address: GatewayAddress, problem: BindingProblem): WaypointBinding {
  if (lookup.mesh.upstreamCompat) return { problem };
  return {
    address,
    problem: { ...problem, message: `${problem.message}; traffic is refused until this is resolved` },
  };
}

function notReady(lookup: Lookup, namespace: string, name: string): WaypointBinding {
  // The name that the waypoint's Service will have: the reference comes alive as soon as it does.
  return refuse(lookup, refusedAt(namespace, `${name}.${namespace}.svc.${lookup.mesh.clusterDomain}`), {
    reason: 'WaypointIsNotReady',
    message: whyNotReady(lookup, namespace, name),
  });
}

function whyNotReady(lookup: Lookup, namespace: string, name: string): string {
  const gateway = lookup.gateway(namespace, name);
  if (gateway === undefined) return `waypoint "${namespace}/${name}" is not ready: there is no such Gateway`;
  if (!isWaypoint(gateway, lookup.gatewayClass(gateway.className)))
    return `waypoint "${namespace}/${name}" is not ready: the Gateway is of class "${gateway.className}", which is not for waypoints`;
  return `waypoint "${namespace}/${name}" is not ready: its status has no address`;
}

function denied(lookup: Lookup, waypoint: Waypoint): WaypointBinding {
  // Not the waypoint's own name: its owner has not agreed to get this traffic.
  return refuse(lookup, refusedAt(waypoint.namespace, 'attachment-denied.invalid'), {
    reason: 'AttachmentDenied',
    message: `waypoint "${objectKey(waypoint)}" does not take this namespace (see allowedRoutes of its listener)`,
  });
}

function unsupported(waypoint: Waypoint, type: string): BindingProblem {
  return {
    reason: 'UnsupportedTrafficType',
    message: `waypoint "${objectKey(waypoint)}" takes traffic of type "${waypoint.trafficType}", not "${type}" (label istio.io/waypoint-for)`,
  };
}

/** The binding of a Service or ServiceEntry. `ownNamespaceOnly`: it may not be shown to another namespace. */
export function bindService(lookup: Lookup, object: Bound, ownNamespaceOnly = false): WaypointBinding {
  if (object.waypoint.managed !== undefined && managedGateways.includes(object.waypoint.managed)) return {};
  const target = wanted(lookup, object);
  if (target === undefined) return {};
  const waypoint = findWaypoint(lookup, target.namespace, target.name);
  if (waypoint?.address === undefined) {
    // A waypoint for workloads alone would not be bound either way.
    if (waypoint !== undefined && !['service', 'all'].includes(waypoint.trafficType))
      return { problem: unsupported(waypoint, 'service') };
    return notReady(lookup, target.namespace, target.name);
  }
  if (!admits(lookup, waypoint, object.namespace)) return denied(lookup, waypoint);
  if (waypoint.trafficType !== 'service' && waypoint.trafficType !== 'all')
    return { problem: unsupported(waypoint, 'service') };
  if (ownNamespaceOnly && waypoint.namespace !== object.namespace)
    return refuse(lookup, refusedAt(waypoint.namespace, 'attachment-denied.invalid'), {
      reason: 'CrossNamespaceWaypointForbidden',
      message:
        `waypoint "${objectKey(waypoint)}" is in another namespace, ` +
        'to which a ServiceEntry with NAMESPACE visibility is not shown',
    });
  return { waypoint, address: waypoint.address };
}

/** The binding of a workload: only waypoints for `workload` or `all` take traffic to its own address. */
export function bindWorkload(lookup: Lookup, object: Bound): WaypointBinding {
  const target = wanted(lookup, object);
  if (target === undefined) return {};
  const waypoint = findWaypoint(lookup, target.namespace, target.name);
  if (waypoint === undefined) {
    // Its traffic type is not known. What the namespace passes on counts as `service`, the default.
    return target.own || lookup.mesh.upstreamCompat ? notReady(lookup, target.namespace, target.name) : {};
  }
  if (waypoint.address !== undefined && !admits(lookup, waypoint, object.namespace)) {
    return target.own || waypoint.trafficType !== 'service' ? denied(lookup, waypoint) : {};
  }
  if (waypoint.trafficType !== 'workload' && waypoint.trafficType !== 'all')
    return target.own ? { problem: unsupported(waypoint, 'workload') } : {};
  if (waypoint.address === undefined) return notReady(lookup, target.namespace, target.name);
  return { waypoint, address: waypoint.address };
}

/** For pods that are a waypoint's instances: where ztunnel hands over what it has unwrapped. */
export function instanceOfWaypoint(lookup: Lookup, object: Bound): Waypoint | undefined {
  const name = object.waypoint.instanceOf;
  return name === undefined ? undefined : findWaypoint(lookup, object.namespace, name);
}

/** Weights of the primary and the canary; a canary that cannot be used leaves the primary alone, and says so. */
export function weightedWaypoints(
  lookup: Lookup,
  object: Bound,
  primary: Waypoint,
): {
  readonly weighted: readonly WeightedWaypoint[];
  readonly canary?: Waypoint;
  readonly problem?: BindingProblem;
} {
  // The namespace is asked only where it is asked for the primary, too.
  const namespace = object.waypoint.use === undefined ? lookup.namespace(object.namespace) : undefined;
  const inherited = object.waypoint.canary === undefined && namespace !== undefined;
  const name = inherited ? namespace.labels[label.useWaypointCanary] : object.waypoint.canary;
  if (name === undefined || name === '' || name === 'none') return { weighted: [] };
  const from = inherited
    ? namespace.labels[label.useWaypointCanaryNamespace]
    : object.waypoint.canaryNamespace;
  const where = from ?? object.namespace;
  const key = `${where}/${name}`;
  const failed = (reason: BindingProblem['reason'], message: string) => ({
    weighted: [],
    problem: { reason, message },
  });
  if (key === objectKey(primary))
    return failed('CanarySameAsPrimary', `canary waypoint "${key}" is the primary waypoint`);
  const weightText = object.waypoint.canaryWeight ?? namespace?.canaryWeight ?? '0';
  const weight = /^[0-9]{1,3}$/.test(weightText) ? Number(weightText) : 101;
  if (weight > 100)
    return failed(
      'CanaryInvalidWeight',
      `the weight of canary waypoint "${key}" is not a whole number from 0 to 100`,
    );
  const canary = findWaypoint(lookup, where, name);
  if (canary?.address === undefined || primary.address === undefined)
    return failed('WaypointIsNotReady', whyNotReady(lookup, where, name));
  if (!admits(lookup, canary, object.namespace))
    return failed(
      'AttachmentDenied',
      `waypoint "${key}" does not take this namespace (see allowedRoutes of its listener)`,
    );
  if (canary.trafficType !== 'service' && canary.trafficType !== 'all')
    return { weighted: [], problem: unsupported(canary, 'service') };
  return {
    weighted: [
      { destination: primary.address, weight: 100 - weight },
      { destination: canary.address, weight },
    ],
    canary,
  };
}

/** `istio.io/ingress-use-waypoint` of the object, else of its namespace. Undefined: not said. */
export function ingressUsesWaypoint(lookup: Lookup, object: Bound): boolean | undefined {
  const value =
    object.waypoint.ingress ?? lookup.namespace(object.namespace)?.labels[label.ingressUseWaypoint];
  return value === undefined ? undefined : isTrue(value);
}
