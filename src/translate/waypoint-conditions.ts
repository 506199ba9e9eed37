// The conditions about waypoints that Services, ServiceEntries and WorkloadEntries get.
import { objectKey } from './object.ts';
import { conditionType, type WantedCondition } from './translation.ts';
import type { BindingProblem, WaypointBinding } from './waypoint.ts';

export interface BoundExtras {
  /** Undefined: no label on the object nor on its namespace. */
  readonly ingress?: boolean | undefined;
  readonly canaryProblem?: BindingProblem | undefined;
}

/** `istio.io/WaypointBound`; none if the object asks for no waypoint. */
export function waypointBound(
  binding: WaypointBinding,
  extras: BoundExtras = {},
): readonly WantedCondition[] {
  if (binding.waypoint !== undefined) {
    let message = `bound to waypoint ${objectKey(binding.waypoint)}`;
    if (extras.ingress === true) message += '; traffic from ingress gateways goes through it';
    else if (extras.ingress === false)
      message += '; traffic from ingress gateways goes round it (istio.io/ingress-use-waypoint is not true)';
    if (extras.canaryProblem !== undefined)
      message += `; its canary is not used: ${extras.canaryProblem.message}`;
    return [{ type: conditionType.waypointBound, status: true, reason: 'WaypointAccepted', message }];
  }
  if (binding.problem === undefined) return [];
  return [
    {
      type: conditionType.waypointBound,
      status: false,
      reason: binding.problem.reason,
      message: binding.problem.message,
    },
  ];
}
