// Drives what owns pods: ReplicaSets, DaemonSets, StatefulSets and Jobs. Each kind brings a pure plan; here the
// plan's pods are created and deleted, and its status is written.
import type { Logger } from '#/kit/index.ts';
import {
  apiVersionOf,
  isAlreadyExists,
  pods,
  type Informer,
  type KubeObject,
  type Pod,
  type Resource,
} from '#/kube/index.ts';
import type { ClusterView } from './cluster-view.ts';
import { canonicalJson, controllerOf, isControlledBy, keyOf, splitKey } from './object-tools.ts';
import { PendingChanges } from './pending-changes.ts';
import { WorkQueue } from './work-queue.ts';

export interface PodSetPlan {
  readonly create: readonly Pod[];
  readonly remove: readonly Pod[];
  readonly status: unknown;
  /** Look again after this many milliseconds, because time alone may change the plan. */
  readonly again?: number;
}

/** Pods made in one look; the rest follows in the next ones. */
const burst = 50;

export class PodSetController<T extends KubeObject> {
  readonly #view: ClusterView;
  readonly #resource: Resource<T>;
  readonly #informer: Informer<T>;
  readonly #plan: (owner: T, owned: readonly Pod[]) => PodSetPlan;
  readonly #queue: WorkQueue;
  readonly #pending = new PendingChanges();

  constructor(
    view: ClusterView,
    resource: Resource<T>,
    informer: Informer<T>,
    log: Logger,
    plan: (owner: T, owned: readonly Pod[]) => PodSetPlan,
  ) {
    this.#view = view;
    this.#resource = resource;
    this.#informer = informer;
    this.#plan = plan;
    this.#queue = new WorkQueue(resource.plural, log, (key) => this.#look(key));
  }

  start(): void {
    const add = (object: T): void => this.#queue.add(keyOf(object));
    this.#informer.on('add', add);
    this.#informer.on('update', add);
    const byPod = (pod: Pod, gone: boolean): void => {
      const owner = controllerOf(pod);
      if (owner?.kind !== this.#resource.kind) return;
      const key = `${pod.metadata.namespace ?? ''}/${owner.name}`;
      this.#pending.seen(key, `+${pod.metadata.name}`);
      if (gone || pod.metadata.deletionTimestamp !== undefined)
        this.#pending.seen(key, `-${pod.metadata.uid}`);
      this.#queue.add(key);
    };
    this.#view.pods.on('add', (pod) => byPod(pod, false));
    this.#view.pods.on('update', (pod) => byPod(pod, false));
    this.#view.pods.on('delete', (pod) => byPod(pod, true));
  }

  /** For changes elsewhere that may change the plans, such as a new node. */
  lookAtAll(): void {
    for (const object of this.#informer.list()) this.#queue.add(keyOf(object));
  }

  stop(): void {
    this.#queue.stop();
  }

  async #look(key: string): Promise<void> {
    const [namespace, name] = splitKey(key);
    const owner = this.#informer.get(namespace, name);
    if (owner === undefined) return;
    if (!this.#pending.settled(key)) {
      this.#queue.addAfter(key, 1000);
      return;
    }
    const owned = this.#view.pods
      .list()
      .filter((pod) => pod.metadata.namespace === namespace && isControlledBy(pod, owner));
    const plan = this.#plan(owner, owned);
    const { client } = this.#view;
    for (const pod of plan.create.slice(0, burst)) {
      this.#pending.expect(key, `+${pod.metadata.name}`);
      try {
        await client.create(pods, namespace, pod);
      } catch (error) {
        this.#pending.seen(key, `+${pod.metadata.name}`);
        if (!isAlreadyExists(error)) throw error;
      }
    }
    for (const pod of plan.remove) {
      const uid = pod.metadata.uid ?? '';
      this.#pending.expect(key, `-${uid}`);
      try {
        const found = await client.delete(pods, namespace, pod.metadata.name, { preconditions: { uid } });
        if (!found) this.#pending.seen(key, `-${uid}`);
      } catch (error) {
        this.#pending.seen(key, `-${uid}`);
        throw error;
      }
    }
    if (plan.create.length > burst) this.#queue.addAfter(key, 100);
    if (plan.again !== undefined) this.#queue.addAfter(key, plan.again);
    await this.#writeStatus(owner, plan.status);
  }

  async #writeStatus(owner: T, status: unknown): Promise<void> {
    const before = (owner as { status?: unknown }).status;
    const merged = { ...(before as object | undefined), ...(status as object) };
    if (canonicalJson(merged) === canonicalJson(before ?? {})) return;
    await this.#view.client.patch(
      this.#resource,
      owner.metadata.namespace,
      owner.metadata.name,
      { apiVersion: apiVersionOf(this.#resource), kind: this.#resource.kind, status },
      'merge',
      { subresource: 'status' },
    );
  }
}
