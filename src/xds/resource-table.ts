// A source of resources that lives in memory.
import type { ResourceSource, XdsResource } from './resource-source.ts';

/** The version of a resource: XXH64 (seed 0) of its bytes, 16 hexadecimal digits. */
export function resourceVersion(_resource: Uint8Array): string {
  throw new Error('not implemented');
}

export class ResourceTable implements ResourceSource {
  /**
   * Applies changes and reports the names that really changed: an upsert with the version (or, without one, the
   * bytes) and names that it has already is none.
   */
  apply(_changes: {
    readonly upserts?: Iterable<XdsResource>;
    readonly removed?: Iterable<string>;
  }): ReadonlySet<string> {
    throw new Error('not implemented');
  }
  get(_name: string): XdsResource | undefined {
    throw new Error('not implemented');
  }
  all(): Iterable<XdsResource> {
    throw new Error('not implemented');
  }
  members(_group: string): Iterable<XdsResource> {
    throw new Error('not implemented');
  }
  onChange(_callback: (changed: ReadonlySet<string>) => void): Disposable {
    throw new Error('not implemented');
  }
  get size(): number {
    throw new Error('not implemented');
  }
}
