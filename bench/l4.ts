// L4: the same client and server, on two nodes of a lab, once outside the mesh and once in it. Direct and mesh take
// turns, so that both meet the same machine; quote the ratios, not the absolute figures.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { stringify } from 'yaml';
import { BenchLab, type Usage } from './bench-lab.ts';
import { median, pairedRow, table, type Row } from './figures.ts';

const sides = ['direct', 'mesh'] as const;
type Side = (typeof sides)[number];
const sourceNode = 'ambient-worker';
const destinationNode = 'ambient-worker2';
const heldConnections = 1000;

function manifest(): string {
  const node = process.execPath;
  const server = resolve(import.meta.dirname, 'http-server.ts');
  const pod = (namespace: string, name: string, nodeName: string, commands: Record<string, string[]>) => ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace },
    spec: {
      nodeName,
      containers: Object.entries(commands).map(([container, command]) => ({
        name: container,
        image: 'host',
        command,
      })),
    },
  });
  const objects = sides.flatMap((side) => {
    const namespace = `bench-${side}`;
    const labels = side === 'mesh' ? { 'istio.io/dataplane-mode': 'ambient' } : {};
    return [
      { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace, labels } },
      pod(namespace, 'server', destinationNode, {
        http: [node, server, '8080'],
        iperf: ['iperf3', '-s', '-p', '5201'],
      }),
      pod(namespace, 'client', sourceNode, { idle: ['sleep', '1000000'] }),
    ];
  });
  return objects.map((object) => stringify(object)).join('---\n');
}

interface Requests {
  readonly perSecond: number;
  readonly p50: number;
  readonly p99: number;
  readonly total: number;
}

const unit: Readonly<Record<string, number>> = { us: 1, ms: 1000, s: 1_000_000 };

/** What wrk prints; latencies in µs. */
function parseWrk(text: string): Requests {
  const figure = (pattern: RegExp): RegExpExecArray => {
    const found = pattern.exec(text);
    if (found === null) throw new Error(`wrk printed something else:\n${text}`);
    return found;
  };
  const latency = (percent: string): number => {
    const [, value, of] = figure(new RegExp(`${percent}%\\s+([0-9.]+)(us|ms|s)`)) as unknown as [
      string,
      string,
      string,
    ];
    return Number(value) * (unit[of] as number);
  };
  const errors = /Socket errors: .*/.exec(text);
  if (errors !== null) console.error(`  wrk: ${errors[0]}`);
  return {
    perSecond: Number(figure(/Requests\/sec:\s+([0-9.]+)/)[1]),
    total: Number(figure(/([0-9]+) requests in/)[1]),
    p50: latency('50'),
    p99: latency('99'),
  };
}

class Bench {
  readonly #lab: BenchLab;
  readonly #seconds: number;
  readonly #addresses = new Map<Side, string>();
  #ztunnels: ReadonlyMap<string, number> = new Map();

  constructor(lab: BenchLab, seconds: number) {
    this.#lab = lab;
    this.#seconds = seconds;
  }

  async prepare(): Promise<void> {
    this.#ztunnels = await this.#lab.ztunnels();
    for (const node of [sourceNode, destinationNode])
      if (!this.#ztunnels.has(node)) throw new Error(`no ztunnel was found on ${node}`);
    for (const side of sides) {
      const addresses = await this.#client(side, 'server', ['hostname', '-I']).catch(() => '');
      const ip = addresses.trim().split(/\s+/)[0];
      if (ip === undefined || ip === '') throw new Error(`the ${side} server has no address`);
      this.#addresses.set(side, ip);
      // Connections by the thousand: more ports, and no wait for those that are closing.
      for (const pod of ['client', 'server'])
        await this.#client(side, pod, [
          'sysctl',
          '-qw',
          'net.ipv4.ip_local_port_range=1024 65535',
          'net.ipv4.tcp_tw_reuse=1',
        ]);
    }
  }

  #client(side: Side, pod: string, argv: readonly string[]): Promise<string> {
    return this.#lab.exec(`bench-${side}`, pod, argv);
  }

  address(side: Side): string {
    return this.#addresses.get(side) as string;
  }

  async throughput(side: Side, streams: number): Promise<{ gbps: number; bytes: number }> {
    const text = await this.#client(side, 'client', [
      'iperf3',
      '-J',
      '-c',
      this.address(side),
      '-p',
      '5201',
      '-t',
      String(this.#seconds),
      '-P',
      String(streams),
    ]);
    const { end } = JSON.parse(text) as { end: { sum_received: { bits_per_second: number; bytes: number } } };
    return { gbps: end.sum_received.bits_per_second / 1e9, bytes: end.sum_received.bytes };
  }

  async requests(side: Side, connections: number, close = false): Promise<Requests> {
    const header = close ? ['-H', 'Connection: close'] : [];
    const text = await this.#client(side, 'client', [
      'wrk',
      '-t1',
      `-c${connections}`,
      `-d${this.#seconds}s`,
      '--latency',
      ...header,
      `http://${this.address(side)}:8080/`,
    ]);
    return parseWrk(text);
  }

  /** CPU seconds that each node's ztunnel used meanwhile. */
  async cpu<T>(work: () => Promise<T>): Promise<{ result: T; source: number; destination: number }> {
    const before = this.#lab.usage(this.#ztunnels);
    const result = await work();
    const after = this.#lab.usage(this.#ztunnels);
    const used = (node: string): number =>
      (after.get(node)?.cpuSeconds ?? 0) - (before.get(node)?.cpuSeconds ?? 0);
    return { result, source: used(sourceNode), destination: used(destinationNode) };
  }

  rss(): ReadonlyMap<string, Usage> {
    return this.#lab.usage(this.#ztunnels);
  }

  /** RSS of both ztunnels while so many connections are open. */
  async rssWithConnections(): Promise<ReadonlyMap<string, Usage>> {
    const script = resolve(import.meta.dirname, 'hold-connections.ts');
    const holding = this.#client('mesh', 'client', [
      'timeout',
      '8',
      process.execPath,
      script,
      this.address('mesh'),
      '8080',
      String(heldConnections),
    ]);
    await Promise.race([new Promise((done) => setTimeout(done, 5000)), holding]);
    const usage = this.#lab.usage(this.#ztunnels);
    await holding.catch(() => {}); // `timeout` ends it, which counts as a failure.
    return usage;
  }
}

const mib = (bytes: number): number => bytes / 1024 / 1024;

export async function run(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      rounds: { type: 'string', default: '3' },
      seconds: { type: 'string', default: '5' },
      json: { type: 'string' },
    },
  });
  const rounds = Number(values.rounds);
  const dir = mkdtempSync(join(tmpdir(), 'aura-bench-l4-'));
  const file = join(dir, 'l4.yaml');
  writeFileSync(file, manifest());
  await using lab = new BenchLab();
  const say = (text: string): void => console.error(`bench l4: ${text}`);
  try {
    say('making a lab');
    await lab.up(file);
    const bench = new Bench(lab, Number(values.seconds));
    await bench.prepare();
    const rssIdle = bench.rss();

    const stream1: { direct: number; mesh: number }[] = [];
    const stream8: { direct: number; mesh: number }[] = [];
    const requests: Record<'1' | '32', { direct: Requests; mesh: Requests }[]> = { 1: [], 32: [] };
    const fresh: { direct: Requests; mesh: Requests }[] = [];
    const perGb: { source: number; destination: number }[] = [];
    const perRequests: { source: number; destination: number }[] = [];
    for (let round = 1; round <= rounds; round++) {
      say(`round ${round} of ${rounds}: throughput`);
      const direct1 = await bench.throughput('direct', 1);
      const mesh1 = await bench.cpu(() => bench.throughput('mesh', 1));
      stream1.push({ direct: direct1.gbps, mesh: mesh1.result.gbps });
      const gb = mesh1.result.bytes / 1e9;
      perGb.push({ source: mesh1.source / gb, destination: mesh1.destination / gb });
      stream8.push({
        direct: (await bench.throughput('direct', 8)).gbps,
        mesh: (await bench.throughput('mesh', 8)).gbps,
      });
      say(`round ${round} of ${rounds}: requests`);
      requests[1].push({ direct: await bench.requests('direct', 1), mesh: await bench.requests('mesh', 1) });
      const direct32 = await bench.requests('direct', 32);
      const mesh32 = await bench.cpu(() => bench.requests('mesh', 32));
      requests[32].push({ direct: direct32, mesh: mesh32.result });
      const hundredThousands = mesh32.result.total / 100_000;
      perRequests.push({
        source: mesh32.source / hundredThousands,
        destination: mesh32.destination / hundredThousands,
      });
      say(`round ${round} of ${rounds}: new connections`);
      fresh.push({
        direct: await bench.requests('direct', 32, true),
        mesh: await bench.requests('mesh', 32, true),
      });
    }
    say('memory with open connections');
    const rssOpen = await bench.rssWithConnections();

    const of = (list: readonly { direct: Requests; mesh: Requests }[], key: keyof Requests) =>
      list.map(({ direct, mesh }) => ({ direct: direct[key], mesh: mesh[key] }));
    const cost = (name: string, unitName: string, list: typeof perGb): Row[] =>
      (['source', 'destination'] as const).map((end) => ({
        name: `${name}, ztunnel at the ${end}`,
        unit: unitName,
        mesh: median(list.map((one) => one[end])),
      }));
    const memory = (name: string, usage: ReadonlyMap<string, Usage>): Row[] =>
      [sourceNode, destinationNode].map((node, i) => ({
        name: `${name}, ztunnel at the ${i === 0 ? 'source' : 'destination'}`,
        unit: 'MiB',
        mesh: mib(usage.get(node)?.rssBytes ?? Number.NaN),
      }));
    const rows: Row[] = [
      pairedRow('throughput, 1 stream', 'Gb/s', stream1),
      pairedRow('throughput, 8 streams', 'Gb/s', stream8),
      pairedRow('requests, 1 connection', '1/s', of(requests[1], 'perSecond')),
      pairedRow('  p50', 'µs', of(requests[1], 'p50')),
      pairedRow('  p99', 'µs', of(requests[1], 'p99')),
      pairedRow('requests, 32 connections', '1/s', of(requests[32], 'perSecond')),
      pairedRow('  p50', 'µs', of(requests[32], 'p50')),
      pairedRow('  p99', 'µs', of(requests[32], 'p99')),
      pairedRow('new connections, 32 at a time', '1/s', of(fresh, 'perSecond')),
      ...cost('CPU per GB', 's', perGb),
      ...cost('CPU per 100 000 requests', 's', perRequests),
      ...memory('RSS idle', rssIdle),
      ...memory(`RSS with ${heldConnections} connections`, rssOpen),
    ];
    console.log(table(rows));
    const json = JSON.stringify({ bench: 'l4', rounds, seconds: Number(values.seconds), rows }, null, 2);
    if (values.json === undefined) console.log(json);
    else writeFileSync(values.json, `${json}\n`);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
