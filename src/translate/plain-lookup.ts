// The look-ups of translations for who only wants an answer, once: nothing is recorded.
import { FactsStore } from './facts-store.ts';
import { marksOf, type FactsByKind, type Kind } from './kinds.ts';
import { RecordedLookup, type Stores } from './recorded-lookup.ts';
import type { MeshSettings } from './settings.ts';

export class PlainLookup extends RecordedLookup {
  readonly #own: Stores;

  constructor(mesh: MeshSettings) {
    const marks = marksOf(mesh.clusterDomain);
    const store = <K extends Kind>(kind: K) => new FactsStore<FactsByKind[K]>(marks[kind]);
    const stores: Stores = {
      Namespace: store('Namespace'),
      Node: store('Node'),
      GatewayClass: store('GatewayClass'),
      Gateway: store('Gateway'),
      Service: store('Service'),
      ServiceEntry: store('ServiceEntry'),
      EndpointSlice: store('EndpointSlice'),
      Pod: store('Pod'),
      WorkloadEntry: store('WorkloadEntry'),
      AuthorizationPolicy: store('AuthorizationPolicy'),
      PeerAuthentication: store('PeerAuthentication'),
    };
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
