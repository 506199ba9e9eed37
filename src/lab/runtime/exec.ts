// Runs a command inside a running container: its namespaces, its root, its environment, its cgroup.
import { readFileSync } from 'node:fs';
import { shellQuote } from '../command.ts';

export interface ExecTarget {
  /** The container's command. */
  readonly pid: number;
  readonly cgroup: string;
}

/** The environment that the container's command was started with. */
export function processEnv(pid: number): Record<string, string> {
  const env: Record<string, string> = {};
  for (const entry of readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0')) {
    const equals = entry.indexOf('=');
    if (equals > 0) env[entry.slice(0, equals)] = entry.slice(equals + 1);
  }
  return env;
}

/**
 * The words that run `argv` in the container; its environment is passed by `env -i`. With `tty`, under a terminal
 * of its own (by util-linux' script). Throws if the container's process is gone.
 */
export function execArgv(target: ExecTarget, argv: readonly string[], tty = false): string[] {
  const env = Object.entries({ ...processEnv(target.pid), ...(tty ? { TERM: 'xterm' } : {}) });
  const inner = [
    'nsenter',
    `--target=${target.pid}`,
    '--net',
    '--mount',
    '--uts',
    '--root',
    '--wd=/',
    '--',
    'env',
    '-i',
    ...env.map(([name, value]) => `${name}=${value}`),
    ...argv,
  ]
    .map(shellQuote)
    .join(' ');
  const join = `echo $$ > ${shellQuote(`${target.cgroup}/cgroup.procs`)}`;
  return tty
    ? ['script', '-qefc', `/bin/sh -c ${shellQuote(`${join} && exec ${inner}`)}`, '/dev/null']
    : ['/bin/sh', '-c', `${join} && exec ${inner}`];
}
