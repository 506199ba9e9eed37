// What a waypoint's Gateway says of itself. Pure.
import type { Deployment, KubeService } from '#/kube/index.ts';
import { conditionsAt, type Wanted } from './conditions.ts';
import {
  hbonePort,
  isManaged,
  objectName,
  type Gateway,
  type GatewayAddressValue,
  type GatewayStatus,
  type Listener,
  type ListenerStatus,
} from './gateway-object.ts';

/** Why its objects could not be made: the reason of the condition that tells it, and what to do. */
export interface GatewayProblem {
  readonly condition: 'Accepted' | 'Programmed';
  readonly reason: string;
  readonly message: string;
}

export interface StatusInput {
  readonly gateway: Gateway;
  readonly service: KubeService | undefined;
  readonly deployment: Deployment | undefined;
  readonly clusterDomain: string;
  readonly problem?: GatewayProblem | undefined;
  /** Programmed as soon as there is an address, as upstream; else when a pod is ready, too. */
  readonly addressSuffices: boolean;
  readonly nowMs: number;
}

const maxAddresses = 16;

const ipAddresses = (values: readonly string[]): readonly GatewayAddressValue[] =>
  values.map((value) => ({ type: 'IPAddress', value }));

/** The name of the Service behind a Gateway that has none of its own. */
export function referredHostname(gateway: Gateway, domain: string): string {
  const value = gateway.spec.addresses?.find(({ type }) => type === 'Hostname')?.value ?? '';
  return value === '' || value.includes('.') ? value : `${value}.${gateway.metadata.namespace}.svc.${domain}`;
}

/**
 * Name and addresses: releases of Istio differ in which of them they read. A waypoint without any counts as not ready,
 * so they stay when its pods are gone.
 */
function addressesOf({ gateway, service, clusterDomain }: StatusInput): readonly GatewayAddressValue[] {
  if (service === undefined) return [];
  const { clusterIPs, clusterIP } = service.spec;
  const cluster = ipAddresses((clusterIPs ?? [clusterIP ?? '']).filter((ip) => ip !== '' && ip !== 'None'));
  if (!isManaged(gateway))
    return [{ type: 'Hostname', value: referredHostname(gateway, clusterDomain) }, ...cluster];
  const hostname = {
    type: 'Hostname',
    value: `${objectName(gateway)}.${gateway.metadata.namespace}.svc.${clusterDomain}`,
  };
  if (service.spec.type === 'LoadBalancer') {
    const ingress = service.status?.loadBalancer?.ingress ?? [];
    const outside = ipAddresses(ingress.map(({ ip }) => ip ?? '').filter((ip) => ip !== ''));
    const names = ingress
      .map(({ hostname: value }) => value ?? '')
      .filter((value) => value !== '')
      .map((value) => ({ type: 'Hostname', value }));
    return outside.length + names.length === 0 ? [] : [hostname, ...names, ...outside].slice(0, maxAddresses);
  }
  return cluster.length === 0 ? [] : [hostname, ...cluster].slice(0, maxAddresses);
}

const isHbone = ({ port, protocol }: Listener): boolean => port === hbonePort && protocol === 'HBONE';

function acceptance({ gateway, problem }: StatusInput): Wanted {
  if (problem?.condition === 'Accepted')
    return { type: 'Accepted', status: false, reason: problem.reason, message: problem.message };
  return (gateway.spec.listeners ?? []).some(isHbone)
    ? { type: 'Accepted', status: true, reason: 'Accepted', message: 'Resource accepted' }
    : {
        type: 'Accepted',
        status: false,
        reason: 'ListenersNotValid',
        message: `a waypoint needs a listener of protocol HBONE on port ${hbonePort}: add one`,
      };
}

function programming(
  { gateway, service, deployment, problem, addressSuffices }: StatusInput,
  addresses: readonly GatewayAddressValue[],
): Wanted {
  const not = (reason: string, message: string): Wanted => ({
    type: 'Programmed',
    status: false,
    reason,
    message,
  });
  const name = `${gateway.metadata.namespace}/${objectName(gateway)}`;
  if (problem !== undefined)
    return not(problem.reason === 'InvalidParameters' ? 'Invalid' : problem.reason, problem.message);
  if (service === undefined)
    return not(
      'AddressNotAssigned',
      isManaged(gateway)
        ? `Service ${name} is not there yet`
        : 'there is no Service of the name in spec.addresses: create it, or leave the addresses out',
    );
  if (addresses.length === 0)
    return not(
      'AddressNotAssigned',
      service.spec.type === 'LoadBalancer'
        ? `Service ${name} waits for an address of the load balancer`
        : `Service ${name} has no address`,
    );
  if (isManaged(gateway) && !addressSuffices && (deployment?.status?.availableReplicas ?? 0) === 0)
    return not('Pending', `no pod of Deployment ${name} is ready yet`);
  const hostname = addresses.find(({ type }) => type === 'Hostname')?.value ?? '';
  return {
    type: 'Programmed',
    status: true,
    reason: 'Programmed',
    message: `Resource programmed, assigned to service(s) ${hostname}:${hbonePort}`,
  };
}

function listenerStatus(input: StatusInput, listener: Listener): ListenerStatus {
  const { gateway, nowMs } = input;
  const before = gateway.status?.listeners?.find(({ name }) => name === listener.name);
  const good = isHbone(listener);
  const none = 'No errors found';
  const why = good ? none : `a waypoint's listener has protocol HBONE and port ${hbonePort}`;
  // Routes of a mesh have Services as parents: a listener of HBONE takes none, so there is nothing to name in kinds.
  const kinds = (listener.allowedRoutes?.kinds ?? []).length > 0;
  return {
    name: listener.name,
    attachedRoutes: 0,
    supportedKinds: [],
    conditions: conditionsAt(
      [
        { type: 'Accepted', status: good, reason: good ? 'Accepted' : 'UnsupportedProtocol', message: why },
        { type: 'Conflicted', status: false, reason: 'NoConflicts', message: none },
        { type: 'Programmed', status: good, reason: good ? 'Programmed' : 'Invalid', message: why },
        {
          type: 'ResolvedRefs',
          status: !kinds,
          reason: kinds ? 'InvalidRouteKinds' : 'ResolvedRefs',
          message: kinds
            ? 'routes of a waypoint have Services as parents: leave allowedRoutes.kinds out'
            : none,
        },
      ],
      before?.conditions,
      gateway.metadata.generation,
      nowMs,
    ),
  };
}

export function gatewayStatus(input: StatusInput): Required<GatewayStatus> {
  const { gateway, nowMs } = input;
  const addresses = addressesOf(input);
  return {
    addresses,
    conditions: conditionsAt(
      [acceptance(input), programming(input, addresses)],
      gateway.status?.conditions,
      gateway.metadata.generation,
      nowMs,
    ),
    listeners: (gateway.spec.listeners ?? []).map((listener) => listenerStatus(input, listener)),
  };
}
