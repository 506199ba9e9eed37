// Runs the host's tools (ip, nft, mount, ...) for a bounded time and turns a failure into an error that names
// the command and what it said.
import { execFile, execFileSync } from 'node:child_process';

export interface CommandResult {
  /** Exit code; 124 after the time limit, 128 + n for a signal. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CommandOptions {
  readonly input?: string;
  readonly timeoutMs?: number;
  readonly env?: Readonly<Record<string, string>>;
}

/** The tools live in sbin, which a plain user's PATH lacks. */
export const toolPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Thrown by `must`. `message` has the command's first word, its last line of complaint and the exit code. */
export class CommandError extends Error {
  readonly argv: readonly string[];
  readonly result: CommandResult;

  constructor(argv: readonly string[], result: CommandResult) {
    const said = `${result.stderr}\n${result.stdout}`.trim().split('\n').slice(0, 4).join('; ').slice(0, 600);
    super(`${argv.slice(0, 12).join(' ')}: ${said === '' ? `exit code ${result.code}` : said}`);
    this.name = 'CommandError';
    this.argv = argv;
    this.result = result;
  }
}

export function run(argv: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
  const [file, ...args] = argv as [string, ...string[]];
  return new Promise((resolve) => {
    const child = execFile(
      file,
      args,
      {
        encoding: 'utf8',
        timeout: options.timeoutMs ?? 30_000,
        killSignal: 'SIGKILL',
        maxBuffer: 8 << 20,
        env: { PATH: toolPath, LC_ALL: 'C', ...options.env },
      },
      (error, stdout, stderr) => {
        if (error === null) return resolve({ code: 0, stdout, stderr });
        const failure = error as Error & {
          code?: number | string | null;
          killed?: boolean;
          signal?: string | null;
        };
        if (typeof failure.code === 'number') return resolve({ code: failure.code, stdout, stderr });
        const why = failure.killed === true ? 'took too long and was ended' : failure.message;
        return resolve({
          code: failure.killed === true ? 124 : 127,
          stdout,
          stderr: `${stderr}\n${why}`.trim(),
        });
      },
    );
    // A tool may end before it has read its input.
    child.stdin?.on('error', () => {});
    child.stdin?.end(options.input ?? '');
  });
}

/** Like `run`; throws CommandError unless the exit code is 0. Returns what it printed. */
export async function must(argv: readonly string[], options: CommandOptions = {}): Promise<string> {
  const result = await run(argv, options);
  if (result.code !== 0) throw new CommandError(argv, result);
  return result.stdout;
}

/** For the few places that must not yield, such as cleaning up while the process ends. */
export function runSync(argv: readonly string[]): boolean {
  const [file, ...args] = argv as [string, ...string[]];
  try {
    execFileSync(file, args, { stdio: 'ignore', timeout: 10_000, env: { PATH: toolPath } });
    return true;
  } catch {
    return false;
  }
}

/** The same command, run inside a network namespace given by path. */
export function inNetns(netns: string, argv: readonly string[]): string[] {
  return ['nsenter', `--net=${netns}`, '--', ...argv];
}

/** A word for /bin/sh. */
export function shellQuote(word: string): string {
  return /^[A-Za-z0-9_@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
