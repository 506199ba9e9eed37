// What a ServiceEntry's status says of its waypoint and of who can see it.
import type { ServiceEntryFacts } from './service-entry.ts';
import type { MeshSettings } from './settings.ts';
import { conditionType, type WantedCondition } from './translation.ts';
import type { WaypointBinding } from './waypoint.ts';
import { waypointBound, type BoundExtras } from './waypoint-conditions.ts';

function waypointMissing(entry: ServiceEntryFacts): readonly WantedCondition[] {
  const missing = (reason: string, message: string): readonly WantedCondition[] => [
    { type: conditionType.waypointMissing, status: true, reason, message },
  ];
  if (entry.racesConnects)
    return missing(
      'NoWaypointForRacingConnectStrategy',
      'the connect strategy has no effect until the ServiceEntry is bound to a waypoint',
    );
  if (entry.hosts.some((host) => host.startsWith('*')))
    return missing(
      'NoWaypointForWildcardService',
      'a wildcard host has no effect until the ServiceEntry is bound to a waypoint',
    );
  return [];
}

export function serviceEntryConditions(
  entry: ServiceEntryFacts,
  binding: WaypointBinding,
  extras: BoundExtras,
  visibility: 'PUBLIC' | 'NAMESPACE',
  mesh: MeshSettings,
): readonly WantedCondition[] {
  const conditions = [...waypointBound(binding, extras)];
  if (binding.waypoint === undefined) conditions.push(...waypointMissing(entry));
  if (mesh.serviceEntryVisibility !== undefined)
    conditions.push({
      type: conditionType.visibilityApplied,
      status: true,
      reason: visibility === 'PUBLIC' ? 'Public' : 'Namespace',
      message:
        visibility === 'PUBLIC'
          ? 'visible to the whole mesh'
          : 'visible in its own namespace only, as serviceEntryVisibility of the mesh has it',
    });
  return conditions;
}
