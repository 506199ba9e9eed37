// What a translation gives for waypoints: a noun of layer 7 and the waypoints that need it; and what a route says of
// each of its parents.
import type { WaypointResource } from '#/model/index.ts';
import type { Json } from '../read.ts';
import type { WantedCondition } from '../translation.ts';

export interface WaypointRecord {
  readonly resource: WaypointResource;
  /** `ns/name` of Gateways, sorted. Never empty: what nobody needs is not sent. */
  readonly gateways: readonly string[];
}

/** An entry of `status.parents` of a route. */
export interface ParentStatus {
  /** As it stands in the object. */
  readonly parentRef: Json;
  readonly conditions: readonly WantedCondition[];
}

/** Who writes our entries of `status.parents`. */
export const routeController = 'istio.io/gateway-controller';

/** A record, if anybody needs it. */
export function recordFor(
  gateways: Iterable<string>,
  resource: () => WaypointResource,
): readonly WaypointRecord[] {
  const sorted = [...new Set(gateways)].sort();
  return sorted.length === 0 ? [] : [{ resource: resource(), gateways: sorted }];
}
