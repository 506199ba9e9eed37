// Decides for every pod of the node whether it belongs to the mesh, whenever something that matters changes, and has
// it taken in or out. Also answers the plugin, which asks for a pod before it starts.
import { constants, openSync } from 'node:fs';
import type { Clock, Logger } from '#/kit/index.ts';
import type { Informer, Namespace, Pod } from '#/kube/index.ts';
import { sameNetns, type Kernel, type Netns } from '#/sys/index.ts';
import { podIps, podKey, SetupError, type MeshPods } from './mesh-pods.ts';
import { holdsAddress } from './node-processes.ts';
import type { PluginAddEvent } from './plugin-event.ts';
import type { PodStatusWriter } from './pod-status.ts';
import {
  eligibility,
  isTerminal,
  isZtunnel,
  redirectionAnnotation,
  type SelectionRules,
} from './selection.ts';
import { WorkQueue } from './work-queue.ts';

/** The part of Informer that is used, so that tests can stand in for it. */
export type ObjectSource<T extends Pod | Namespace> = Pick<
  Informer<T>,
  'on' | 'get' | 'list' | 'synced' | 'start'
>;

export interface PodControllerDeps {
  readonly pods: ObjectSource<Pod>;
  readonly namespaces: ObjectSource<Namespace>;
  readonly mesh: MeshPods;
  readonly status: PodStatusWriter;
  readonly selection: SelectionRules;
  readonly systemNamespace: string;
  readonly kernel: Kernel;
  /** The node's own namespace, which is no pod's. */
  readonly hostNetns: Netns;
  readonly clock: Clock;
  readonly log: Logger;
  readonly onEvent?: (type: 'add' | 'update' | 'delete') => void;
}

const workers = 4;
/** The API may have told the plugin of a pod that our watch has not seen yet. */
const lookUp = { attempts: 10, pauseMs: 10 };
/** Less than the plugin's own patience. */
const startPatienceMs = 3000;

export class PodController {
  readonly #deps: PodControllerDeps;
  readonly #log: Logger;
  readonly #queue: WorkQueue;
  readonly #byUid = new Map<string, { pod: Pod; deleted: boolean }>();
  readonly #locks = new Map<string, Promise<unknown>>();
  readonly #started = Promise.withResolvers<void>();
  #running = false;

  constructor(deps: PodControllerDeps) {
    this.#deps = deps;
    this.#log = deps.log.scope('ambient');
    this.#queue = new WorkQueue({ clock: deps.clock, workers, work: (uid) => this.#reconcile(uid) });
    deps.pods.on('add', (pod) => this.#seen('add', pod));
    deps.pods.on('update', (pod) => this.#seen('update', pod));
    deps.pods.on('delete', (pod) => this.#seen('delete', pod));
    deps.namespaces.on('add', (namespace) => {
      if (this.#running && this.#enables(namespace)) this.#logNamespace(namespace, true);
    });
    deps.namespaces.on('update', (now, before) => this.#namespaceChanged(now, before));
  }

  /** Pods that were set up before this agent started, by what their annotation says. */
  enrolled(): readonly Pod[] {
    return this.#deps.pods
      .list()
      .filter(
        (pod) =>
          pod.metadata.annotations?.[redirectionAnnotation] === 'enabled' &&
          !isTerminal(pod) &&
          pod.spec.hostNetwork !== true &&
          !isZtunnel(pod, this.#deps.systemNamespace),
      );
  }

  /** Begins to act on changes; looks at every pod once. */
  start(): void {
    this.#running = true;
    this.#started.resolve();
    for (const namespace of this.#deps.namespaces.list())
      if (this.#enables(namespace)) this.#logNamespace(namespace, true);
    for (const uid of this.#byUid.keys()) this.#queue.add(uid);
  }

  /** Resolves when all that is known to be done is done, except what waits for another attempt. */
  idle(): Promise<void> {
    return this.#queue.idle();
  }

  async stop(): Promise<void> {
    this.#running = false;
    await this.#queue.stop();
    await Promise.allSettled(this.#locks.values());
  }

  /** Looks at a pod again, now. */
  requeue(uid: string): void {
    this.#queue.add(uid);
  }

  /**
   * Sets up a pod for the plugin. Rejects with the reason if it cannot be, or if it does not belong to the mesh:
   * the plugin then fails, and the pod does not start.
   */
  async admit(event: PluginAddEvent): Promise<void> {
    const key = `${event.PodNamespace}/${event.PodName}`;
    // An agent that has just started is about to know.
    if (!this.#running)
      await Promise.race([this.#started.promise, this.#deps.clock.sleep(startPatienceMs).catch(() => {})]);
    if (!this.#running) throw new Error('the node agent has not read the pods of this node yet');
    const pod = await this.#eligiblePod(event);
    const uid = pod.metadata.uid ?? '';
    const ips = event.IPs.map(({ Address }) => Address.IP);
    await this.#locked(uid, async () => {
      const netns = this.#openNetns(event.Netns, ips);
      try {
        const annotated = await this.#deps.mesh.add(pod, ips.length > 0 ? ips : podIps(pod), netns);
        if (!annotated) this.#queue.add(uid);
      } catch (error) {
        await this.#deps.status.failed(pod, `pod ${key} could not be added to the mesh`, error);
        throw error;
      }
    });
  }

  async #eligiblePod(event: PluginAddEvent): Promise<Pod> {
    const key = `${event.PodNamespace}/${event.PodName}`;
    let reason = '';
    for (let attempt = 1; ; attempt++) {
      const pod = this.#deps.pods.get(event.PodNamespace, event.PodName);
      if (pod === undefined) reason = 'the node agent does not know it: it is not on this node, or not yet';
      // A pod of the same name that is going: the new one is not there yet.
      else if (pod.metadata.deletionTimestamp !== undefined) reason = 'it is being deleted';
      else {
        const verdict = eligibility(pod, this.#namespaceLabels(pod), this.#deps.selection);
        if (verdict.enabled) return pod;
        reason = verdict.reason;
      }
      if (attempt === lookUp.attempts) throw new Error(`pod ${key} is not eligible for the mesh: ${reason}`);
      await this.#deps.clock.sleep(lookUp.pauseMs);
    }
  }

  #openNetns(path: string, ips: readonly string[]): Netns {
    const { kernel, hostNetns } = this.#deps;
    // Not to be made to wait by a path that is a pipe.
    const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const netns = named(kernel.adoptNetns(fd), path);
    const refuse = (reason: string): never => {
      netns[Symbol.dispose]();
      throw new SetupError(`the network namespace ${path} ${reason}`, false);
    };
    if (sameNetns(netns, hostNetns)) return refuse("is the node's own");
    // Its identity would go to another pod's traffic.
    if (ips.length > 0 && !holdsAddress(kernel, netns, ips))
      return refuse(`has none of the addresses ${ips.join(', ')} on an interface that is up`);
    return netns;
  }

  #seen(type: 'add' | 'update' | 'delete', pod: Pod): void {
    const { uid } = pod.metadata;
    if (uid === undefined) return;
    this.#deps.onEvent?.(type);
    this.#byUid.set(uid, { pod, deleted: type === 'delete' });
    // A pod that is new is the plugin's; one that was there before us is looked at by `start`.
    if (this.#running && type !== 'add') this.#queue.add(uid);
    else if (!this.#running && type === 'delete') this.#byUid.delete(uid);
  }

  #namespaceChanged(now: Namespace, before: Namespace): void {
    const enabled = this.#enables(now);
    if (enabled !== this.#enables(before)) this.#logNamespace(now, enabled);
    if (JSON.stringify(now.metadata.labels) === JSON.stringify(before.metadata.labels)) return;
    if (!this.#running) return;
    for (const [uid, { pod }] of this.#byUid)
      if (pod.metadata.namespace === now.metadata.name) this.#queue.add(uid);
  }

  #enables({ metadata: { name, labels = {} } }: Namespace): boolean {
    return eligibility({ metadata: { namespace: name } }, labels, this.#deps.selection).enabled;
  }

  #logNamespace({ metadata: { name } }: Namespace, enabled: boolean): void {
    this.#log.info(
      enabled
        ? `namespace ${name} is enabled in the ambient mesh`
        : `namespace ${name} is no longer enabled in the ambient mesh`,
    );
  }

  #namespaceLabels(pod: Pod): Readonly<Record<string, string>> {
    return this.#deps.namespaces.get(undefined, pod.metadata.namespace ?? 'default')?.metadata.labels ?? {};
  }

  /** True: try again. */
  #reconcile(uid: string): Promise<boolean> {
    return this.#locked(uid, async () => {
      const known = this.#byUid.get(uid);
      if (known === undefined) return false;
      const { pod, deleted } = known;
      const running = !deleted && !isTerminal(pod);
      const wanted =
        running &&
        !isZtunnel(pod, this.#deps.systemNamespace) &&
        eligibility(pod, this.#namespaceLabels(pod), this.#deps.selection).enabled;
      const action = wanted ? 'added to' : 'removed from';
      try {
        const again = wanted ? await this.#takeIn(pod) : await this.#takeOut(pod, running);
        if (deleted && !again && this.#byUid.get(uid)?.deleted === true) this.#byUid.delete(uid);
        return again;
      } catch (error) {
        await this.#deps.status.failed(pod, `pod ${podKey(pod)} could not be ${action} the mesh`, error);
        return error instanceof SetupError ? error.retryable : true;
      }
    });
  }

  async #takeIn(pod: Pod): Promise<boolean> {
    const { mesh, status } = this.#deps;
    const ips = podIps(pod);
    if (mesh.isSettled(pod)) {
      // Taken away by somebody else: the control plane would send plaintext.
      if (pod.metadata.annotations?.[redirectionAnnotation] !== 'enabled')
        await status.annotate(pod.metadata.namespace ?? 'default', pod.metadata.name, 'enabled');
      return false;
    }
    // Without an address its sandbox is still being made: the plugin will ask.
    if (ips.length === 0) return false;
    return !(await mesh.add(pod, ips));
  }

  async #takeOut(pod: Pod, running: boolean): Promise<boolean> {
    const { mesh } = this.#deps;
    const annotated = pod.metadata.annotations?.[redirectionAnnotation] !== undefined;
    if (mesh.has(pod.metadata.uid ?? '') || (running && annotated)) await mesh.remove(pod, running);
    return false;
  }

  /** Plugin and watch may speak of one pod at a time; other pods go on. */
  async #locked<T>(uid: string, work: () => Promise<T>): Promise<T> {
    const before = this.#locks.get(uid) ?? Promise.resolve();
    const mine = before.then(work, work);
    this.#locks.set(uid, mine);
    try {
      return await mine;
    } finally {
      if (this.#locks.get(uid) === mine) this.#locks.delete(uid);
    }
  }
}

/** The same handle under the name that a reader of the log knows it by. */
function named(netns: Netns, label: string): Netns {
  let open = true;
  return {
    get fd() {
      // By then the number may be another file's.
      if (!open) throw new Error(`netns ${label} has been disposed of`);
      return netns.fd;
    },
    inode: netns.inode,
    dev: netns.dev,
    label,
    [Symbol.dispose]: () => {
      open = false;
      netns[Symbol.dispose]();
    },
  };
}
