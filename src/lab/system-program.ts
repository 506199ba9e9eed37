// A program of the lab itself that is no pod, such as the API server: kept running through its container-like
// script, with growing pauses, and taken over by a new lab process.
import { join } from 'node:path';
import { mkdirSync } from 'node:fs';
import { ContainerRunner } from './kubelet/container-runner.ts';
import { rotateLog } from './kubelet/kubelet.ts';

export interface SystemProgramOptions {
  readonly name: string;
  /** State and logs. */
  readonly dir: string;
  readonly cgroup: string;
  readonly netns: string;
  readonly hostname: string;
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

export class SystemProgram {
  readonly #options: SystemProgramOptions;
  readonly #runner: ContainerRunner;
  #timer: NodeJS.Timeout | undefined;
  #rotation: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(options: SystemProgramOptions) {
    this.#options = options;
    mkdirSync(options.dir, { recursive: true });
    this.#runner = new ContainerRunner({
      spec: { name: options.name },
      dir: options.dir,
      cgroup: options.cgroup,
      restartPolicy: 'Always',
      wasReady: true,
      onChange: () => this.#look(),
      ask: () => Promise.resolve({ ok: true, message: '' }),
      onUnhealthy: () => {},
    });
  }

  start(): void {
    this.#look();
    this.#rotation = setInterval(() => {
      if (this.#runner.runDir !== undefined) rotateLog(join(this.#runner.runDir, 'log'), 10 << 20);
    }, 30_000);
    this.#rotation.unref();
  }

  /** Path of the current run's log. */
  get log(): string | undefined {
    return this.#runner.runDir === undefined ? undefined : join(this.#runner.runDir, 'log');
  }

  get running(): boolean {
    return this.#runner.state?.kind === 'running';
  }

  get restarts(): number {
    return this.#runner.view().restarts;
  }

  #look(): void {
    if (this.#stopped || this.#runner.active) return;
    clearTimeout(this.#timer);
    const delay = this.#runner.mayStartAt - Date.now();
    if (delay > 0) {
      this.#timer = setTimeout(() => this.#look(), delay);
      return;
    }
    const { name, netns, hostname, argv, env, dir } = this.#options;
    this.#runner.start({
      title: name,
      netns,
      hostname,
      rootDir: join(dir, 'root'),
      argv,
      env,
      workingDir: '/',
      mounts: [],
    });
  }

  /** Stops watching; the program runs on. */
  release(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    clearInterval(this.#rotation);
    this.#runner.release();
  }
}
