// The pods of this node that are in the mesh, and the way in and out of it, step by step. Owns the open namespaces.
// Must not know why a pod goes in or out, or who asks: see pod-controller.
import { CaptureError, podSettings, type CaptureSettings, type ProbeEntry } from '#/capture/index.ts';
import { errorText } from '#/errors/index.ts';
import type { Logger } from '#/kit/index.ts';
import type { Pod } from '#/kube/index.ts';
import { sameNetns, type Kernel, type Netns } from '#/sys/index.ts';
import type { HostProbes } from './host-probes.ts';
import { openPodNetns, scanPods } from './node-processes.ts';
import type { PodRules } from './pod-rules.ts';
import type { PodStatusWriter, Redirection } from './pod-status.ts';
import type { ZdsPod, ZdsServer } from './zds-server.ts';

/** What was not done, and whether trying again without a change of the pod can help. */
export class SetupError extends Error {
  override readonly name = 'SetupError';
  readonly retryable: boolean;

  constructor(message: string, retryable: boolean, options?: ErrorOptions) {
    super(message, options);
    this.retryable = retryable;
  }
}

interface MeshPod extends ZdsPod {
  readonly key: string;
  netns: Netns | undefined;
  ips: readonly string[];
  /** ztunnel has acknowledged it. */
  acknowledged: boolean;
  annotation: Redirection | undefined;
}

export interface MeshPodsDeps {
  readonly kernel: Kernel;
  readonly proc: string;
  readonly settings: CaptureSettings;
  readonly rules: PodRules;
  readonly probes: HostProbes;
  readonly zds: () => ZdsServer;
  readonly status: PodStatusWriter;
  readonly log: Logger;
}

export const podKey = (pod: Pod): string => `${pod.metadata.namespace ?? 'default'}/${pod.metadata.name}`;

export function podIps(pod: Pod): readonly string[] {
  const list = pod.status?.podIPs?.map(({ ip }) => ip) ?? [];
  return list.length > 0 ? list : pod.status?.podIP === undefined ? [] : [pod.status.podIP];
}

export class MeshPods {
  readonly #deps: MeshPodsDeps;
  readonly #log: Logger;
  readonly #pods = new Map<string, MeshPod>();

  constructor(deps: MeshPodsDeps) {
    this.#deps = deps;
    this.#log = deps.log.scope('ambient');
  }

  has(uid: string): boolean {
    return this.#pods.has(uid);
  }

  get size(): number {
    return this.#pods.size;
  }

  /** True if the pod is all set up and annotated, and its addresses are the ones that were exempted. */
  isSettled(pod: Pod): boolean {
    const entry = this.#pods.get(pod.metadata.uid ?? '');
    return (
      entry?.netns !== undefined &&
      entry.acknowledged &&
      entry.annotation === 'enabled' &&
      podIps(pod).every((ip) => entry.ips.includes(ip))
    );
  }

  /** What a ztunnel must know now. */
  snapshot(): readonly ZdsPod[] {
    return [...this.#pods.values()];
  }

  /**
   * Takes pods into the list that were set up before this agent started. Their namespaces are found by their
   * processes; without one, ztunnel is told to keep what it has.
   */
  adopt(pods: readonly Pod[]): void {
    if (pods.length === 0) return;
    const processes = scanPods(this.#deps.proc);
    for (const pod of pods) {
      const entry = this.#entry(pod);
      entry.annotation = 'enabled';
      entry.acknowledged = true;
      entry.ips = podIps(pod);
      const found = openPodNetns(this.#deps.kernel, this.#deps.proc, processes, entry.uid, entry.ips);
      if ('reason' in found)
        this.#log.warn('pod was in the mesh, but its network namespace is not found', {
          pod: entry.key,
          reason: found.reason,
        });
      else entry.netns = found;
    }
  }

  /** Compares the rules of an adopted pod, and repairs them. */
  async reconcileRules(pod: Pod): Promise<void> {
    const entry = this.#pods.get(pod.metadata.uid ?? '');
    if (entry?.netns === undefined) return;
    try {
      await this.#deps.rules.removeOther(entry.netns);
      await this.#deps.rules.apply(entry.netns, this.#settings(pod), entry.key);
    } catch (error) {
      // Not settled: the controller tries again.
      entry.acknowledged = false;
      throw error;
    }
  }

  /** Sets the exempted addresses to those of the pods in the list. Without all addresses known, none is taken out. */
  async syncProbes(): Promise<void> {
    const pods = [...this.#pods.values()];
    const entries: ProbeEntry[] = pods.flatMap(({ uid, ips }) => ips.map((ip) => ({ ip, uid })));
    await this.#deps.probes.sync(
      entries,
      pods.every(({ ips }) => ips.length > 0),
    );
  }

  /**
   * Takes a pod into the mesh: rules first, so that nothing leaves it uncaptured, then ztunnel, then the host's
   * probes, then the annotation, which sends others' traffic through the tunnel. Takes ownership of `netns`. Every
   * step may be repeated. Throws SetupError; false if the pod is set up, but the annotation could not be written.
   */
  async add(pod: Pod, ips: readonly string[], netns?: Netns): Promise<boolean> {
    const known = this.#pods.has(pod.metadata.uid ?? '');
    // In the list before anything else: a ztunnel that connects now must not drop what it has for this pod.
    const entry = this.#entry(pod);
    this.#log.info(`in pod mode - adding pod ${entry.key} to ztunnel`, { uid: entry.uid });
    try {
      this.#take(entry, netns ?? this.#find(entry, ips));
      await this.#deps.rules.apply(entry.netns as Netns, this.#settings(pod), entry.key);
    } catch (error) {
      if (!known) this.#drop(entry);
      // A new pod's next change is its next attempt. One that is in the mesh is cut off until its rules are right.
      const retryable = known && !(error instanceof CaptureError);
      throw new SetupError(errorText(error), retryable);
    }
    // A sandbox that was made anew has other addresses; the old ones may be another pod's soon.
    const former = entry.ips.filter((ip) => !ips.includes(ip));
    entry.ips = ips;
    try {
      if (former.length > 0) await this.#deps.probes.remove(entry.uid, former);
      await this.#deps.zds().add({ ...entry, netns: entry.netns as Netns });
      entry.acknowledged = true;
      await this.#deps.probes.add(entry.uid, ips);
    } catch (error) {
      await this.#annotate(entry, 'pending').catch((failure) =>
        this.#log.warn(errorText(failure), { pod: entry.key }),
      );
      throw new SetupError(errorText(error), true);
    }
    this.#log.info('pod added', { pod: entry.key, uid: entry.uid, ips: ips.join(',') });
    this.#deps.status.forget(entry.uid);
    try {
      await this.#annotate(entry, 'enabled');
      return true;
    } catch (error) {
      this.#log.warn(errorText(error), { pod: entry.key });
      return false;
    }
  }

  /**
   * Takes a pod out of the mesh. `running` says that the pod goes on without it: then its rules are removed first,
   * and if that fails ztunnel keeps serving it (SetupError, retryable). The pod's annotation is removed last.
   */
  async remove(pod: Pod, running: boolean): Promise<void> {
    const uid = pod.metadata.uid ?? '';
    const key = podKey(pod);
    const entry = this.#pods.get(uid);
    this.#log.info('removing pod from the mesh', { pod: key, uid, running });
    await this.#deps.probes
      .remove(uid, [...new Set([...(entry?.ips ?? []), ...podIps(pod)])])
      .catch((error) => this.#log.warn(errorText(error), { pod: key }));
    if (running) await this.#removeRules(pod, entry);
    if (entry !== undefined) this.#drop(entry);
    await this.#deps.zds().del(uid);
    this.#deps.status.forget(uid);
    this.#log.info('pod removed', { pod: key, uid });
    if (!running) return;
    try {
      await this.#deps.status.annotate(pod.metadata.namespace ?? 'default', pod.metadata.name, undefined);
    } catch (error) {
      throw new SetupError(errorText(error), true);
    }
  }

  /** Closes the namespaces; the pods stay in the mesh. */
  close(): void {
    for (const entry of this.#pods.values()) entry.netns?.[Symbol.dispose]();
    this.#pods.clear();
  }

  async #removeRules(pod: Pod, entry: MeshPod | undefined): Promise<void> {
    let netns = entry?.netns;
    let borrowed: Netns | undefined;
    if (netns === undefined) {
      const { kernel, proc } = this.#deps;
      const found = openPodNetns(kernel, proc, scanPods(proc), pod.metadata.uid ?? '', podIps(pod));
      if ('reason' in found) {
        this.#log.warn('no rules removed from pod', { pod: podKey(pod), reason: found.reason });
        return;
      }
      netns = borrowed = found;
    }
    try {
      await this.#deps.rules.remove(netns);
      this.#log.scope('iptables').info('rules removed', { pod: podKey(pod) });
    } catch (error) {
      throw new SetupError(`its rules could not be removed: ${errorText(error)}`, true);
    } finally {
      borrowed?.[Symbol.dispose]();
    }
  }

  #entry(pod: Pod): MeshPod {
    const { uid, namespace = 'default', name } = pod.metadata;
    if (uid === undefined || uid === '') throw new SetupError(`pod ${podKey(pod)} has no UID`, false);
    const serviceAccount = pod.spec.serviceAccountName ?? 'default';
    const old = this.#pods.get(uid);
    if (old !== undefined) return old;
    const entry: MeshPod = {
      uid,
      key: podKey(pod),
      info: { name, namespace, serviceAccount },
      netns: undefined,
      ips: [],
      acknowledged: false,
      annotation: undefined,
    };
    this.#pods.set(uid, entry);
    return entry;
  }

  #take(entry: MeshPod, netns: Netns): void {
    const old = entry.netns;
    if (old === netns) return;
    entry.netns = netns;
    if (old === undefined || !sameNetns(old, netns)) {
      entry.acknowledged = false;
      this.#log.info('netns received', { pod: entry.key, netns: netns.label, inode: String(netns.inode) });
    }
    old?.[Symbol.dispose]();
  }

  #find(entry: MeshPod, ips: readonly string[]): Netns {
    if (entry.netns !== undefined) return entry.netns;
    const found = openPodNetns(this.#deps.kernel, this.#deps.proc, scanPods(this.#deps.proc), entry.uid, ips);
    if ('reason' in found) throw new Error(`its network namespace is not found: ${found.reason}`);
    return found;
  }

  #drop(entry: MeshPod): void {
    this.#pods.delete(entry.uid);
    entry.netns?.[Symbol.dispose]();
    entry.netns = undefined;
  }

  #settings(pod: Pod): CaptureSettings {
    return podSettings(this.#deps.settings, pod.metadata.annotations ?? {});
  }

  async #annotate(entry: MeshPod, value: Redirection): Promise<void> {
    if (await this.#deps.status.annotate(entry.info.namespace, entry.info.name, value))
      entry.annotation = value;
  }
}
