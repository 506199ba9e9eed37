// `npm run bench -- control [--pods 1000,10000,100000] [--clients 500] [--changes 100]`
// The control plane as a program, against an API with a tenth as many services as pods: time to the first complete
// push, memory, and how long a change of one pod takes from the API to a connected proxy, idle and under churn, with one
// and with many proxies. The curve over the sizes shows what grows with the mesh and what does not.
import { fork, spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { measuredPods, now, type ClusterCommand, type ClusterReport } from './control-cluster.ts';
import type { ClientsReport } from './control-clients.ts';
import { median } from './figures.ts';

/** The control plane's own, so that the figures are what a user gets; the longest wait is shortened, or churn without a pause would be gathered for 10 s. */
const debounceMs = 100;

interface Latency {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

interface Figures {
  readonly pods: number;
  readonly services: number;
  readonly podBytes: number;
  readonly servingMs: number;
  readonly firstPushMs: number;
  /** CPU of the control plane until it serves: unlike the time, it does not depend on what else the machine does. */
  readonly servingCpu: number;
  readonly pushBytes: number;
  readonly resources: number;
  readonly peakMb: number;
  readonly idleMb: number;
  readonly clients: Readonly<
    Record<string, { idle: Latency; churn: Latency; joinMs: number; rssMb: number; cpuPercent: number }>
  >;
}

const here = import.meta.dirname;

function rank(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
}

const latency = (values: readonly number[]): Latency => ({
  p50: median(values),
  p99: rank(values, 0.99),
  max: rank(values, 1),
});

function memoryMb(pid: number, field: 'VmRSS' | 'VmHWM'): number {
  const text = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(new RegExp(`${field}:\\s+([0-9]+)`).exec(text)?.[1] ?? 0) / 1024;
}

/** Seconds of CPU that a process has used. */
function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** A process of the bench that talks by IPC. */
class Helper<Report extends { readonly kind: string }> implements Disposable {
  readonly child: ChildProcess;
  readonly #ended: Promise<never>;
  readonly #waiting: {
    readonly wanted: (report: Report) => boolean;
    readonly resolve: (report: Report) => void;
  }[] = [];

  constructor(file: string, args: readonly string[], onReport: (report: Report) => void = () => {}) {
    this.child = fork(join(here, file), args, { execArgv: ['--max-old-space-size=8192'] });
    this.#ended = new Promise<never>((_, reject) => {
      this.child.once('exit', (code) => reject(new Error(`${file} has ended with ${code}`)));
    });
    this.#ended.catch(() => {});
    this.child.on('message', (message) => {
      const report = message as Report;
      onReport(report);
      const at = this.#waiting.findIndex(({ wanted }) => wanted(report));
      if (at >= 0) this.#waiting.splice(at, 1)[0]?.resolve(report);
    });
  }

  next(wanted: (report: Report) => boolean): Promise<Report> {
    const report = new Promise<Report>((resolve) => this.#waiting.push({ wanted, resolve }));
    return Promise.race([report, this.#ended]);
  }

  [Symbol.dispose](): void {
    if (this.child.connected) this.child.disconnect();
  }
}

type Cluster = Helper<ClusterReport>;

/** The proxies, and when which workload came to how many of them. */
class Proxies implements Disposable {
  readonly helper: Helper<ClientsReport>;
  readonly arrivals = new Map<string, number[]>();
  readonly count: number;

  constructor(address: string, count: number) {
    this.count = count;
    const args = [address, count, measuredPods].map(String);
    this.helper = new Helper<ClientsReport>('control-clients.ts', args, (report) => {
      if (report.kind !== 'deltas') return;
      for (const { name, at } of report.deltas) {
        const pod = name.slice(name.lastIndexOf('/') + 1);
        const times = this.arrivals.get(pod);
        if (times === undefined) this.arrivals.set(pod, [at]);
        else times.push(at);
      }
    });
  }

  async synced(): Promise<Extract<ClientsReport, { kind: 'synced' }>> {
    const report = await this.helper.next((each) => each.kind === 'synced' && each.clients === this.count);
    if (report.kind !== 'synced') throw new Error('unexpected report');
    return report;
  }

  [Symbol.dispose](): void {
    this.helper[Symbol.dispose]();
  }
}

/** Changes pods one by one; the milliseconds from each change to each proxy. */
async function measure(cluster: Cluster, proxies: Proxies, changes: number): Promise<number[]> {
  const times: number[] = [];
  for (let i = 0; i < changes; i++) {
    proxies.arrivals.clear();
    const told = cluster.next(({ kind }) => kind === 'changed');
    cluster.child.send({
      kind: 'change',
      pod: Math.floor(Math.random() * measuredPods),
    } satisfies ClusterCommand);
    const change = await told;
    if (change.kind !== 'changed') continue;
    const end = now() + 30_000;
    while ((proxies.arrivals.get(change.name)?.length ?? 0) < proxies.count) {
      if (now() > end) throw new Error(`a change of ${change.name} did not reach all proxies in 30 s`);
      await pause(1);
    }
    times.push(...(proxies.arrivals.get(change.name) ?? []).map((at) => at - change.at));
    // Not in step with the debounce.
    await pause(Math.random() * debounceMs);
  }
  return times;
}

interface Program {
  readonly child: ChildProcess;
  readonly pid: number;
  readonly plain: number;
  readonly servingMs: number;
}

/** Starts the control plane; resolves when it serves. */
async function startProgram(kubeconfig: string): Promise<Program> {
  const began = now();
  const args = ['--grpc-port', '--secure-grpc-port', '--monitoring-port', '--http-port'].flatMap((flag) => [
    flag,
    '0',
  ]);
  const child = spawn(
    process.execPath,
    [join(here, '../src/cli/main.ts'), 'control-plane', '--host', '127.0.0.1', ...args],
    {
      env: {
        ...process.env,
        KUBECONFIG: kubeconfig,
        POD_NAME: 'bench',
        PILOT_DEBOUNCE_AFTER: `${debounceMs}ms`,
        PILOT_DEBOUNCE_MAX: `${debounceMs}ms`,
      },
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  const lines = createInterface({ input: child.stdout });
  const serving = Promise.withResolvers<number>();
  child.once('exit', (code) => serving.reject(new Error(`the control plane has ended with ${code}`)));
  lines.on('line', (line) => {
    const port = /\tserving\t.*plain=([0-9]+)/.exec(line)?.[1];
    if (port !== undefined) serving.resolve(Number(port));
    if (/\t(error|warn)\t/.test(line)) process.stderr.write(`${line}\n`);
  });
  const plain = await serving.promise;
  return { child, pid: child.pid ?? 0, plain, servingMs: now() - began };
}

async function withProxies(cluster: Cluster, program: Program, count: number, changes: number) {
  const began = now();
  using proxies = new Proxies(`127.0.0.1:${program.plain}`, count);
  const first = await proxies.synced();
  const joinMs = first.at - began;
  await pause(1000);
  const idle = latency(await measure(cluster, proxies, changes));
  cluster.child.send({ kind: 'churn', perSecond: 100 } satisfies ClusterCommand);
  await pause(1000);
  const [cpu, since] = [cpuSeconds(program.pid), now()];
  const churn = latency(await measure(cluster, proxies, changes));
  const cpuPercent = ((cpuSeconds(program.pid) - cpu) * 100_000) / (now() - since);
  cluster.child.send({ kind: 'churn', perSecond: 0 } satisfies ClusterCommand);
  await pause(500);
  return { idle, churn, joinMs, cpuPercent, rssMb: memoryMb(program.pid, 'VmRSS'), first };
}

async function one(pods: number, clientCounts: readonly number[], changes: number): Promise<Figures> {
  const directory = mkdtempSync(join(tmpdir(), 'aura-bench-control-'));
  const services = Math.max(1, pods / 10);
  const nodes = Math.max(3, Math.min(1000, pods / 100));
  try {
    const kubeconfig = join(directory, 'kubeconfig');
    using cluster: Cluster = new Helper<ClusterReport>(
      'control-cluster.ts',
      [pods, services, nodes, kubeconfig].map(String),
    );
    const ready = await cluster.next(({ kind }) => kind === 'ready');
    const program = await startProgram(kubeconfig);
    try {
      const clients: Record<string, Omit<Awaited<ReturnType<typeof withProxies>>, 'first'>> = {};
      let firstPushMs = 0;
      const servingCpu = cpuSeconds(program.pid);
      let push = { resources: 0, bytes: 0 };
      let idleMb = 0;
      for (const count of clientCounts) {
        const { first, ...figures } = await withProxies(
          cluster,
          program,
          count,
          count > 1 ? Math.min(changes, 40) : changes,
        );
        if (firstPushMs === 0) {
          firstPushMs = program.servingMs + figures.joinMs;
          push = first;
          idleMb = figures.rssMb;
        }
        clients[count] = figures;
      }
      return {
        pods,
        services,
        podBytes: ready.kind === 'ready' ? ready.podBytes : 0,
        servingMs: program.servingMs,
        firstPushMs,
        servingCpu,
        pushBytes: push.bytes,
        resources: push.resources,
        peakMb: memoryMb(program.pid, 'VmHWM'),
        idleMb,
        clients,
      };
    } finally {
      program.child.kill('SIGTERM');
      await new Promise((resolve) => program.child.once('exit', resolve));
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

const ms = (value: number): string =>
  value >= 1000 ? `${(value / 1000).toFixed(1)} s` : `${value.toFixed(0)} ms`;

function print(all: readonly Figures[]): void {
  const rows: string[][] = [['', ...all.map(({ pods }) => `${pods.toLocaleString('en')} pods`)]];
  const row = (name: string, value: (figures: Figures) => string) => rows.push([name, ...all.map(value)]);
  row('services', ({ services }) => services.toLocaleString('en'));
  row('start to serving', ({ servingMs }) => ms(servingMs));
  row('start to first complete push', ({ firstPushMs }) => ms(firstPushMs));
  row('start to serving, CPU', ({ servingCpu }) => `${servingCpu.toFixed(1)} s`);
  row(
    'first push',
    ({ pushBytes, resources }) => `${(pushBytes / 1e6).toFixed(1)} MB, ${resources.toLocaleString('en')}`,
  );
  row('memory, one proxy', ({ idleMb }) => `${idleMb.toFixed(0)} MB`);
  row('memory, highest', ({ peakMb }) => `${peakMb.toFixed(0)} MB`);
  for (const count of Object.keys(all[0]?.clients ?? {})) {
    const of = (figures: Figures) => figures.clients[count];
    const pair = (latency: Latency | undefined) =>
      latency === undefined ? '' : `${ms(latency.p50)} / ${ms(latency.p99)}`;
    row(`${count} proxies: all have the mesh after`, (figures) => ms(of(figures)?.joinMs ?? 0));
    row(`${count} proxies: change p50 / p99, idle`, (figures) => pair(of(figures)?.idle));
    row(`${count} proxies: change p50 / p99, 100/s`, (figures) => pair(of(figures)?.churn));
    row(`${count} proxies: CPU at 100/s`, (figures) => `${(of(figures)?.cpuPercent ?? 0).toFixed(0)} %`);
    row(`${count} proxies: memory`, (figures) => `${(of(figures)?.rssMb ?? 0).toFixed(0)} MB`);
  }
  const widths =
    rows[0]?.map((_, column) => Math.max(...rows.map((cells) => cells[column]?.length ?? 0))) ?? [];
  for (const cells of rows) {
    const line = cells.map((cell, column) =>
      column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0),
    );
    console.log(line.join('   '));
  }
  console.log(
    `\nA change's time counts from the API's event to the proxy, the debounce of ${debounceMs} ms in it.`,
  );
}

export async function run(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      pods: { type: 'string', default: '1000,10000,100000' },
      clients: { type: 'string', default: '1,500' },
      changes: { type: 'string', default: '100' },
    },
  });
  const numbers = (text: string) => text.split(',').map(Number);
  const all: Figures[] = [];
  for (const pods of numbers(values.pods)) {
    process.stderr.write(`${pods} pods …\n`);
    all.push(await one(pods, numbers(values.clients), Number(values.changes)));
  }
  print(all);
  console.log(JSON.stringify(all));
}
