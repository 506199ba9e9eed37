// Programs run by the house: in a namespace, with bounded output and time, with errors that name them.
import { spawn, type ChildProcess, type SpawnOptions } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:os';
import type { Netns } from './kernel.ts';
import { inNetns } from './netns.ts';

export interface CommandOptions {
  /** The command runs inside this namespace. */
  readonly netns?: Netns | undefined;
  /** Written to its standard input, which is then closed. */
  readonly input?: string | undefined;
  /** After this the command is killed, and the call fails. Default 30 000. */
  readonly timeoutMs?: number | undefined;
  /** The whole environment; default PATH of the system's own directories, and LC_ALL=C. */
  readonly env?: Readonly<Record<string, string>> | undefined;
  readonly cwd?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface CommandResult {
  /** Exit code; 128 + number if a signal ended it. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export type RunCommand = (argv: readonly string[], options?: CommandOptions) => Promise<CommandResult>;

/** Of stdout and stderr each, in bytes. */
export const outputLimit = 1024 * 1024;

/** iptables and ip live in sbin, which a service's PATH may lack. */
export const systemPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

const packages: Readonly<Record<string, string>> = {
  conntrack: 'conntrack',
  curl: 'curl',
  ip: 'iproute2',
  ip6tables: 'iptables',
  'ip6tables-restore': 'iptables',
  'ip6tables-save': 'iptables',
  ipset: 'ipset',
  iptables: 'iptables',
  'iptables-restore': 'iptables',
  'iptables-save': 'iptables',
  iperf3: 'iperf3',
  mount: 'mount',
  nft: 'nftables',
  nsenter: 'util-linux',
  ss: 'iproute2',
  sysctl: 'procps',
  tc: 'iproute2',
  tcpdump: 'tcpdump',
  unshare: 'util-linux',
};

/** A command that could not be started, took too long or said too much. A non-zero exit is no such error. */
export class CommandError extends Error {
  readonly argv: readonly string[];

  constructor(argv: readonly string[], reason: string, options?: ErrorOptions) {
    super(`${argv.join(' ')}: ${reason}`, options);
    this.name = 'CommandError';
    this.argv = argv;
  }
}

function startError(argv: readonly string[], cause: Error): CommandError {
  const program = argv[0] ?? '';
  const code = (cause as NodeJS.ErrnoException).code;
  if (code !== 'ENOENT')
    return new CommandError(argv, `cannot be started: ${code ?? cause.message}`, { cause });
  const name = program.slice(program.lastIndexOf('/') + 1);
  const source = packages[name];
  return new CommandError(
    argv,
    `command '${program}' not found${source === undefined ? '' : `; install the Debian package ${source}`}`,
    { cause },
  );
}

/**
 * Starts a long-running program inside a namespace (the child inherits that of the thread). Output, exit and
 * start errors ('error' event) are the caller's, as with child_process.spawn.
 */
export function spawnInNetns(
  netns: Netns | undefined,
  argv: readonly string[],
  options: SpawnOptions = {},
): ChildProcess {
  const [program, ...args] = argv;
  if (program === undefined || program === '') throw new TypeError('a command needs a program');
  return inNetns(netns, () => spawn(program, args, options));
}

function killGroup(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    // ESRCH: it has just ended by itself.
  }
}

/** Runs a command to its end. Rejects with CommandError if it cannot start, times out or says too much. */
export const runCommand: RunCommand = async (argv, o = {}) => {
  o.signal?.throwIfAborted();
  let child: ChildProcess;
  try {
    child = spawnInNetns(o.netns, argv, {
      stdio: 'pipe',
      detached: true, // a process group of its own, so that a kill reaches its children too
      env: o.env ?? { PATH: systemPath, LC_ALL: 'C' },
      ...(o.cwd === undefined ? {} : { cwd: o.cwd }),
    });
  } catch (error) {
    // EMFILE and the like are thrown, ENOENT is an event.
    throw startError(argv, error as Error);
  }
  let failure: CommandError | undefined;
  const fail = (error: CommandError): void => {
    failure ??= error;
    killGroup(child);
    // A descendant that left the group may hold the pipes open; 'close' must not wait for it.
    child.stdout?.destroy();
    child.stderr?.destroy();
  };
  const timeoutMs = o.timeoutMs ?? 30_000;
  const timer = setTimeout(
    () => fail(new CommandError(argv, `killed: not finished after ${timeoutMs} ms`)),
    timeoutMs,
  );
  const onAbort = (): void => fail(new CommandError(argv, 'killed: aborted', { cause: o.signal?.reason }));
  o.signal?.addEventListener('abort', onAbort, { once: true });
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  const collect = (name: 'stdout' | 'stderr', chunks: Buffer[]): void => {
    let size = 0;
    child[name]?.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size > outputLimit)
        fail(new CommandError(argv, `killed: more than ${outputLimit} bytes on ${name}`));
      else chunks.push(chunk);
    });
  };
  collect('stdout', stdout);
  collect('stderr', stderr);
  // A command that does not read its input ends the pipe early; its exit code tells more than EPIPE.
  child.stdin?.on('error', () => {});
  child.stdin?.end(o.input ?? '');
  try {
    const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
    if (failure !== undefined) throw failure;
    return {
      code: code ?? 128 + (signal === null ? 0 : constants.signals[signal]),
      stdout: Buffer.concat(stdout).toString(),
      stderr: Buffer.concat(stderr).toString(),
    };
  } catch (error) {
    throw error instanceof CommandError ? error : startError(argv, error as Error);
  } finally {
    clearTimeout(timer);
    o.signal?.removeEventListener('abort', onAbort);
  }
};

/** Runs a command that must end with 0; its trimmed error output is the reason otherwise. */
export async function checkCommand(argv: readonly string[], options?: CommandOptions): Promise<string> {
  const result = await runCommand(argv, options);
  if (result.code === 0) return result.stdout;
  const said = result.stderr.trim() === '' ? result.stdout.trim() : result.stderr.trim();
  throw new CommandError(argv, `exit code ${result.code}${said === '' ? '' : `: ${said}`}`);
}
