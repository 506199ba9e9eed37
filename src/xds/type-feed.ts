// One type of resources on its way to all connections: what has changed, and the bytes of a push. Bytes are made
// once for all who are at the same place, which after a change is nearly everyone.
import { encodeRemovals, encodeResourceEntry } from '#/wire/index.ts';
import { ChangeLog } from './change-log.ts';
import type { ResourceSource, XdsResource } from './resource-source.ts';

/** The resources and removals of a response, without its head. */
export interface Batch {
  readonly body: Uint8Array;
  readonly resources: number;
  readonly removed: number;
}

export class TypeFeed implements Disposable {
  readonly typeUrl: string;
  readonly source: ResourceSource;
  readonly log: ChangeLog;
  readonly #subscription: Disposable;
  readonly #entries = new WeakMap<XdsResource, Uint8Array>();
  #waiting = new Set<string>();
  /** Held weakly: the whole mesh is large, and needed only while clients connect. */
  #cached: { from: number | 'start'; to: number; batch: WeakRef<Batch> } | undefined;

  /** `onChange` is called when there is something to commit. */
  constructor(typeUrl: string, source: ResourceSource, logLimit: number, onChange: () => void) {
    this.typeUrl = typeUrl;
    this.source = source;
    this.log = new ChangeLog(logLimit);
    this.#subscription = source.onChange((changed) => {
      for (const name of changed) this.#waiting.add(name);
      onChange();
    });
  }

  /** Puts what has changed in the log, so that it goes out with the next pushes. */
  commit(): void {
    if (this.#waiting.size === 0) return;
    this.log.append(this.#waiting);
    this.#waiting = new Set();
  }

  /** Everything. */
  full(): Batch {
    return this.#shared('start', () => this.batch(this.source.all(), []));
  }

  /** What has changed since `place`; undefined if that is too long ago. */
  since(place: number): Batch | undefined {
    const names = this.log.since(place);
    if (names === undefined) return undefined;
    return this.#shared(place, () => {
      const resources: XdsResource[] = [];
      const removed: string[] = [];
      for (const name of names) {
        const resource = this.source.get(name);
        if (resource === undefined) removed.push(name);
        else resources.push(resource);
      }
      return this.batch(resources, removed);
    });
  }

  batch(resources: Iterable<XdsResource>, removed: readonly string[]): Batch {
    const parts: Uint8Array[] = [];
    for (const resource of resources) parts.push(this.#entry(resource));
    const count = parts.length;
    if (removed.length > 0) parts.push(encodeRemovals(removed));
    return { body: Buffer.concat(parts), resources: count, removed: removed.length };
  }

  [Symbol.dispose](): void {
    this.#subscription[Symbol.dispose]();
  }

  #entry(resource: XdsResource): Uint8Array {
    let bytes = this.#entries.get(resource);
    if (bytes === undefined) {
      bytes = encodeResourceEntry({ ...resource, typeUrl: this.typeUrl });
      this.#entries.set(resource, bytes);
    }
    return bytes;
  }

  #shared(from: number | 'start', make: () => Batch): Batch {
    const to = this.log.head;
    const cached = this.#cached;
    const known = cached?.from === from && cached.to === to ? cached.batch.deref() : undefined;
    if (known !== undefined) return known;
    const batch = make();
    this.#cached = { from, to, batch: new WeakRef(batch) };
    return batch;
  }
}
