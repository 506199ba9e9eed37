// The look-ups of translations for who only wants an answer, once: nothing is recorded.
import type { FactsStore } from './facts-store.ts';
import type { FactsByKind, Kind } from './kinds.ts';
import { RecordedLookup } from './recorded-lookup.ts';
import type { MeshSettings } from './settings.ts';
import { makeStores, type Stores } from './stores.ts';

export class PlainLookup extends RecordedLookup {
  readonly #own: Stores;

  constructor(mesh: MeshSettings) {
    const stores = makeStores(mesh.clusterDomain);
    super(stores, mesh, () => {});
    this.#own = stores;
  }

  set<K extends Kind>(kind: K, facts: FactsByKind[K]): void {
    const store: FactsStore<FactsByKind[K]> = this.#own[kind];
    store.set(facts);
  }

  all<K extends Kind>(kind: K): Iterable<FactsByKind[K]> {
    return this.#own[kind].values();
  }

  facts<K extends Kind>(kind: K, key: string): FactsByKind[K] | undefined {
    return this.#own[kind].get(key);
  }
}
