// One container of a pod through all its runs: starts, restarts with growing pauses, probes. Its folder holds one
// folder per run, so that a new lab process finds the count, the last exit and the logs.
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Container } from '#/kube/index.ts';
import { backoffDelay } from '#/kit/index.ts';
import { ContainerProcess, inspectRun, type RunState } from '../runtime/container-process.ts';
import type { StartPlan } from '../runtime/start-script.ts';
import { ProbeLoop, type ProbeResult } from './probe.ts';
import type { ContainerView } from './pod-status.ts';

/** Runs whose logs are kept: the current one and the one before, as for `logs --previous`. */
const keptRuns = 2;
const restartBackoff = { initial: 1000, max: 60_000 };
/** A run of this length was not a failed start. */
const goodRunMs = 60_000;

export interface RunnerOptions {
  readonly spec: Container;
  /** The container's folder. */
  readonly dir: string;
  readonly cgroup: string;
  readonly restartPolicy: string;
  /** It was ready when somebody last looked: a container that is taken over stays so until a probe says otherwise. */
  readonly wasReady: boolean;
  readonly onChange: () => void;
  readonly ask: (probe: NonNullable<Container['readinessProbe']>, timeoutMs: number) => Promise<ProbeResult>;
  readonly onUnhealthy: (kind: 'Readiness' | 'Liveness' | 'Startup', message: string) => void;
}

export function runDirs(dir: string): number[] {
  try {
    return readdirSync(dir)
      .map(Number)
      .filter(Number.isInteger)
      .sort((a, b) => a - b);
  } catch {
    return [];
  }
}

export class ContainerRunner {
  readonly spec: Container;
  readonly #options: RunnerOptions;
  #process: ContainerProcess | undefined;
  #last: RunState | undefined;
  #attempt = -1;
  #failures = 0;
  #ready = false;
  #started = false;
  #probes: ProbeLoop[] = [];
  /** Set while something outside keeps it from starting. */
  waiting: { reason: string; message?: string } | undefined;

  constructor(options: RunnerOptions) {
    this.#options = options;
    this.spec = options.spec;
    const runs = runDirs(options.dir);
    const newest = runs.at(-1);
    if (newest === undefined) return;
    this.#attempt = newest;
    const before = runs.at(-2);
    if (before !== undefined)
      this.#last = inspectRun(join(options.dir, String(before)), `${options.cgroup}.none`);
    this.#process = ContainerProcess.adopt(join(options.dir, String(newest)), options.cgroup, (state) =>
      this.#onState(state),
    );
    if (this.#process.state.kind === 'running') {
      this.#ready = options.wasReady;
      this.#startProbes(options.wasReady);
    }
    // A run that ended while nobody looked is dealt with as if it ended now.
    if (this.#process.ended) this.#failures = 1;
  }

  get state(): RunState | undefined {
    return this.#process?.state;
  }

  /** Folder of the current run. */
  get runDir(): string | undefined {
    return this.#attempt < 0 ? undefined : join(this.#options.dir, String(this.#attempt));
  }

  get cgroup(): string {
    return this.#options.cgroup;
  }

  get active(): boolean {
    return this.#process !== undefined && !this.#process.ended;
  }

  get ready(): boolean {
    return this.#ready;
  }

  get started(): boolean {
    return this.#started;
  }

  /** True if it has ended and will not be started again by its policy. */
  get done(): boolean {
    const state = this.state;
    if (state === undefined || this.active) return false;
    switch (this.#options.restartPolicy) {
      case 'Never':
        return true;
      case 'OnFailure':
        return state.kind === 'exited' && state.code === 0;
      default:
        return false;
    }
  }

  get succeeded(): boolean {
    const state = this.state;
    return state?.kind === 'exited' && state.code === 0;
  }

  /** Milliseconds since the epoch at which it may start (again); 0 for the first time. */
  get mayStartAt(): number {
    const state = this.state;
    if (state === undefined || (state.kind !== 'exited' && state.kind !== 'failed')) return 0;
    // The first restart comes at once: a program that was killed should be back soon.
    return this.#failures <= 1 ? 0 : state.at + backoffDelay(restartBackoff, this.#failures - 2);
  }

  view(): ContainerView {
    return {
      spec: this.spec,
      restarts: Math.max(0, this.#attempt),
      current: this.state,
      last: this.#last,
      waiting: this.waiting,
      ready: this.#ready,
      started: this.#started,
    };
  }

  start(plan: Omit<StartPlan, 'dir' | 'cgroup'>): void {
    if (this.active) return;
    this.#last = this.state ?? this.#last;
    this.waiting = undefined;
    this.#attempt++;
    const dir = join(this.#options.dir, String(this.#attempt));
    mkdirSync(dir, { recursive: true });
    for (const old of runDirs(this.#options.dir).slice(0, -keptRuns))
      rmSync(join(this.#options.dir, String(old)), { recursive: true, force: true });
    this.#process = ContainerProcess.start({ ...plan, dir, cgroup: this.#options.cgroup }, (state) =>
      this.#onState(state),
    );
  }

  signal(name: NodeJS.Signals): boolean {
    return this.#process?.signal(name) ?? false;
  }

  kill(): void {
    this.#process?.kill();
  }

  /** Ends probes and watching; the container itself runs on. */
  release(): void {
    this.#stopProbes();
    this.#process?.release();
  }

  #onState(state: RunState): void {
    if (state.kind === 'running') this.#startProbes();
    if (state.kind === 'exited' || state.kind === 'failed') {
      this.#stopProbes();
      this.#ready = false;
      this.#started = false;
      const lasted = state.kind === 'exited' ? state.at - state.startedAt : 0;
      this.#failures = lasted >= goodRunMs ? 1 : this.#failures + 1;
    }
    this.#options.onChange();
  }

  #stopProbes(): void {
    for (const probe of this.#probes) probe[Symbol.dispose]();
    this.#probes = [];
  }

  #startProbes(started = false): void {
    this.#stopProbes();
    const { startupProbe } = this.spec;
    if (startupProbe === undefined || started) {
      this.#onStarted();
      return;
    }
    let passed = false;
    this.#probes.push(
      new ProbeLoop(startupProbe, false, (timeout) => this.#options.ask(startupProbe, timeout), {
        onVerdict: (ok, result) => {
          if (passed) return;
          if (ok) {
            passed = true;
            this.#stopProbes();
            this.#onStarted();
            this.#options.onChange();
          } else this.#fail('Startup', result);
        },
        onFailure: (result) => this.#options.onUnhealthy('Startup', result.message),
      }),
    );
  }

  #onStarted(): void {
    this.#started = true;
    const { readinessProbe, livenessProbe } = this.spec;
    if (readinessProbe === undefined) this.#ready = true;
    else
      this.#probes.push(
        new ProbeLoop(readinessProbe, this.#ready, (timeout) => this.#options.ask(readinessProbe, timeout), {
          onVerdict: (ok) => {
            if (ok === this.#ready) return;
            this.#ready = ok;
            this.#options.onChange();
          },
          onFailure: (result) => this.#options.onUnhealthy('Readiness', result.message),
        }),
      );
    if (livenessProbe !== undefined)
      this.#probes.push(
        new ProbeLoop(livenessProbe, true, (timeout) => this.#options.ask(livenessProbe, timeout), {
          onVerdict: (ok, result) => {
            if (!ok) this.#fail('Liveness', result);
          },
          onFailure: (result) => this.#options.onUnhealthy('Liveness', result.message),
        }),
      );
  }

  /** A container that its probe gives up on is ended; its policy says whether it starts again. */
  #fail(kind: 'Liveness' | 'Startup', result: ProbeResult): void {
    this.#options.onUnhealthy(kind, `container will be restarted: ${result.message}`);
    const run = this.#process;
    run?.signal('SIGTERM');
    setTimeout(() => {
      if (run !== undefined && !run.ended && run === this.#process) run.kill();
    }, 10_000).unref();
  }
}
