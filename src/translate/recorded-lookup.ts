// The look-ups of translations over the stores, each recorded as a question.
import type { FactsStore } from './facts-store.ts';
import { mark, type FactsByKind, type Kind } from './kinds.ts';
import type { Lookup } from './lookup.ts';
import type { Labels } from './read.ts';
import { pair, selects } from './selector.ts';
import type { MeshSettings } from './settings.ts';

export type Stores = { readonly [K in Kind]: FactsStore<FactsByKind[K]> };

/** `ask` is told of every question before it is answered. */
export class RecordedLookup implements Lookup {
  mesh: MeshSettings;
  readonly #stores: Stores;
  readonly #ask: (question: string) => void;

  constructor(stores: Stores, mesh: MeshSettings, ask: (question: string) => void) {
    this.#stores = stores;
    this.mesh = mesh;
    this.#ask = ask;
  }

  #object<K extends Kind>(kind: K, key: string): FactsByKind[K] | undefined {
    this.#ask(mark.object(kind, key));
    return this.#stores[kind].get(key);
  }

  #marked<K extends Kind>(kind: K, question: string): FactsByKind[K][] {
    this.#ask(question);
    return [...this.#stores[kind].marked(question)];
  }

  /** Whatever is indexed under one of the labels; the caller checks the rest of the selector. */
  #candidates<K extends Kind>(kind: K, namespace: string, labels: Labels): FactsByKind[K][] {
    const found: FactsByKind[K][] = [];
    for (const key in labels) {
      const question = mark.selector(namespace, pair(key, labels[key] as string));
      this.#ask(question);
      for (const facts of this.#stores[kind].marked(question)) found.push(facts);
    }
    return found;
  }

  namespace(name: string): FactsByKind['Namespace'] | undefined {
    return this.#object('Namespace', name);
  }

  node(name: string): FactsByKind['Node'] | undefined {
    return this.#object('Node', name);
  }

  gateway(namespace: string, name: string): FactsByKind['Gateway'] | undefined {
    return this.#object('Gateway', `${namespace}/${name}`);
  }

  gatewayClass(name: string): FactsByKind['GatewayClass'] | undefined {
    return this.#object('GatewayClass', name);
  }

  service(namespace: string, name: string): FactsByKind['Service'] | undefined {
    return this.#object('Service', `${namespace}/${name}`);
  }

  serviceEntry(namespace: string, name: string): FactsByKind['ServiceEntry'] | undefined {
    return this.#object('ServiceEntry', `${namespace}/${name}`);
  }

  servicesSelecting(namespace: string, labels: Labels): readonly FactsByKind['Service'][] {
    return this.#candidates('Service', namespace, labels).filter(({ selector }) => selects(selector, labels));
  }

  serviceEntriesSelecting(namespace: string, labels: Labels): readonly FactsByKind['ServiceEntry'][] {
    return this.#candidates('ServiceEntry', namespace, labels).filter(
      ({ selector }) => selector !== undefined && selects(selector, labels),
    );
  }

  policiesSelecting(namespace: string, labels: Labels): readonly FactsByKind['AuthorizationPolicy'][] {
    const { rootNamespace } = this.mesh;
    const found = this.#candidates('AuthorizationPolicy', namespace, labels);
    if (namespace !== rootNamespace)
      found.push(...this.#candidates('AuthorizationPolicy', rootNamespace, labels));
    return found.filter(({ selector }) => selects(selector, labels));
  }

  peerAuthentications(namespace: string): readonly FactsByKind['PeerAuthentication'][] {
    return this.#marked('PeerAuthentication', mark.peerAuthentications(namespace));
  }

  anyPeerAuthentication(): boolean {
    this.#ask(mark.anyPeerAuthentication);
    return this.#stores.PeerAuthentication.size > 0;
  }

  slicesOfPod(namespace: string, pod: string): readonly FactsByKind['EndpointSlice'][] {
    return this.#marked('EndpointSlice', mark.slicesOfPod(namespace, pod));
  }

  servicesByHostname(hostname: string): readonly FactsByKind['Service'][] {
    return this.#marked('Service', mark.host(hostname));
  }

  serviceEntriesByHostname(hostname: string): readonly FactsByKind['ServiceEntry'][] {
    return this.#marked('ServiceEntry', mark.host(hostname));
  }

  gatewayPods(namespace: string, gateway: string): readonly FactsByKind['Pod'][] {
    return this.#marked('Pod', mark.gatewayPods(namespace, gateway));
  }

  networkGateways(network: string): readonly FactsByKind['Gateway'][] {
    return this.#marked('Gateway', mark.networkGateways(network));
  }
}
