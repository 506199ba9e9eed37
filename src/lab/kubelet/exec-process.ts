// A command that runs for a client far away, whatever protocol the two speak.
import { spawn } from 'node:child_process';
import { toolPath } from '../command.ts';

export interface ExecSink {
  /** False if the client reads too slowly; `resume` is called when it has caught up. */
  write(channel: 'stdout' | 'stderr', data: Buffer): boolean;
  /** After all output. `status` is a Kubernetes Status. */
  finish(status: unknown): void;
}

/** The Status that tells kubectl how the command ended. */
export function exitStatus(code: number | null, signal: string | null, failure?: string): unknown {
  if (failure !== undefined)
    return { metadata: {}, status: 'Failure', reason: 'InternalError', message: failure, code: 500 };
  if (code === 0) return { metadata: {}, status: 'Success' };
  const exit = code ?? 137;
  return {
    metadata: {},
    status: 'Failure',
    reason: 'NonZeroExitCode',
    message: `command terminated with ${signal === null ? `exit code ${exit}` : `signal ${signal}`}`,
    details: { causes: [{ reason: 'ExitCode', message: String(exit) }] },
  };
}

export class ExecProcess {
  readonly #child;

  constructor(argv: readonly string[], stdin: boolean, sink: ExecSink) {
    const [file, ...args] = argv as [string, ...string[]];
    const child = spawn(file, args, {
      stdio: ['pipe', 'pipe', 'pipe'],
      detached: true,
      env: { PATH: toolPath },
    });
    this.#child = child;
    child.stdin.on('error', () => {});
    if (!stdin) child.stdin.end();
    for (const channel of ['stdout', 'stderr'] as const)
      child[channel].on('data', (data: Buffer) => {
        if (!sink.write(channel, data)) child[channel].pause();
      });
    child.on('error', (error) => sink.finish(exitStatus(null, null, error.message)));
    // Not `exit`: output may still be in the pipes.
    child.on('close', (code, signal) => sink.finish(exitStatus(code, signal)));
  }

  /** False if the command reads too slowly: wait for `onStdinDrain`. */
  input(data: Buffer): boolean {
    return this.#child.stdin.write(data);
  }

  onStdinDrain(listener: () => void): void {
    this.#child.stdin.on('drain', listener);
  }

  endInput(): void {
    this.#child.stdin.end();
  }

  /** The client has caught up. */
  resume(): void {
    this.#child.stdout.resume();
    this.#child.stderr.resume();
  }

  /** The client left: the command and what it started go with it. */
  kill(): void {
    const { pid, exitCode, signalCode } = this.#child;
    this.#child.stdin.destroy();
    if (pid === undefined || exitCode !== null || signalCode !== null) return;
    try {
      process.kill(-pid, 'SIGKILL');
    } catch {
      // It ended in this moment.
    }
  }
}
