// Policies that name what they are for (`targetRefs`) are a waypoint's; here is only whether it will have them.
import type { TargetRef } from './authorization-policy.ts';
import type { Lookup } from './lookup.ts';
import { visibilityOf } from './service-entry-hosts.ts';
import { conditionType, type WantedCondition } from './translation.ts';
import { bindService, findWaypoint, type WaypointBinding } from './waypoint.ts';
import { objectKey } from './object.ts';

/** A policy of any kind, as far as its targets go. */
export interface Targeting {
  readonly namespace: string;
  readonly generation: number;
  readonly targets: readonly TargetRef[];
}

interface TargetStatus {
  readonly bound: boolean;
  readonly reason: 'Accepted' | 'Invalid' | 'AncestorNotBound' | 'TargetNotFound';
  readonly message: string;
}

const bound = (to: string): TargetStatus => ({ bound: true, reason: 'Accepted', message: `bound to ${to}` });
const invalid = (message: string): TargetStatus => ({ bound: false, reason: 'Invalid', message });
const missing = (what: string): TargetStatus => ({
  bound: false,
  reason: 'TargetNotFound',
  message: `${what} was not found`,
});

function ofBinding(what: string, binding: WaypointBinding): TargetStatus {
  return binding.waypoint === undefined
    ? { bound: false, reason: 'AncestorNotBound', message: `${what} is not bound to a waypoint` }
    : bound(objectKey(binding.waypoint));
}

function statusOf(policy: Targeting, target: TargetRef, lookup: Lookup): TargetStatus {
  const namespace = target.namespace ?? policy.namespace;
  const what = `${target.kind} ${namespace}/${target.name}`;
  if (namespace !== policy.namespace)
    return invalid(`${what}: a policy can only refer to objects of its own namespace`);
  switch (target.kind) {
    case 'GatewayClass': {
      const { rootNamespace } = lookup.mesh;
      if (namespace !== rootNamespace)
        return invalid(`a policy for a GatewayClass must be in the root namespace ${rootNamespace}`);
      const found = lookup.gatewayClass(target.name);
      if (found === undefined) return missing(`GatewayClass ${target.name}`);
      return found.controller === 'istio.io/mesh-controller'
        ? bound(target.name)
        : invalid(`GatewayClass ${target.name} is not of the controller istio.io/mesh-controller`);
    }
    case 'Gateway': {
      const waypoint = findWaypoint(lookup, namespace, target.name);
      return waypoint?.address === undefined ? missing(what) : bound(objectKey(waypoint));
    }
    case 'Service': {
      const service = lookup.service(namespace, target.name);
      return service === undefined ? missing(what) : ofBinding(what, bindService(lookup, service));
    }
    case 'ServiceEntry': {
      const entry = lookup.serviceEntry(namespace, target.name);
      const own = visibilityOf(lookup, namespace) === 'NAMESPACE';
      return entry === undefined ? missing(what) : ofBinding(what, bindService(lookup, entry, own));
    }
    default:
      return invalid(`policies cannot refer to a ${target.kind}`);
  }
}

/** All targets in one condition: true if one is bound. */
export function targetCondition(policy: Targeting, lookup: Lookup): WantedCondition {
  const statuses = policy.targets.map((target) => ({ target, status: statusOf(policy, target, lookup) }));
  const base = { type: conditionType.waypointAccepted, observedGeneration: policy.generation };
  const [only] = statuses;
  if (only !== undefined && statuses.length === 1)
    return { ...base, status: only.status.bound, reason: only.status.reason, message: only.status.message };
  const unbound = statuses.filter(({ status }) => !status.bound);
  const message = unbound
    .map(({ target, status }) => {
      const group = target.group === '' ? 'core' : target.group;
      return `${target.kind}.${group}:${policy.namespace}/${target.name} (${status.message})`;
    })
    .join(', ');
  return {
    ...base,
    status: unbound.length < statuses.length,
    reason:
      unbound.length === 0 ? 'Accepted' : unbound.length < statuses.length ? 'PartiallyInvalid' : 'Invalid',
    message: unbound.length === 0 ? `bound to ${statuses.length} targets` : `invalid targetRefs: ${message}`,
  };
}
