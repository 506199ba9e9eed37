// Which service accounts run on which node: what decides whose certificates a node's proxy may have.
import { objectKey, type PodFacts } from '#/translate/index.ts';

const place = (namespace: string, serviceAccount: string, node: string): string =>
  `${namespace}/${serviceAccount}@${node}`;

const finished = (pod: PodFacts): boolean => pod.phase === 'Failed' || pod.phase === 'Succeeded';

export interface PodIdentity {
  readonly uid: string;
  readonly serviceAccount: string;
  readonly node: string;
}

export class PodDirectory {
  readonly #pods = new Map<string, PodFacts>();
  readonly #places = new Map<string, number>();

  set(pod: PodFacts): void {
    const key = objectKey(pod);
    this.delete(key);
    this.#pods.set(key, pod);
    this.#count(pod, 1);
  }

  delete(key: string): void {
    const pod = this.#pods.get(key);
    if (pod === undefined) return;
    this.#pods.delete(key);
    this.#count(pod, -1);
  }

  get(namespace: string, name: string): PodIdentity | undefined {
    const pod = this.#pods.get(`${namespace}/${name}`);
    return pod === undefined || finished(pod) ? undefined : pod;
  }

  /** True if a pod of this service account is on the node and has not ended. */
  runsOn(namespace: string, serviceAccount: string, node: string): boolean {
    return this.#places.has(place(namespace, serviceAccount, node));
  }

  get size(): number {
    return this.#pods.size;
  }

  #count(pod: PodFacts, by: 1 | -1): void {
    if (pod.node === '' || finished(pod)) return;
    const key = place(pod.namespace, pod.serviceAccount, pod.node);
    const count = (this.#places.get(key) ?? 0) + by;
    if (count > 0) this.#places.set(key, count);
    else this.#places.delete(key);
  }
}
