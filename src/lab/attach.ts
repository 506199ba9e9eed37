// Runs a command in a container with this process' own terminal, and gives its exit code.
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { toolPath } from './command.ts';

/** 128 + number if a signal ended it, as shells say. */
export function attach(argv: readonly string[]): Promise<number> {
  const [file, ...args] = argv as [string, ...string[]];
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { stdio: 'inherit', env: { PATH: toolPath } });
    // Ctrl-C is the command's affair: the terminal sends it to both.
    const ignore = (): void => {};
    process.on('SIGINT', ignore);
    const forward = (): void => void child.kill('SIGTERM');
    process.on('SIGTERM', forward);
    child.on('error', reject);
    child.on('close', (code, signal) => {
      process.off('SIGINT', ignore);
      process.off('SIGTERM', forward);
      resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal]));
    });
  });
}
