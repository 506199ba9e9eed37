// Packets on a link inside a namespace, by tcpdump: what really goes over the wire between two nodes.
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { cgroupRoot, makeCgroup } from '../cgroups.ts';
import { inNetns, must, shellQuote, toolPath } from '../command.ts';
import type { LabPaths } from '../paths.ts';

export class PacketCapture implements AsyncDisposable {
  readonly #dir: string;
  readonly #file: string;
  #child: ChildProcess | undefined;

  private constructor(folder: string) {
    mkdirSync(folder, { recursive: true });
    this.#dir = mkdtempSync(join(folder, 'packets-'));
    this.#file = join(this.#dir, 'packets.pcap');
  }

  /** Resolves when packets are being written. `filter` is tcpdump's expression. */
  static async start(paths: LabPaths, netns: string, link: string, filter: string): Promise<PacketCapture> {
    // In the lab's folder and in the lab's cgroup: `down` ends and removes it if its owner is killed.
    const capture = new PacketCapture(join(paths.run, 'captures'));
    const cgroup = join(cgroupRoot(), paths.cgroup, 'captures');
    makeCgroup(cgroup);
    const words = inNetns(netns, [
      'tcpdump',
      '-i',
      link,
      '--immediate-mode',
      '-U',
      '-s',
      '0',
      '-w',
      capture.#file,
      filter,
    ]);
    const script = `echo $$ > ${shellQuote(`${cgroup}/cgroup.procs`)} && exec ${words.map(shellQuote).join(' ')}`;
    const child = spawn('/bin/sh', ['-c', script], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { PATH: toolPath },
    });
    capture.#child = child;
    await new Promise<void>((resolve, reject) => {
      let said = '';
      child.stderr.on('data', (data: Buffer) => {
        said += data.toString();
        if (said.includes('listening on')) resolve();
      });
      child.on('error', reject);
      child.on('exit', (code) => reject(new Error(`tcpdump ended with code ${code}: ${said.trim()}`)));
    });
    return capture;
  }

  /** Ends the capture. What was captured stays readable until disposed. */
  async stop(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null) return;
    // The kernel hands the last packets over a moment after they passed.
    await this.#settle();
    await new Promise<void>((resolve) => {
      child.on('close', () => resolve());
      child.kill('SIGINT');
    });
  }

  /** Until the file has not grown for 100 ms. */
  async #settle(): Promise<void> {
    let size = -1;
    for (let i = 0; i < 20; i++) {
      const now = statSync(this.#file, { throwIfNoEntry: false })?.size ?? 0;
      if (now === size && i >= 2) return;
      size = now;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  /** All bytes that were captured, headers included, one character per byte: to search in. */
  bytes(): string {
    return readFileSync(this.#file).toString('latin1');
  }

  /** One line per packet, as tcpdump prints them. `extra`: more of its options, or a filter. */
  async lines(...extra: string[]): Promise<string[]> {
    const text = await must(['tcpdump', '-nn', '-r', this.#file, ...extra]);
    return text.split('\n').filter((line) => line !== '');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    rmSync(this.#dir, { recursive: true, force: true });
  }
}
