// Records as resources of xDS: encoded once, under their names, and found by what a proxy may ask for.
import { errorText } from '#/errors/index.ts';
import type { Logger } from '#/kit/index.ts';
import type { Service, Workload } from '#/model/index.ts';
import type { MeshRecord, RecordTable } from '#/translate/index.ts';
import { encodeAddress, encodePolicy } from '#/wire/index.ts';
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

/** Collects what one round of translation gives, and hands it over in one step. */
export class MeshTables {
  readonly addresses = new ResourceTable();
  readonly policies = new ResourceTable();
  readonly #log: Logger;
  #upserts: Record<RecordTable, Map<string, XdsResource>> = { address: new Map(), policy: new Map() };
  #removed: Record<RecordTable, Set<string>> = { address: new Set(), policy: new Set() };

  constructor(log: Logger) {
    this.#log = log;
  }

  upsert(record: MeshRecord, name: string): void {
    const table: RecordTable = 'kind' in record ? 'address' : 'policy';
    try {
      const resource =
        'kind' in record
          ? addressResource(name, record)
          : { name, version: '', resource: encodePolicy(record) };
      this.#removed[table].delete(name);
      this.#upserts[table].set(name, resource);
    } catch (error) {
      // Its last good form stays with the proxies.
      this.#log.error('a record cannot be encoded, its last form is kept', { name, error: errorText(error) });
    }
  }

  remove(table: RecordTable, name: string): void {
    this.#upserts[table].delete(name);
    this.#removed[table].add(name);
  }

  /** Makes the collected changes visible. Gives how many resources really changed. */
  commit(): number {
    let changed = 0;
    // Policies first: a workload must not name one that is not there.
    for (const [table, name] of [
      [this.policies, 'policy'],
      [this.addresses, 'address'],
    ] as const) {
      const upserts = this.#upserts[name];
      const removed = this.#removed[name];
      if (upserts.size === 0 && removed.size === 0) continue;
      changed += table.apply({ upserts: upserts.values(), removed }).size;
    }
    this.#upserts = { address: new Map(), policy: new Map() };
    this.#removed = { address: new Set(), policy: new Set() };
    return changed;
  }
}
