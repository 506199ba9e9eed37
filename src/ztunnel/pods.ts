// The pods that the node agent has handed over: which run, which could not be started and are tried again.
// Knows nothing of datagrams; a pod is started in every data worker.
import { errorText } from '#/errors/index.ts';
import type { Clock, Logger } from '#/kit/index.ts';
import type { Netns } from '#/sys/index.ts';
import { sameNetns } from '#/sys/index.ts';
import type { PodInfo } from '#/wire/index.ts';

export interface PodRunner {
  /** Opens the pod's listeners. Rejects if any cannot be opened; nothing of the pod is then left running. */
  start(uid: string, info: PodInfo, netns: Netns): Promise<void>;
  /** Ends the pod's connections at once and closes its listeners. */
  stop(uid: string): Promise<void>;
}

export interface PodState {
  readonly uid: string;
  readonly info: PodInfo;
  readonly netns: Netns;
  readonly state: 'Up' | 'Pending';
}

const retryMs = 5000;

export class Pods {
  readonly #runner: PodRunner;
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #pods = new Map<string, { uid: string; info: PodInfo; netns: Netns; state: 'Up' | 'Pending' }>();
  #snapshot: Set<string> | undefined = new Set();
  #retry: Disposable | undefined;
  #changed: () => void = () => {};
  started = 0;
  stopped = 0;

  constructor(runner: PodRunner, log: Logger, clock: Clock) {
    this.#runner = runner;
    this.#log = log;
    this.#clock = clock;
  }

  /** Called whenever `ready` or a pod's state may have changed. */
  onChange(listener: () => void): void {
    this.#changed = listener;
  }

  all(): Iterable<PodState> {
    return this.#pods.values();
  }

  get(uid: string): PodState | undefined {
    return this.#pods.get(uid);
  }

  get pending(): number {
    let count = 0;
    for (const pod of this.#pods.values()) if (pod.state === 'Pending') count++;
    return count;
  }

  get active(): number {
    return this.#pods.size - this.pending;
  }

  /** A connection to the agent begins: pods it does not name until `snapshotSent` are gone. */
  beginSnapshot(): void {
    this.#snapshot = new Set();
  }

  /** Takes ownership of the namespace. Rejects if the pod could not be started; it is then tried again by itself. */
  async add(uid: string, info: PodInfo, netns: Netns): Promise<void> {
    this.#snapshot?.add(uid);
    const known = this.#pods.get(uid);
    if (known !== undefined && sameNetns(known.netns, netns)) {
      netns[Symbol.dispose]();
      if (known.state === 'Up') return;
      await this.#start(known);
      return;
    }
    this.#log.info('pod received netns, starting proxy', { uid, pod: `${info.namespace}/${info.name}` });
    if (known !== undefined) await this.#drop(uid);
    const pod = { uid, info, netns, state: 'Pending' as const };
    this.#pods.set(uid, pod);
    await this.#start(pod);
  }

  /** Only within a snapshot: the agent knows the pod, but has no namespace for it at hand. */
  keep(uid: string): boolean {
    if (this.#snapshot === undefined) return false;
    this.#snapshot.add(uid);
    return true;
  }

  async remove(uid: string): Promise<void> {
    if (!this.#pods.has(uid)) {
      this.#log.debug('pod to delete is not known', { uid });
      return;
    }
    this.#log.info('pod delete request, shutting down proxy', { uid });
    await this.#drop(uid);
    this.#changed();
  }

  /** False if the snapshot had ended before. */
  async snapshotSent(): Promise<boolean> {
    const named = this.#snapshot;
    if (named === undefined) return false;
    this.#snapshot = undefined;
    for (const uid of this.#pods.keys()) {
      if (named.has(uid)) continue;
      this.#log.info('pod is not in the snapshot, shutting down proxy', { uid });
      await this.#drop(uid);
    }
    this.#changed();
    return true;
  }

  get synced(): boolean {
    return this.#snapshot === undefined;
  }

  async #start(pod: { uid: string; info: PodInfo; netns: Netns; state: 'Up' | 'Pending' }): Promise<void> {
    try {
      await this.#runner.start(pod.uid, pod.info, pod.netns);
    } catch (error) {
      this.#log.error('failed to start proxy', {
        uid: pod.uid,
        pod: `${pod.info.namespace}/${pod.info.name}`,
        error: errorText(error),
      });
      this.#planRetry();
      this.#changed();
      throw error;
    }
    if (this.#pods.get(pod.uid) !== pod) {
      await this.#runner.stop(pod.uid);
      return;
    }
    pod.state = 'Up';
    this.started++;
    this.#changed();
  }

  async #drop(uid: string): Promise<void> {
    const pod = this.#pods.get(uid);
    if (pod === undefined) return;
    this.#pods.delete(uid);
    await this.#runner.stop(uid);
    pod.netns[Symbol.dispose]();
    this.stopped++;
  }

  #planRetry(): void {
    if (this.#retry !== undefined) return;
    this.#retry = this.#clock.after(retryMs, () => {
      this.#retry = undefined;
      for (const pod of this.#pods.values()) {
        // A failure has been logged and plans the next attempt.
        if (pod.state === 'Pending') void this.#start(pod).catch(() => {});
      }
    });
  }

  /** Starts every pod again in a runner that has lost them. */
  async restart(): Promise<void> {
    for (const pod of this.#pods.values()) {
      pod.state = 'Pending';
      await this.#start(pod).catch(() => {});
    }
  }

  async close(): Promise<void> {
    this.#retry?.[Symbol.dispose]();
    for (const uid of this.#pods.keys()) await this.#drop(uid);
  }
}
