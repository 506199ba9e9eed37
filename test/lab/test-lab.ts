// A lab for tests, driven as a user drives it: by the `aura` command and kubectl, in a folder of its own.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { KubeClient } from '#/kube/index.ts';
import { labPaths, leftovers, type LabPaths } from '#/lab/index.ts';

export interface Output {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export const root = resolve(import.meta.dirname, '../..');
export const aura = join(root, 'bin/aura');

export function runProgram(
  file: string,
  args: readonly string[],
  options: {
    readonly env?: Readonly<Record<string, string>>;
    readonly input?: string;
    readonly timeoutMs?: number;
  } = {},
): Promise<Output> {
  return new Promise((done) => {
    const child = execFile(
      file,
      args,
      {
        encoding: 'utf8',
        timeout: options.timeoutMs ?? 120_000,
        maxBuffer: 32 << 20,
        env: { PATH: process.env['PATH'] ?? '', HOME: process.env['HOME'] ?? '/root', ...options.env },
      },
      (error, stdout, stderr) => {
        const code = error === null ? 0 : typeof error.code === 'number' ? error.code : 255;
        done({ code, stdout, stderr });
      },
    );
    child.stdin?.on('error', () => {});
    child.stdin?.end(options.input ?? '');
  });
}

/** Repeats `look` until it gives something; fails with `what` and the last error after the limit. */
export async function eventually<T>(
  what: string,
  look: () => Promise<T | undefined | false> | T | undefined | false,
  timeoutMs = 20_000,
): Promise<T> {
  const until = Date.now() + timeoutMs;
  let last: unknown;
  for (;;) {
    try {
      const found = await look();
      if (found !== undefined && found !== false) return found;
    } catch (error) {
      last = error;
    }
    if (Date.now() > until)
      assert.fail(
        `${what}: not within ${timeoutMs / 1000} s${last === undefined ? '' : ` (${String(last)})`}`,
      );
    await new Promise((resume) => setTimeout(resume, 100));
  }
}

export class TestLab implements AsyncDisposable {
  readonly paths: LabPaths;
  readonly #parent: string;
  #client: KubeClient | undefined;

  constructor(name = 'lab') {
    this.#parent = mkdtempSync(join(tmpdir(), 'aura-test-'));
    this.paths = labPaths(join(this.#parent, name));
  }

  get env(): Record<string, string> {
    return { AURA_HOME: this.paths.home, KUBECONFIG: this.paths.kubeconfig, NO_COLOR: '1' };
  }

  aura(...args: string[]): Promise<Output> {
    return runProgram(aura, args, { env: this.env });
  }

  /** Fails the test unless the command succeeds; gives what it printed. */
  async must(...args: string[]): Promise<string> {
    const result = await this.aura(...args);
    assert.equal(result.code, 0, `aura ${args.join(' ')}:\n${result.stderr}${result.stdout}`);
    return result.stdout;
  }

  up(...args: string[]): Promise<string> {
    return this.must('lab', 'up', ...args);
  }

  kubectl(args: readonly string[], input?: string): Promise<Output> {
    return runProgram('kubectl', args, { env: this.env, ...(input === undefined ? {} : { input }) });
  }

  async mustKubectl(args: readonly string[], input?: string): Promise<string> {
    const result = await this.kubectl(args, input);
    assert.equal(result.code, 0, `kubectl ${args.join(' ')}:\n${result.stderr}${result.stdout}`);
    return result.stdout;
  }

  apply(manifest: string): Promise<string> {
    return this.mustKubectl(['apply', '-f', '-'], manifest);
  }

  /** In the first container of a pod; `where` is what stands before `--`, such as `-n ns deploy/x --node n`. */
  exec(where: string, ...command: string[]): Promise<Output> {
    return this.aura('lab', 'exec', ...where.split(' '), '--', ...command);
  }

  async curl(where: string, ...args: string[]): Promise<Record<string, unknown>> {
    const result = await this.exec(where, 'curl', '-sS', '-m', '5', ...args);
    assert.equal(result.code, 0, `curl ${args.join(' ')} in ${where}: ${result.stderr}`);
    return JSON.parse(result.stdout) as Record<string, unknown>;
  }

  get client(): KubeClient {
    this.#client ??= KubeClient.fromKubeconfig(this.paths.kubeconfig);
    return this.#client;
  }

  /** A manifest in a file, for `lab up -f`. */
  file(name: string, text: string): string {
    const path = join(this.#parent, name);
    writeFileSync(path, text);
    return path;
  }

  /** Process ids whose command line has all of these words. */
  async pids(...words: string[]): Promise<number[]> {
    const { stdout } = await runProgram('ps', ['-eo', 'pid=,args=', '-ww']);
    return stdout
      .split('\n')
      .filter((line) => words.every((word) => line.includes(word)) && !line.includes('/bin/sh'))
      .map((line) => Number(line.trim().split(' ')[0]));
  }

  /** The lab's own process. */
  async supervisor(): Promise<number> {
    const [pid] = await this.pids('lab-supervisor', `--home ${this.paths.home}`);
    assert.ok(pid !== undefined, "the lab's process should run");
    return pid;
  }

  async leftovers(): Promise<string[]> {
    const left = await leftovers(this.paths);
    const running = await this.pids(this.paths.home);
    return [...left, ...running.map((pid) => `process ${pid}`)];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#client?.close();
    const down = await this.aura('lab', 'down');
    rmSync(this.#parent, { recursive: true, force: true });
    assert.equal(down.code, 0, `lab down: ${down.stderr}`);
  }
}

/** What of the host's network a lab must not change. */
export async function hostNetwork(): Promise<string> {
  const commands = [
    ['ip', '-o', 'link'],
    ['ip', '-4', 'route', 'show', 'table', 'all'],
    ['ip', '-6', 'route', 'show', 'table', 'all'],
    ['ip', 'rule'],
    ['iptables-save'],
    ['nft', 'list', 'ruleset'],
  ];
  const parts = [];
  for (const [file = '', ...args] of commands) {
    const { stdout } = await runProgram(file, args);
    // Counters, dates and leases change by themselves.
    parts.push(stdout.replaceAll(/^#.*$|\[\d+:\d+\]|expires \d+sec|qlen \d+/gm, ''));
  }
  return `${parts.join('\n')}\nforward ${readFileSync('/proc/sys/net/ipv4/ip_forward', 'utf8')}`;
}
