// The type istio.workload.Workload: the workloads among the addresses, each without the envelope that an Address puts
// around it. Nothing is encoded again, and nothing is kept for who does not ask.
import type { ResourceSource, XdsResource } from '#/xds/index.ts';

/** Tag of `Address.workload`: field 1, length-delimited. */
const workloadTag = 0x0a;

/** A service is `ns/hostname`; every workload's uid has two slashes or more. */
const isService = (name: string): boolean => name.indexOf('/') === name.lastIndexOf('/');

export class WorkloadView implements ResourceSource {
  readonly #addresses: ResourceSource;
  readonly #bare = new WeakMap<XdsResource, XdsResource>();

  constructor(addresses: ResourceSource) {
    this.#addresses = addresses;
  }

  get(name: string): XdsResource | undefined {
    const found = this.#addresses.get(name);
    return found === undefined ? undefined : this.#workload(found);
  }

  *all(): Iterable<XdsResource> {
    yield* this.#workloads(this.#addresses.all());
  }

  lookup(name: string): Iterable<XdsResource> {
    return this.#workloads(this.#addresses.lookup(name));
  }

  members(group: string): Iterable<XdsResource> {
    return this.#workloads(this.#addresses.members(group));
  }

  onChange(callback: (changed: ReadonlySet<string>) => void): Disposable {
    return this.#addresses.onChange((changed) => {
      const workloads = new Set<string>();
      for (const name of changed) if (!isService(name)) workloads.add(name);
      if (workloads.size > 0) callback(workloads);
    });
  }

  *#workloads(resources: Iterable<XdsResource>): Iterable<XdsResource> {
    for (const resource of resources) {
      const workload = this.#workload(resource);
      if (workload !== undefined) yield workload;
    }
  }

  #workload(address: XdsResource): XdsResource | undefined {
    const bytes = address.resource;
    if (bytes[0] !== workloadTag) return undefined;
    let bare = this.#bare.get(address);
    if (bare === undefined) {
      // The length, a varint, stands between the tag and the message.
      let start = 1;
      while ((bytes[start] ?? 0) >= 0x80) start++;
      bare = { ...address, resource: bytes.subarray(start + 1) };
      this.#bare.set(address, bare);
    }
    return bare;
  }
}
