// Records as resources of xDS: encoded once, under their names, and found by what a proxy may ask for.
import { errorText } from '#/errors/index.ts';
import type { Logger } from '#/kit/index.ts';
import type { Service, Workload } from '#/model/index.ts';
import type { MeshRecord, RecordTable, WaypointRecord } from '#/translate/index.ts';
import { encodeAddress, encodePolicy, encodeWaypointResource } from '#/wire/index.ts';
import { ResourceTable, resourceVersion, type XdsResource } from '#/xds/index.ts';

/** The group that holds the workloads of a node: an on-demand proxy there gets them without asking. */
export const nodeGroup = (node: string): string => `node/${node}`;

function addressResource(name: string, record: Workload | Service): XdsResource {
  const resource = encodeAddress(record);
  if (record.kind === 'service')
    return {
      name,
      version: resourceVersion(resource),
      resource,
      aliases: [
        ...record.addresses.map(({ network, ip }) => `${network}/${ip}`),
        ...record.cidrAddresses.map(({ network, base, length }) => `${network}/${base}/${length}`),
      ],
    };
  return {
    name,
    // The same in every replica, so that a proxy which goes over to another is sent only what has changed.
    version: resourceVersion(resource),
    resource,
    // Pods of one node share the address of the host network, which therefore names none of them.
    aliases:
      record.networkMode === 'HostNetwork' ? [] : record.addresses.map((ip) => `${record.network}/${ip}`),
    groups: [...Object.keys(record.services), ...(record.node === '' ? [] : [nodeGroup(record.node)])],
  };
}

/** A waypoint asks for its own name, and gets what lists it. */
function waypointResource(name: string, record: WaypointRecord): XdsResource {
  const resource = encodeWaypointResource(record.resource);
  return { name, version: resourceVersion(resource), resource, groups: record.gateways };
}

interface Changes {
  readonly upserts: Map<string, XdsResource>;
  readonly removed: Set<string>;
}

const noChanges = (): Record<RecordTable, Changes> => ({
  address: { upserts: new Map(), removed: new Set() },
  policy: { upserts: new Map(), removed: new Set() },
  waypoint: { upserts: new Map(), removed: new Set() },
});

/** Collects what one round of translation gives, and hands it over in one step. */
export class MeshTables {
  readonly addresses = new ResourceTable();
  readonly policies = new ResourceTable();
  readonly waypoints = new ResourceTable({ takesBack: true });
  readonly #log: Logger;
  #changes = noChanges();

  constructor(log: Logger) {
    this.#log = log;
  }

  upsert(record: MeshRecord, name: string): void {
    if ('kind' in record) this.#put('address', name, () => addressResource(name, record));
    else this.#put('policy', name, () => ({ name, version: '', resource: encodePolicy(record) }));
  }

  upsertWaypoint(record: WaypointRecord, name: string): void {
    this.#put('waypoint', name, () => waypointResource(name, record));
  }

  #put(table: RecordTable, name: string, encode: () => XdsResource): void {
    try {
      const resource = encode();
      this.#changes[table].removed.delete(name);
      this.#changes[table].upserts.set(name, resource);
    } catch (error) {
      // Its last good form stays with the proxies.
      this.#log.error('a record cannot be encoded, its last form is kept', { name, error: errorText(error) });
    }
  }

  remove(table: RecordTable, name: string): void {
    this.#changes[table].upserts.delete(name);
    this.#changes[table].removed.add(name);
  }

  /** Makes the collected changes visible. Gives how many resources really changed. */
  commit(): number {
    let changed = 0;
    // Policies first: a workload must not name one that is not there, and a waypoint must not take the traffic of a
    // service before it has its rules.
    for (const [table, name] of [
      [this.policies, 'policy'],
      [this.waypoints, 'waypoint'],
      [this.addresses, 'address'],
    ] as const) {
      const { upserts, removed } = this.#changes[name];
      if (upserts.size === 0 && removed.size === 0) continue;
      changed += table.apply({ upserts: upserts.values(), removed }).size;
    }
    this.#changes = noChanges();
    return changed;
  }
}
