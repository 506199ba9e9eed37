// One node's kubelet: takes over what runs from before, then keeps one worker per pod bound to the node.
import { copyFileSync, readdirSync, readFileSync, rmSync, statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock, type Clock } from '#/kit/index.ts';
import type { Informer, Pod } from '#/kube/index.ts';
import { killCgroup, removeCgroup } from '../cgroups.ts';
import { runDirs } from './container-runner.ts';
import type { KubeletContext } from './kubelet-context.ts';
import { PodWorker } from './pod-worker.ts';

/** A log that grew beyond this is kept as log.1 and begun anew. */
const logLimit = 10 << 20;

export interface StoredPod {
  readonly pod: Pod;
  readonly dir: string;
}

/** The pods that the lab's disk knows, of every node: also without the API, and without the lab's process. */
export function storedPods(podsDir: string): StoredPod[] {
  let names: string[];
  try {
    names = readdirSync(podsDir);
  } catch {
    return [];
  }
  return names.flatMap((uid) => {
    const dir = join(podsDir, uid);
    try {
      return [{ pod: JSON.parse(readFileSync(join(dir, 'pod.json'), 'utf8')) as Pod, dir }];
    } catch {
      return [];
    }
  });
}

export class Kubelet {
  readonly context: KubeletContext;
  readonly #clock: Clock;
  readonly #workers = new Map<string, PodWorker>();
  readonly #unsubscribe: (() => void)[] = [];
  #rotation: NodeJS.Timeout | undefined;

  constructor(context: KubeletContext, clock: Clock = systemClock) {
    this.context = context;
    this.#clock = clock;
  }

  get workers(): PodWorker[] {
    return [...this.#workers.values()];
  }

  worker(namespace: string, name: string): PodWorker | undefined {
    // The newest: an old one of the same name may still be ending.
    return this.workers.findLast(
      ({ pod }) => pod.metadata.name === name && pod.metadata.namespace === namespace,
    );
  }

  /** Takes over the pods on disk and follows those of the API. `informer` has all nodes' pods, and is synced. */
  start(informer: Informer<Pod>): void {
    const node = this.context.node.name;
    const mine = (pod: Pod): boolean => pod.spec.nodeName === node;
    const see = (pod: Pod): void => {
      if (mine(pod)) this.#see(pod);
    };
    this.#unsubscribe.push(
      informer.on('add', see),
      informer.on('update', see),
      informer.on('delete', (pod) => {
        if (mine(pod)) this.#workers.get(pod.metadata.uid ?? '')?.forget();
      }),
    );
    informer.list().forEach(see);
    // What the API does not have any more: taken over, to be ended.
    for (const { pod } of storedPods(this.context.paths.podsDir))
      if (pod.spec.nodeName === node) this.#take(pod);
    this.#compare(informer);
    this.#rotation = setInterval(() => this.#rotateLogs(), 15_000);
    this.#rotation.unref();
  }

  /** Ends watching; pods run on. */
  stop(): void {
    for (const end of this.#unsubscribe) end();
    clearInterval(this.#rotation);
    for (const worker of this.#workers.values()) worker.release();
  }

  /** A pod whose mounted ConfigMap or Secret has changed is looked at soon, not only by its timer. */
  wakePodsUsing(kind: 'configMap' | 'secret', namespace: string, name: string): void {
    const needle = JSON.stringify(name);
    for (const worker of this.#workers.values()) {
      const { metadata, spec } = worker.pod;
      if (metadata.namespace !== namespace) continue;
      const text = JSON.stringify([spec.volumes ?? [], spec.containers]);
      if (name === 'kube-root-ca.crt' || (text.includes(needle) && text.includes(kind))) worker.wake();
    }
  }

  #see(pod: Pod): void {
    const known = this.#workers.get(pod.metadata.uid ?? '');
    if (known === undefined) this.#take(pod);
    else known.update(pod);
  }

  #take(pod: Pod): void {
    const uid = pod.metadata.uid ?? '';
    if (uid === '' || this.#workers.has(uid)) return;
    this.#workers.set(uid, new PodWorker(this.context, pod, this.#clock, () => this.#workers.delete(uid)));
  }

  /** What the API's list does not have, ends. */
  #compare(informer: Informer<Pod>): void {
    const { node, labCgroup, paths } = this.context;
    const known = new Set(informer.list().map(({ metadata }) => metadata.uid));
    for (const worker of this.#workers.values()) if (!known.has(worker.uid)) worker.forget();
    // A cgroup without a worker: its pod's folder was lost half-way.
    const tree = join(labCgroup, node.name, 'kubepods', 'besteffort');
    let groups: string[] = [];
    try {
      groups = readdirSync(tree).filter((name) => name.startsWith('pod'));
    } catch {
      return;
    }
    for (const group of groups) {
      const uid = group.slice('pod'.length);
      if (this.#workers.has(uid)) continue;
      killCgroup(join(tree, group));
      setTimeout(() => removeCgroup(join(tree, group)), 100).unref();
      rmSync(join(paths.podsDir, uid), { recursive: true, force: true });
    }
  }

  #rotateLogs(): void {
    for (const worker of this.#workers.values()) {
      const containers = join(this.context.paths.podsDir, worker.uid, 'containers');
      let names: string[] = [];
      try {
        names = readdirSync(containers);
      } catch {
        continue;
      }
      for (const name of names)
        for (const attempt of runDirs(join(containers, name)))
          rotateLog(join(containers, name, String(attempt), 'log'), logLimit);
    }
  }
}

/** Copies and truncates: the writer has the file open for appending, and goes on at its new end. */
export function rotateLog(path: string, limit: number): boolean {
  try {
    if (statSync(path).size <= limit) return false;
    copyFileSync(path, `${path}.1`);
    truncateSync(path);
    return true;
  } catch {
    return false;
  }
}
