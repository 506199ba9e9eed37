// The look-ups of translations over the stores, each recorded as a question.
import type { FactsStore } from './facts-store.ts';
import { coversHost, fullHost, routeKinds } from './http/spec-facts.ts';
import { mark, type FactsByKind, type Kind } from './kinds.ts';
import type { Lookup } from './lookup.ts';
import type { Labels } from './read.ts';
import { indexPair, pair, selects } from './selector.ts';
import type { MeshSettings } from './settings.ts';
import type { Stores } from './stores.ts';

/** `ask` is told of every question before it is answered. */
export class RecordedLookup implements Lookup {
  mesh: MeshSettings;
  readonly #stores: Stores;
  readonly #ask: (question: string) => void;
  readonly #widened = new Set<Kind>();

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

  gateways(): readonly FactsByKind['Gateway'][] {
    return this.#marked('Gateway', mark.gateways);
  }

  servicesIn(namespace?: string): readonly FactsByKind['Service'][] {
    return this.#ofNamespace('Service', namespace);
  }

  serviceEntriesIn(namespace?: string): readonly FactsByKind['ServiceEntry'][] {
    return this.#ofNamespace('ServiceEntry', namespace);
  }

  virtualService(namespace: string, name: string): FactsByKind['VirtualService'] | undefined {
    return this.#object('VirtualService', `${namespace}/${name}`);
  }

  routesTo(hostname: string): readonly FactsByKind['HTTPRoute'][] {
    return routeKinds.flatMap((kind) => this.#marked(kind, mark.backend(hostname)));
  }

  virtualServicesTo(hostname: string): readonly FactsByKind['VirtualService'][] {
    return this.#marked('VirtualService', mark.backend(hostname));
  }

  virtualServicesOf(hostname: string): readonly FactsByKind['VirtualService'][] {
    return this.#marked('VirtualService', mark.virtualServices(hostname));
  }

  destinationRules(hostname: string): readonly FactsByKind['DestinationRule'][] {
    const wild = this.#marked('DestinationRule', mark.wildcardRules).filter(({ host, namespace }) =>
      coversHost(fullHost(host, namespace, this.mesh.clusterDomain), hostname),
    );
    return [...this.#marked('DestinationRule', mark.destinationRules(hostname)), ...wild];
  }

  podsWith(namespace: string, labels: Labels): readonly FactsByKind['Pod'][] {
    return this.#labelled('Pod', namespace, labels);
  }

  workloadEntriesWith(namespace: string, labels: Labels): readonly FactsByKind['WorkloadEntry'][] {
    return this.#labelled('WorkloadEntry', namespace, labels);
  }

  secret(namespace: string, name: string): FactsByKind['Secret'] | undefined {
    return this.#object('Secret', `${namespace}/${name}`);
  }

  configMap(namespace: string, name: string): FactsByKind['ConfigMap'] | undefined {
    return this.#object('ConfigMap', `${namespace}/${name}`);
  }

  #ofNamespace<K extends 'Service' | 'ServiceEntry'>(kind: K, namespace?: string): FactsByKind[K][] {
    this.#markMore(kind, (facts) => [mark.services(facts.namespace), mark.allServices]);
    return this.#marked(kind, namespace === undefined ? mark.allServices : mark.services(namespace));
  }

  #labelled<K extends 'Pod' | 'WorkloadEntry'>(kind: K, namespace: string, wanted: Labels): FactsByKind[K][] {
    this.#markMore(kind, (facts) => {
      const labels: Labels = facts.labels;
      return Object.keys(labels).map((key) =>
        mark.labelled(facts.namespace, pair(key, labels[key] as string)),
      );
    });
    const one = indexPair(wanted);
    if (one === undefined) return [];
    return this.#marked(kind, mark.labelled(namespace, one)).filter(({ labels }) => selects(wanted, labels));
  }

  /** Groups that are kept only once somebody has asked for them. */
  #markMore<K extends Kind>(kind: K, marks: (facts: FactsByKind[K]) => readonly string[]): void {
    if (this.#widened.has(kind)) return;
    this.#widened.add(kind);
    const store: FactsStore<FactsByKind[K]> = this.#stores[kind];
    store.alsoMark(marks);
  }
}
