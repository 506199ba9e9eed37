// The mesh as a waypoint sees it when it sends a connection on: it does not go to a waypoint again.
import type { MeshView, Service, ServiceKey, Workload } from '#/model/index.ts';

const withoutWaypoint = <T extends Service | Workload>(record: T | undefined): T | undefined => {
  if (record === undefined) return undefined;
  const { waypoint: _waypoint, ...rest } = record;
  return ('weightedWaypoints' in rest ? { ...rest, weightedWaypoints: [] } : rest) as unknown as T;
};

/** A subset: of the endpoints of the service only these. */
export interface Subset {
  readonly service: ServiceKey;
  /** uids */
  readonly members: ReadonlySet<string>;
}

export function directView(view: MeshView, subset?: Subset): MeshView {
  return {
    knows: (key) => view.knows(key),
    workloadByAddress: (network, ip) => withoutWaypoint(view.workloadByAddress(network, ip)),
    workloadByUid: (uid) => view.workloadByUid(uid),
    workloadByHostname: (name) => view.workloadByHostname(name),
    serviceByAddress: (network, ip, client) => withoutWaypoint(view.serviceByAddress(network, ip, client)),
    serviceByKey: (key) => withoutWaypoint(view.serviceByKey(key)),
    serviceByHostname: (hostname, client) => withoutWaypoint(view.serviceByHostname(hostname, client)),
    servicesOf: (workload) => view.servicesOf(workload),
    endpoints: (key) => {
      const all = view.endpoints(key);
      if (key !== subset?.service) return all;
      const { members } = subset;
      return {
        workloads: all.workloads.filter(({ uid }) => members.has(uid)),
        evenlyWeighted: all.evenlyWeighted,
        has: (uid) => members.has(uid) && all.has(uid),
      };
    },
  };
}
