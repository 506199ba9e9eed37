// A policy that cannot be read, and was never read before, may be the one that keeps somebody out: until a form of it
// comes that can be read, everything at this waypoint is refused in its name (D8).
import { waypointResourceName, type HttpPolicy, type WaypointResource } from '#/model/index.ts';
import type { Rejection } from '#/xds/index.ts';

const prefix = waypointResourceName({ kind: 'http-policy', name: '' });

export class UnreadablePolicies {
  readonly #read = new Set<string>();

  /** After each push: what is to stand in for policies that could not be read. */
  standIns(
    good: readonly WaypointResource[],
    bad: readonly Rejection[],
    removed: readonly string[],
  ): readonly HttpPolicy[] {
    for (const name of removed) this.#read.delete(name);
    for (const resource of good)
      if (resource.kind === 'http-policy') this.#read.add(waypointResourceName(resource));
    return bad
      .filter(({ name }) => name.startsWith(prefix) && !this.#read.has(name))
      .map(({ name }) => ({
        kind: 'http-policy',
        name: name.slice(prefix.length),
        targets: [{ kind: 'all-waypoints' }],
        action: 'Deny',
        rules: [{ from: [], to: [], when: [] }],
        dryRun: false,
      }));
  }
}
