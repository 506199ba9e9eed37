// The records of our cluster and of others, merged in slices, so that a large cluster that joins holds nobody up.
import { NetworkMerge, type MeshSettings } from '#/translate/index.ts';
import type { MeshSink } from './mesh-watch.ts';
import type { MeshTables } from './mesh-tables.ts';

/** Milliseconds for which a slice may keep the event loop. */
const sliceMs = 10;

export interface MergedMeshOptions {
  readonly settings: Pick<MeshSettings, 'clusterId' | 'trustDomain'>;
  /** The network of our cluster, now. */
  readonly localNetwork: () => string;
  readonly tables: () => MeshTables;
}

export class MergedMesh {
  readonly merge: NetworkMerge;
  readonly #tables: () => MeshTables;
  #scheduled = false;
  #idle = Promise.withResolvers<void>();

  constructor({ settings, localNetwork, tables }: MergedMeshOptions) {
    this.#tables = tables;
    this.merge = new NetworkMerge({
      localCluster: settings.clusterId,
      localNetwork,
      trustDomain: settings.trustDomain,
      output: {
        upsert: (record, name) => tables().upsert(record, name),
        remove: (table, name) => tables().remove(table, name),
      },
    });
  }

  /** For the watch of our own cluster. */
  get sink(): MeshSink {
    return { ...this.merge.local, commit: () => this.#work() };
  }

  /** Merges what has changed, after the events at hand. */
  touch(): void {
    if (this.#scheduled || !this.merge.pending) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#work();
    });
  }

  /** Resolves when nothing is waiting to be merged. */
  async settled(): Promise<void> {
    this.touch();
    while (this.merge.pending) await this.#idle.promise;
  }

  #work(): number {
    const began = performance.now();
    const done = this.merge.flush(() => performance.now() - began > sliceMs);
    const changed = this.#tables().commit();
    if (!done) this.touch();
    else {
      this.#idle.resolve();
      this.#idle = Promise.withResolvers();
    }
    return changed;
  }
}
