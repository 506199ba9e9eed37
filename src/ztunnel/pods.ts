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

interface Pod {
  readonly uid: string;
  readonly info: PodInfo;
  readonly netns: Netns;
  state: 'Up' | 'Pending';
  /** While it is being started: an agent that asks again and a retry share one attempt. */
  starting: Promise<void> | undefined;
}

const retryMs = 5000;

export class Pods {
  readonly #runner: PodRunner;
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #pods = new Map<string, Pod>();
  #snapshot: Set<string> | undefined = new Set();
  #retry: Disposable | undefined;
  #closed = false;
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
    // The pod's sandbox was made anew: what ran in the old namespace is of no use to anybody.
    if (known !== undefined) await this.#drop(uid);
    const pod: Pod = { uid, info, netns, state: 'Pending', starting: undefined };
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

  #start(pod: Pod): Promise<void> {
    pod.starting ??= this.#attempt(pod).finally(() => {
      pod.starting = undefined;
    });
    return pod.starting;
  }

  async #attempt(pod: Pod): Promise<void> {
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
    // Removed meanwhile: `#drop` waits for this attempt and then stops what it has started.
    if (this.#pods.get(pod.uid) !== pod) return;
    pod.state = 'Up';
    this.started++;
    this.#changed();
  }

  async #drop(uid: string): Promise<void> {
    const pod = this.#pods.get(uid);
    if (pod === undefined) return;
    this.#pods.delete(uid);
    await pod.starting?.catch(() => {});
    await this.#runner.stop(uid);
    pod.netns[Symbol.dispose]();
    if (pod.state === 'Up') this.stopped++;
  }

  #planRetry(): void {
    if (this.#retry !== undefined || this.#closed) return;
    this.#retry = this.#clock.after(retryMs, () => {
      this.#retry = undefined;
      for (const pod of this.#pods.values()) {
        // A failure is logged and plans the next attempt.
        if (pod.state === 'Pending') void this.#start(pod).catch(() => {});
      }
    });
  }

  /** The runner could not keep the pod running: it is started again by and by. */
  lost(uid: string): void {
    const pod = this.#pods.get(uid);
    if (pod === undefined || pod.state === 'Pending') return;
    pod.state = 'Pending';
    this.stopped++;
    this.#planRetry();
    this.#changed();
  }

  /** Stops every pod. Nothing may be added afterwards. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#retry?.[Symbol.dispose]();
    for (const uid of this.#pods.keys()) await this.#drop(uid);
  }
}
