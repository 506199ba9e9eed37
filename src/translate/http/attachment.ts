// What a policy's targetRefs mean to waypoints: the targets by their names on the wire, and who must be told.
import type { Target } from '#/model/index.ts';
import type { TargetRef } from '../authorization-policy.ts';
import type { Lookup } from '../lookup.ts';
import { list, optionalText, record, text, type Json } from '../read.ts';
import { objectKey } from '../object.ts';
import { findWaypoint } from '../waypoint.ts';
import { allWaypoints, viewService, viewServiceEntry } from './bindings.ts';

export interface Attached {
  readonly targets: readonly Target[];
  readonly gateways: readonly string[];
}

/** `targetRefs`, or the older `targetRef`. */
export function readTargets(spec: Json): readonly TargetRef[] {
  const several = list(spec['targetRefs']);
  const single = spec['targetRef'] === undefined || spec['targetRef'] === null ? [] : [spec['targetRef']];
  return (several.length > 0 ? several : single).map((value) => {
    const target = record(value);
    return {
      group: text(target['group']),
      kind: text(target['kind']),
      name: text(target['name']),
      namespace: optionalText(target['namespace']),
    };
  });
}

function waypointsOfClass(lookup: Lookup, className: string): readonly string[] {
  const all = new Set(allWaypoints(lookup));
  return lookup
    .gateways()
    .filter((gateway) => gateway.className === className && all.has(objectKey(gateway)))
    .map(objectKey);
}

/** Targets that do not exist, or that the policy may not name, are left out: its status says so. */
export function attach(refs: readonly TargetRef[], namespace: string, lookup: Lookup): Attached {
  const targets: Target[] = [];
  const gateways: string[] = [];
  for (const ref of refs) {
    if ((ref.namespace ?? namespace) !== namespace) continue;
    switch (ref.kind) {
      case 'GatewayClass': {
        if (namespace !== lookup.mesh.rootNamespace) continue;
        targets.push({ kind: 'all-waypoints' });
        gateways.push(...waypointsOfClass(lookup, ref.name));
        break;
      }
      case 'Gateway': {
        const waypoint = findWaypoint(lookup, namespace, ref.name);
        if (waypoint === undefined) continue;
        targets.push({ kind: 'waypoint', gateway: objectKey(waypoint) });
        gateways.push(objectKey(waypoint));
        break;
      }
      case 'Service': {
        const service = lookup.service(namespace, ref.name);
        const view = service === undefined ? undefined : viewService(lookup, service);
        if (view === undefined) continue;
        targets.push({ kind: 'service', service: view.key });
        gateways.push(...view.waypoints);
        break;
      }
      case 'ServiceEntry': {
        const entry = lookup.serviceEntry(namespace, ref.name);
        if (entry === undefined) continue;
        for (const view of viewServiceEntry(lookup, entry)) {
          targets.push({ kind: 'service', service: view.key });
          gateways.push(...view.waypoints);
        }
        break;
      }
      default:
    }
  }
  return { targets, gateways };
}
