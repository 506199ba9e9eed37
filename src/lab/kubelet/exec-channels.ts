// One exec over a WebSocket, by the channel protocols of Kubernetes: the first byte of a message is the channel.
// v5.channel.k8s.io adds a message that closes the client's standard input; v4 is the same without it.
import { spawn } from 'node:child_process';
import type { Duplex } from 'node:stream';
import { toolPath } from '../command.ts';
import { WebSocket } from './websocket.ts';

export const execProtocols = ['v5.channel.k8s.io', 'v4.channel.k8s.io'] as const;

const channel = { stdin: 0, stdout: 1, stderr: 2, error: 3, resize: 4, close: 255 } as const;

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

export function serveExec(
  socket: Duplex,
  head: Buffer,
  argv: readonly string[],
  options: { readonly stdin: boolean; readonly tty: boolean },
): void {
  const [file, ...args] = argv as [string, ...string[]];
  const child = spawn(file, args, {
    stdio: ['pipe', 'pipe', 'pipe'],
    detached: true,
    env: { PATH: toolPath },
  });
  const web = new WebSocket(socket, head, {
    onMessage: (data) => {
      if (data[0] === channel.stdin && options.stdin) {
        if (!child.stdin.write(data.subarray(1))) {
          web.pause();
          child.stdin.once('drain', () => web.resume());
        }
      } else if (data[0] === channel.close && data[1] === channel.stdin) child.stdin.end();
    },
    onClose: () => {
      // The client left: the command and what it started go with it.
      child.stdin.destroy();
      if (child.pid !== undefined && child.exitCode === null && child.signalCode === null)
        try {
          process.kill(-child.pid, 'SIGKILL');
        } catch {
          // It ended in this moment.
        }
    },
  });
  child.stdin.on('error', () => {});
  if (!options.stdin) child.stdin.end();
  for (const [stream, id] of [
    [child.stdout, channel.stdout],
    [child.stderr, channel.stderr],
  ] as const) {
    stream.on('data', (data: Buffer) => {
      if (!web.send(Buffer.concat([Buffer.from([id]), data]))) stream.pause();
    });
    web.onDrain(() => stream.resume());
  }
  const finish = (status: unknown): void => {
    web.send(Buffer.concat([Buffer.from([channel.error]), Buffer.from(JSON.stringify(status))]));
    web.close();
  };
  child.on('error', (error) => finish(exitStatus(null, null, error.message)));
  // Not `exit`: output may still be in the pipes.
  child.on('close', (code, signal) => finish(exitStatus(code, signal)));
}
