// One run of one container: started by its script, then known only by the files it leaves and by its cgroup. So
// the lab's process can end and come back without the container noticing.
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, statSync, watch, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isPopulated, killCgroup, makeCgroup, pidsIn, removeCgroup } from '../cgroups.ts';
import { renderStartScript, startArgv, type StartPlan } from './start-script.ts';

export type RunState =
  | { readonly kind: 'starting' }
  | { readonly kind: 'running'; readonly pid: number; readonly startedAt: number }
  /** `at` in milliseconds since the epoch. Code 137 also stands for "killed from outside". */
  | { readonly kind: 'exited'; readonly code: number; readonly startedAt: number; readonly at: number }
  /** The command was never run; `message` says why. */
  | { readonly kind: 'failed'; readonly message: string; readonly at: number };

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return undefined;
  }
}

function mtime(path: string): number | undefined {
  try {
    return Math.round(statSync(path).mtimeMs);
  } catch {
    return undefined;
  }
}

/** Reads a run's state from its folder and its cgroup. `live`: the starting process is known to be alive. */
export function inspectRun(dir: string, cgroup: string, live = false): RunState {
  const pidFile = join(dir, 'pid');
  const startedAt = mtime(pidFile);
  const exit = readText(join(dir, 'exit'));
  if (exit !== undefined && startedAt !== undefined) {
    const [code = '', seconds = ''] = exit.split(' ');
    return { kind: 'exited', code: Number(code), startedAt, at: Math.max(startedAt, Number(seconds) * 1000) };
  }
  const error = readText(join(dir, 'error'));
  if (error !== undefined)
    return { kind: 'failed', message: error, at: mtime(join(dir, 'error')) ?? Date.now() };
  const populated = live || isPopulated(cgroup);
  if (startedAt === undefined)
    return populated
      ? { kind: 'starting' }
      : { kind: 'failed', message: 'ended before the command was run', at: mtime(dir) ?? Date.now() };
  const pid = Number(readText(pidFile));
  // The file is made empty first, then filled.
  if (!Number.isInteger(pid) || pid <= 0) return { kind: 'starting' };
  return populated
    ? { kind: 'running', pid, startedAt }
    : { kind: 'exited', code: 137, startedAt, at: Date.now() };
}

export class ContainerProcess {
  readonly dir: string;
  readonly cgroup: string;
  #state: RunState = { kind: 'starting' };
  #live = false;
  readonly #onChange: (state: RunState) => void;
  readonly #release: () => void;

  private constructor(dir: string, cgroup: string, onChange: (state: RunState) => void) {
    this.dir = dir;
    this.cgroup = cgroup;
    this.#onChange = onChange;
    // The files tell at once; the timer finds what died without writing one.
    const watcher = watch(dir, { persistent: false }, () => this.#check());
    watcher.on('error', () => {});
    const timer = setInterval(() => this.#check(), 1000);
    timer.unref();
    this.#release = () => {
      watcher.close();
      clearInterval(timer);
    };
  }

  /** Runs the plan. Never throws for the command's own sake: that shows as state `failed` or `exited`. */
  static start(plan: StartPlan, onChange: (state: RunState) => void): ContainerProcess {
    mkdirSync(plan.dir, { recursive: true });
    mkdirSync(plan.rootDir, { recursive: true });
    makeCgroup(plan.cgroup);
    const script = join(plan.dir, 'start.sh');
    writeFileSync(script, renderStartScript(plan), { mode: 0o700 });
    const run = new ContainerProcess(plan.dir, plan.cgroup, onChange);
    const [file, ...args] = startArgv(plan, script) as [string, ...string[]];
    run.#live = true;
    const child = spawn(file, args, { detached: true, stdio: 'ignore', cwd: '/' });
    child.on('error', (error) => {
      writeFileSync(join(plan.dir, 'error'), `cannot run ${file}: ${error.message}\n`);
      run.#live = false;
      run.#check();
    });
    child.on('exit', () => {
      run.#live = false;
      run.#check();
    });
    child.unref();
    return run;
  }

  /** Takes over a run that an earlier process of the lab started. */
  static adopt(dir: string, cgroup: string, onChange: (state: RunState) => void): ContainerProcess {
    const run = new ContainerProcess(dir, cgroup, onChange);
    run.#state = inspectRun(dir, cgroup);
    if (run.ended) run.#release();
    return run;
  }

  get state(): RunState {
    return this.#state;
  }

  get ended(): boolean {
    return this.#state.kind === 'exited' || this.#state.kind === 'failed';
  }

  #check(): void {
    if (this.ended) return;
    const next = inspectRun(this.dir, this.cgroup, this.#live);
    if (next.kind === this.#state.kind) return;
    this.#state = next;
    if (this.ended) {
      this.#release();
      // What the command left behind goes with it, as with the first process of a pid namespace.
      killCgroup(this.cgroup);
    }
    this.#onChange(next);
  }

  /** To the command itself. False if it is gone; a pid that now belongs to somebody else is never signalled. */
  signal(name: NodeJS.Signals): boolean {
    if (this.#state.kind !== 'running' || !pidsIn(this.cgroup).includes(this.#state.pid)) return false;
    try {
      process.kill(this.#state.pid, name);
      return true;
    } catch {
      return false;
    }
  }

  /** SIGKILL to everything in the container. */
  kill(): void {
    killCgroup(this.cgroup);
    this.#live = false;
    setTimeout(() => this.#check(), 20).unref();
  }

  /** Stops watching; the container runs on. */
  release(): void {
    this.#release();
  }

  /** Removes the cgroup once it is empty. */
  removeCgroup(): boolean {
    return removeCgroup(this.cgroup);
  }
}
