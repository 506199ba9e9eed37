// Everything that a waypoint is told beyond services, workloads and identities.
import type { DestinationPolicy, SubsetMembers } from './destination-policy.ts';
import type { Extension } from './extension.ts';
import type { Provider, WaypointMesh } from './provider.ts';
import type { HttpRoute, TcpRoute } from './route.ts';
import type { HttpPolicy, RequestAuthentication } from './security.ts';
import type { Telemetry } from './telemetry.ts';
import type { TrafficPolicy } from './traffic-policy.ts';

export type WaypointResource =
  | HttpRoute
  | TcpRoute
  | DestinationPolicy
  | SubsetMembers
  | HttpPolicy
  | RequestAuthentication
  | Telemetry
  | Provider
  | WaypointMesh
  | TrafficPolicy
  | Extension;

export type WaypointResourceKind = WaypointResource['kind'];

/** The name on the wire: unique over all kinds. */
export const waypointResourceName = ({ kind, name }: Pick<WaypointResource, 'kind' | 'name'>): string =>
  `${kind}:${name}`;
