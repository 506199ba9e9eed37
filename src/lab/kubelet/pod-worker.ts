// One pod on one node, from its binding to its end. Level-triggered: every wake-up looks at the pod, the disk and
// the containers, does what is missing and says when to look again; so the same code starts a pod, repairs it,
// and takes it over after a restart of the lab's process.
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { backoffDelay, type Clock } from '#/kit/index.ts';
import { isNotFound, pods, type Container, type Pod, type PodStatus } from '#/kube/index.ts';
import { isPopulated, killCgroup, removeCgroup } from '../cgroups.ts';
import { ensureSandbox, removeSandbox, writeWhole } from '../runtime/sandbox.ts';
import { ImageError, planContainer } from './container-plan.ts';
import type { ContainerRunner } from './container-runner.ts';
import { envContext, podPlaces, type KubeletContext, type PodPlaces } from './kubelet-context.ts';
import { ConfigError } from './pod-env.ts';
import { execInContainer, podRunner } from './pod-runner.ts';
import { buildPodStatus, isSidecar, type PodView } from './pod-status.ts';
import { VolumeStore } from './volume-store.ts';
import { withAccountVolume } from './volume-plan.ts';

const setUpBackoff = { initial: 500, max: 20_000 };
/** Tokens and ConfigMaps are looked at this often, also when nothing happens. */
const refreshMs = 60_000;

interface Stop {
  deadline: number;
  hooked: boolean;
}

export class PodWorker {
  readonly uid: string;
  readonly #context: KubeletContext;
  readonly #clock: Clock;
  readonly #places: PodPlaces;
  readonly #volumes: VolumeStore;
  readonly #onClosed: () => void;
  readonly #startTime: number;
  #pod: Pod;
  #known = true;
  #init: ContainerRunner[] = [];
  #containers: ContainerRunner[] = [];
  #ips: readonly string[] = [];
  #stop: Stop | undefined;
  #released = false;
  #failures = 0;
  #pushed = '';
  #dirty = false;
  #looping = false;
  #closed = false;
  #timer: Disposable | undefined;
  #removeAttempts = 0;

  constructor(context: KubeletContext, pod: Pod, clock: Clock, onClosed: () => void) {
    this.uid = pod.metadata.uid ?? '';
    this.#context = context;
    this.#clock = clock;
    this.#pod = pod;
    this.#places = podPlaces(context, pod);
    this.#onClosed = onClosed;
    this.#startTime = Date.parse(pod.status?.startTime ?? '') || clock.now();
    this.#volumes = new VolumeStore(
      { memory: this.#places.memory, disk: this.#places.dir },
      this.#places.node,
      context.client,
    );
    this.#remember();
    const runner = (spec: Container): ContainerRunner => this.#runner(spec);
    this.#init = (pod.spec.initContainers ?? []).map(runner);
    this.#containers = pod.spec.containers.map(runner);
    // A pod that was taken over has its addresses before its network is looked at again.
    this.#ips = (pod.status?.podIPs ?? []).map(({ ip }) => ip);
    this.wake();
  }

  get pod(): Pod {
    return this.#pod;
  }

  /** Containers by name, with the folder of the current run. */
  container(name: string | undefined): ContainerRunner | undefined {
    const all = [...this.#containers, ...this.#init];
    return name === undefined || name === ''
      ? this.#containers[0]
      : all.find(({ spec }) => spec.name === name);
  }

  /** The pod as the API has it now. */
  update(pod: Pod): void {
    this.#pod = pod;
    this.#known = true;
    this.#remember();
    this.wake();
  }

  /** The API no longer has the pod: it ends without being asked. */
  forget(): void {
    this.#known = false;
    this.wake();
  }

  wake(): void {
    this.#dirty = true;
    if (!this.#looping && !this.#closed) void this.#loop();
  }

  /** Stops watching; containers run on. */
  release(): void {
    this.#closed = true;
    this.#timer?.[Symbol.dispose]();
    for (const runner of [...this.#init, ...this.#containers]) runner.release();
  }

  /** On disk, so that a pod can be found, watched and ended while the API is away. */
  #remember(): void {
    writeWhole(join(this.#places.dir, 'pod.json'), JSON.stringify(this.#pod));
  }

  #event(type: 'Normal' | 'Warning', reason: string, message: string): void {
    const { name, namespace } = this.#pod.metadata;
    this.#context.log.log(type === 'Normal' ? 'debug' : 'warn', `${reason}: ${message}`, {
      pod: `${namespace}/${name}`,
    });
    this.#context.events.record(this.#pod, 'Pod', type, reason, message);
  }

  #runner(spec: Container): ContainerRunner {
    return podRunner({
      context: this.#context,
      places: this.#places,
      pod: this.#pod,
      spec,
      podIp: () => this.#ips[0],
      event: (type, reason, message) => this.#event(type, reason, message),
      onChange: () => this.wake(),
    });
  }

  async #loop(): Promise<void> {
    this.#looping = true;
    while (this.#dirty && !this.#closed) {
      this.#dirty = false;
      this.#timer?.[Symbol.dispose]();
      let delay: number;
      try {
        delay = await this.#sync();
      } catch (error) {
        this.#context.log.error('pod', {
          pod: `${this.#pod.metadata.namespace}/${this.#pod.metadata.name}`,
          error: (error as Error).message,
        });
        delay = backoffDelay(setUpBackoff, this.#failures++);
      }
      if (!this.#closed) this.#timer = this.#clock.after(delay, () => this.wake());
    }
    this.#looping = false;
  }

  get #ending(): boolean {
    return !this.#known || this.#pod.metadata.deletionTimestamp !== undefined;
  }

  #view(): PodView {
    return {
      init: this.#init.map((runner) => runner.view()),
      containers: this.#containers.map((runner) => runner.view()),
      ips: this.#ips,
      hostIps: this.#context.node.ips,
      startTime: this.#startTime,
      terminating: this.#ending,
    };
  }

  /** Looks once. Gives the milliseconds until the next look. */
  async #sync(): Promise<number> {
    if (this.#ending) return this.#end();
    const phase = this.#pod.status?.phase;
    const idle = [...this.#init, ...this.#containers].every((runner) => !runner.active);
    if ((phase === 'Succeeded' || phase === 'Failed') && idle) {
      await this.#releaseNetwork();
      return refreshMs;
    }
    const { pod } = this;
    const automount = this.#context.serviceAccount(
      pod.metadata.namespace ?? 'default',
      pod.spec.serviceAccountName ?? 'default',
    )?.automountServiceAccountToken;
    const whole = withAccountVolume(pod, automount !== false);
    let sources: Map<string, string>;
    try {
      sources = await this.#volumes.update(
        whole,
        envContext(this.#context, whole, this.#ips),
        this.#clock.now(),
      );
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      return this.#blocked('FailedMount', error.message);
    }
    try {
      this.#ips =
        pod.spec.hostNetwork === true
          ? this.#context.node.ips
          : await ensureSandbox(this.#places.sandbox, this.#context.plugins, this.#places.node.cniConf);
    } catch (error) {
      return this.#blocked(
        'FailedCreatePodSandBox',
        `Failed to create pod sandbox: ${(error as Error).message}`,
      );
    }
    this.#failures = 0;
    const wait = this.#advance(whole, sources);
    const pushedIn = await this.#pushStatus();
    return Math.min(wait, pushedIn, refreshMs);
  }

  /** Nothing can start: says why in an event, keeps what runs, tries again after a growing pause. */
  async #blocked(reason: string, message: string): Promise<number> {
    this.#event('Warning', reason, message);
    await this.#pushStatus();
    return backoffDelay(setUpBackoff, this.#failures++);
  }

  /** Starts what may start. Gives the milliseconds until something else may. */
  #advance(pod: Pod, sources: ReadonlyMap<string, string>): number {
    let wait = Infinity;
    const start = (runner: ContainerRunner): void => {
      if (runner.active || runner.done) return;
      const delay = runner.mayStartAt - this.#clock.now();
      if (delay > 0) {
        runner.waiting = {
          reason: 'CrashLoopBackOff',
          message: `back-off ${Math.ceil(delay / 1000)}s restarting failed container=${runner.spec.name} pod=${pod.metadata.name}`,
        };
        if (runner.view().restarts > 0)
          this.#event('Warning', 'BackOff', `Back-off restarting failed container ${runner.spec.name}`);
        wait = Math.min(wait, delay);
        return;
      }
      wait = Math.min(wait, this.#startContainer(runner, pod, sources));
    };
    for (const runner of this.#init) {
      start(runner);
      const passed = isSidecar(runner.spec)
        ? runner.started && runner.state?.kind === 'running'
        : runner.succeeded;
      if (!passed) {
        for (const later of this.#containers) later.waiting = { reason: 'PodInitializing' };
        return wait;
      }
    }
    for (const runner of this.#containers) start(runner);
    return wait;
  }

  #startContainer(runner: ContainerRunner, pod: Pod, sources: ReadonlyMap<string, string>): number {
    const spec = [...pod.spec.containers, ...(pod.spec.initContainers ?? [])].find(
      ({ name }) => name === runner.spec.name,
    ) as Container;
    try {
      runner.start(planContainer(this.#context, pod, spec, this.#ips, sources));
      return Infinity;
    } catch (error) {
      if (!(error instanceof ConfigError) && !(error instanceof ImageError)) throw error;
      const reason = error instanceof ConfigError ? 'CreateContainerConfigError' : 'ErrImagePull';
      runner.waiting = { reason, message: error.message };
      this.#event('Warning', 'Failed', `Error: ${error.message}`);
      return backoffDelay(setUpBackoff, this.#failures++);
    }
  }

  /** Writes the status if it differs from what was written last. Gives the delay until it must be tried again. */
  async #pushStatus(): Promise<number> {
    const status: PodStatus = buildPodStatus(this.#pod, this.#view(), this.#clock.now());
    const text = JSON.stringify(status);
    if (text === this.#pushed || !this.#known) return Infinity;
    const { name, namespace, uid } = this.#pod.metadata;
    try {
      await this.#context.client.patch(pods, namespace, name, { metadata: { uid }, status }, 'merge', {
        subresource: 'status',
      });
      this.#pushed = text;
      if (status.phase === 'Succeeded' || status.phase === 'Failed') await this.#releaseNetwork();
      return Infinity;
    } catch (error) {
      if (isNotFound(error)) return Infinity;
      this.#context.log.debug('status was not written', {
        pod: `${namespace}/${name}`,
        error: (error as Error).message,
      });
      return 1000;
    }
  }

  async #releaseNetwork(): Promise<void> {
    if (this.#released) return;
    killCgroup(this.#places.cgroup);
    if (this.#pod.spec.hostNetwork !== true) await removeSandbox(this.#places.sandbox, this.#context.plugins);
    this.#released = true;
  }

  async #end(): Promise<number> {
    const all = [...this.#containers, ...this.#init];
    const { metadata, spec } = this.#pod;
    const grace = this.#known
      ? (metadata.deletionGracePeriodSeconds ?? spec.terminationGracePeriodSeconds ?? 30)
      : Math.min(2, spec.terminationGracePeriodSeconds ?? 2);
    const now = this.#clock.now();
    this.#stop ??= { deadline: now + grace * 1000, hooked: false };
    // A second, more impatient delete counts.
    this.#stop.deadline = Math.min(this.#stop.deadline, now + grace * 1000);
    if (!this.#stop.hooked) {
      this.#stop.hooked = true;
      await Promise.all(all.filter(({ active }) => active).map((runner) => this.#askToStop(runner, grace)));
    }
    if (all.some(({ active }) => active) && this.#clock.now() < this.#stop.deadline) {
      await this.#pushStatus();
      return Math.max(1, Math.min(1000, this.#stop.deadline - this.#clock.now()));
    }
    killCgroup(this.#places.cgroup);
    for (let i = 0; i < 100 && isPopulated(this.#places.cgroup); i++) await this.#clock.sleep(20);
    await this.#pushStatus();
    return this.#cleanUp();
  }

  async #askToStop(runner: ContainerRunner, grace: number): Promise<void> {
    this.#event('Normal', 'Killing', `Stopping container ${runner.spec.name}`);
    const hook = runner.spec.lifecycle?.['preStop'] as
      | {
          readonly exec?: { readonly command?: readonly string[] };
          readonly sleep?: { readonly seconds?: number };
        }
      | undefined;
    const limit = Math.max(1, grace) * 1000;
    if (hook?.exec?.command !== undefined) await execInContainer(runner, hook.exec.command, limit);
    if (hook?.sleep?.seconds !== undefined)
      await this.#clock.sleep(Math.min(limit, hook.sleep.seconds * 1000));
    runner.signal('SIGTERM');
  }

  async #cleanUp(): Promise<number> {
    try {
      await this.#releaseNetwork();
    } catch (error) {
      // A plugin that cannot undo must not keep the pod for ever: its namespace goes, and with it the link.
      this.#event('Warning', 'FailedKillPod', (error as Error).message);
      if (++this.#removeAttempts < 3) return backoffDelay(setUpBackoff, this.#removeAttempts);
      rmSync(this.#places.sandbox.record, { force: true });
      await removeSandbox(this.#places.sandbox, this.#context.plugins);
    }
    const { name, namespace, uid } = this.#pod.metadata;
    if (this.#known && uid !== undefined) {
      try {
        await this.#context.client.delete(pods, namespace, name, {
          gracePeriodSeconds: 0,
          preconditions: { uid },
        });
      } catch (error) {
        if ((error as { code?: unknown }).code !== 409) return backoffDelay(setUpBackoff, this.#failures++);
      }
    }
    this.release();
    this.#volumes.remove();
    removeCgroup(this.#places.cgroup);
    rmSync(this.#places.dir, { recursive: true, force: true });
    this.#onClosed();
    return refreshMs;
  }
}
