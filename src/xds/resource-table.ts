// A source of resources that lives in memory.
import xxhash from 'xxhash-wasm';
import type { ResourceSource, XdsResource } from './resource-source.ts';

const { h64Raw } = await xxhash();

/** The version of a resource: XXH64 (seed 0) of its bytes, 16 hexadecimal digits; the same on every replica. */
export function resourceVersion(resource: Uint8Array): string {
  return h64Raw(resource).toString(16).padStart(16, '0');
}

export interface ResourceChanges {
  readonly upserts?: Iterable<XdsResource>;
  readonly removed?: Iterable<string>;
}

export class ResourceTable implements ResourceSource {
  readonly takesBack: boolean;
  readonly #byName = new Map<string, XdsResource>();
  readonly #listeners = new Set<(changed: ReadonlySet<string>) => void>();
  /** Names by alias and by group; made at the first look-up, as wildcard clients, which are most, need neither. */
  #index: { aliases: MultiMap; groups: MultiMap } | undefined;

  constructor(options: Pick<ResourceSource, 'takesBack'> = {}) {
    this.takesBack = options.takesBack === true;
  }

  /**
   * Applies changes and reports the names that really changed: an upsert with the version (or, without one, the
   * bytes), the aliases and the groups that are there already is none. Later changes of one name win.
   */
  apply(changes: ResourceChanges): ReadonlySet<string> {
    const changed = new Set<string>();
    for (const resource of changes.upserts ?? []) {
      const old = this.#byName.get(resource.name);
      if (old !== undefined && same(old, resource)) continue;
      this.#replace(old, resource);
      this.#byName.set(resource.name, resource);
      changed.add(resource.name);
    }
    for (const name of changes.removed ?? []) {
      const old = this.#byName.get(name);
      if (old === undefined) continue;
      this.#replace(old, undefined);
      this.#byName.delete(name);
      changed.add(name);
    }
    if (changed.size > 0) for (const listener of this.#listeners) listener(changed);
    return changed;
  }

  get(name: string): XdsResource | undefined {
    return this.#byName.get(name);
  }

  all(): Iterable<XdsResource> {
    return this.#byName.values();
  }

  get size(): number {
    return this.#byName.size;
  }

  lookup(name: string): readonly XdsResource[] {
    const own = this.#byName.get(name);
    return own === undefined ? this.#resolve(this.#indexed().aliases.get(name)) : [own];
  }

  members(group: string): readonly XdsResource[] {
    return this.#resolve(this.#indexed().groups.get(group));
  }

  onChange(callback: (changed: ReadonlySet<string>) => void): Disposable {
    this.#listeners.add(callback);
    return { [Symbol.dispose]: () => this.#listeners.delete(callback) };
  }

  #resolve(names: Iterable<string>): XdsResource[] {
    const out: XdsResource[] = [];
    for (const name of names) {
      const resource = this.#byName.get(name);
      if (resource !== undefined) out.push(resource);
    }
    return out;
  }

  #indexed(): { aliases: MultiMap; groups: MultiMap } {
    if (this.#index === undefined) {
      this.#index = { aliases: new MultiMap(), groups: new MultiMap() };
      for (const resource of this.#byName.values()) this.#replace(undefined, resource);
    }
    return this.#index;
  }

  #replace(old: XdsResource | undefined, fresh: XdsResource | undefined): void {
    if (this.#index === undefined) return;
    const { aliases, groups } = this.#index;
    if (old !== undefined) {
      for (const alias of old.aliases ?? []) aliases.delete(alias, old.name);
      for (const group of old.groups ?? []) groups.delete(group, old.name);
    }
    if (fresh !== undefined) {
      for (const alias of fresh.aliases ?? []) aliases.add(alias, fresh.name);
      for (const group of fresh.groups ?? []) groups.add(group, fresh.name);
    }
  }
}

function same(a: XdsResource, b: XdsResource): boolean {
  const content =
    a.version === '' || b.version === ''
      ? a.version === b.version && Buffer.compare(a.resource, b.resource) === 0
      : a.version === b.version;
  return content && sameList(a.aliases, b.aliases) && sameList(a.groups, b.groups);
}

function sameList(a: readonly string[] = [], b: readonly string[] = []): boolean {
  return a.length === b.length && a.every((item, i) => item === b[i]);
}

class MultiMap {
  readonly #map = new Map<string, Set<string>>();

  get(key: string): Iterable<string> {
    return this.#map.get(key) ?? [];
  }

  add(key: string, value: string): void {
    const set = this.#map.get(key);
    if (set === undefined) this.#map.set(key, new Set([value]));
    else set.add(value);
  }

  delete(key: string, value: string): void {
    const set = this.#map.get(key);
    if (set?.delete(value) === true && set.size === 0) this.#map.delete(key);
  }
}
