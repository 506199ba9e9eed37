// One type of resources on its way to all connections: what has changed, and the bytes of a push. Bytes are made
// once for all who are at the same place, which after a change is nearly everyone.
import type { Clock } from '#/kit/index.ts';
import { encodeRemovals, encodeResourceEntry, encodeResponseHead } from '#/wire/index.ts';
import { ChangeLog } from './change-log.ts';
import type { ResourceSource, XdsResource } from './resource-source.ts';

/** A whole response. A nonce tells apart what one stream has sent, so streams can share them. */
export interface Batch {
  readonly bytes: Buffer;
  readonly nonce: string;
  readonly resources: number;
  readonly removed: number;
}

export interface FeedOptions {
  readonly clock: Clock;
  /** ControlPlane.identifier. */
  readonly identifier: string;
  /** Another one at each call. */
  nonce(): string;
  /** Changed names that are kept for the slowest connection. */
  readonly maxLoggedNames: number;
}

const cacheMs = 10_000;

export class TypeFeed implements Disposable {
  readonly typeUrl: string;
  readonly source: ResourceSource;
  readonly log: ChangeLog;
  readonly #options: FeedOptions;
  readonly #subscription: Disposable;
  readonly #entries = new WeakMap<XdsResource, Uint8Array>();
  #waiting = new Set<string>();
  #cached: { from: number | 'start'; to: number; batch: Batch } | undefined;
  #forget: Disposable | undefined;

  /** `onChange` is called when there is something to commit. */
  constructor(typeUrl: string, source: ResourceSource, options: FeedOptions, onChange: () => void) {
    this.typeUrl = typeUrl;
    this.source = source;
    this.#options = options;
    this.log = new ChangeLog(options.maxLoggedNames);
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
    const nonce = this.#options.nonce();
    const head = encodeResponseHead({
      systemVersion: String(this.log.head),
      typeUrl: this.typeUrl,
      nonce,
      controlPlane: this.#options.identifier,
    });
    const parts = [head];
    for (const resource of resources) parts.push(this.#entry(resource));
    const count = parts.length - 1;
    if (removed.length > 0) parts.push(encodeRemovals(removed));
    return { bytes: Buffer.concat(parts), nonce, resources: count, removed: removed.length };
  }

  [Symbol.dispose](): void {
    this.#subscription[Symbol.dispose]();
    this.#forget?.[Symbol.dispose]();
    this.#cached = undefined;
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
    if (cached?.from === from && cached.to === to) return cached.batch;
    const batch = make();
    this.#cached = { from, to, batch };
    // The whole mesh is large, and is wanted again only by those who connect at about the same time.
    this.#forget?.[Symbol.dispose]();
    this.#forget = this.#options.clock.after(cacheMs, () => (this.#cached = undefined));
    return batch;
  }
}
