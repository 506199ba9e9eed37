// What MeshConfig says to waypoints.
import type { Lookup } from '../lookup.ts';
import type { Translation } from '../translation.ts';

export function translateMeshSettings(_lookup: Lookup): Pick<Translation, 'waypoint' | 'problems'> {
  return { waypoint: [], problems: [] };
}
