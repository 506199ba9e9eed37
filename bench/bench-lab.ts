// A lab for a bench: a folder of its own, the `aura` command, and the CPU and memory of the mesh's programs.
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { processUsage } from '#/sys/index.ts';

const aura = resolve(import.meta.dirname, '../bin/aura');

export interface Usage {
  readonly cpuSeconds: number;
  readonly rssBytes: number;
}

export class BenchLab implements AsyncDisposable {
  readonly home: string = mkdtempSync(join(tmpdir(), 'aura-bench-'));

  /** Runs `aura …`; its progress goes to our stderr. Rejects unless it exits with 0. */
  aura(args: readonly string[], quiet = true): Promise<string> {
    return this.#run(aura, args, quiet);
  }

  #run(program: string, args: readonly string[], quiet: boolean): Promise<string> {
    return new Promise((done, failed) => {
      const child = spawn(program, args, {
        env: { ...process.env, AURA_HOME: this.home },
        stdio: ['ignore', 'pipe', quiet ? 'pipe' : 'inherit'],
      });
      let out = '';
      let errors = '';
      child.stdout?.on('data', (chunk: Buffer) => (out += chunk.toString()));
      child.stderr?.on('data', (chunk: Buffer) => (errors += chunk.toString()));
      child.on('error', failed);
      child.on('close', (code) => {
        if (code === 0) done(out);
        else failed(new Error(`${basename(program)} ${args.join(' ')}: exit code ${code}\n${errors}${out}`));
      });
    });
  }

  up(manifest: string): Promise<string> {
    return this.aura(['lab', 'up', '-f', manifest], false);
  }

  exec(namespace: string, pod: string, argv: readonly string[]): Promise<string> {
    return this.aura(['lab', 'exec', '-n', namespace, pod, '--', ...argv]);
  }

  kubectl(args: readonly string[]): Promise<string> {
    return this.#run('kubectl', ['--kubeconfig', join(this.home, 'kubeconfig'), ...args], true);
  }

  /** The node proxies of this lab, by node. */
  ztunnels(): Promise<Map<string, number>> {
    return this.programs('ztunnel');
  }

  /** The processes of one of the mesh's programs, by node. */
  async programs(name: string): Promise<Map<string, number>> {
    const { id } = JSON.parse(await this.aura(['lab', 'status', '-o', 'json'])) as { id: string };
    const found = new Map<string, number>();
    for (const pid of readdirSync('/proc').filter((name) => /^[0-9]+$/.test(name))) {
      try {
        const argv = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
        if (!argv[0]?.endsWith('node') || !argv.includes(name)) continue;
        if (!readFileSync(`/proc/${pid}/cgroup`, 'utf8').includes(id)) continue;
        const env = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
        const node = env.find((entry) => entry.startsWith('NODE_NAME='))?.slice('NODE_NAME='.length);
        if (node !== undefined) found.set(node, Number(pid));
      } catch {
        // The process has ended while we looked.
      }
    }
    return found;
  }

  /** Takes the pids that `ztunnels` gave. */
  usage(pids: ReadonlyMap<string, number>): Map<string, Usage> {
    const all = new Map<string, Usage>();
    for (const [node, pid] of pids) {
      const usage = processUsage(pid);
      if (usage !== undefined) all.set(node, usage);
    }
    return all;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.aura(['lab', 'down']);
    rmSync(this.home, { recursive: true, force: true });
  }
}
