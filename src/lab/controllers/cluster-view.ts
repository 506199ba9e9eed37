// The informers that the lab's controllers, kubelets and service rules share: one copy of the cluster.
import type { Logger } from '#/kit/index.ts';
import {
  Informer,
  configMaps,
  daemonSets,
  deployments,
  endpointSlices,
  jobs,
  namespaces,
  nodes,
  pods,
  replicaSets,
  secrets,
  serviceAccounts,
  services,
  statefulSets,
  type KubeClient,
  type KubeObject,
  type Resource,
} from '#/kube/index.ts';

export class ClusterView {
  readonly client: KubeClient;
  readonly pods;
  readonly nodes;
  readonly namespaces;
  readonly services;
  readonly endpointSlices;
  readonly configMaps;
  readonly secrets;
  readonly serviceAccounts;
  readonly deployments;
  readonly replicaSets;
  readonly daemonSets;
  readonly statefulSets;
  readonly jobs;
  readonly #all: Informer<KubeObject>[] = [];

  constructor(client: KubeClient, log: Logger) {
    this.client = client;
    const informer = <T extends KubeObject>(resource: Resource<T>): Informer<T> => {
      const made = new Informer(client, resource, { log });
      this.#all.push(made as unknown as Informer<KubeObject>);
      return made;
    };
    this.pods = informer(pods);
    this.nodes = informer(nodes);
    this.namespaces = informer(namespaces);
    this.services = informer(services);
    this.endpointSlices = informer(endpointSlices);
    this.configMaps = informer(configMaps);
    this.secrets = informer(secrets);
    this.serviceAccounts = informer(serviceAccounts);
    this.deployments = informer(deployments);
    this.replicaSets = informer(replicaSets);
    this.daemonSets = informer(daemonSets);
    this.statefulSets = informer(statefulSets);
    this.jobs = informer(jobs);
  }

  start(signal: AbortSignal): void {
    for (const informer of this.#all) informer.start(signal);
  }

  /** Resolves when every kind has been listed once. */
  async synced(): Promise<void> {
    await Promise.all(this.#all.map((informer) => informer.synced));
  }
}
