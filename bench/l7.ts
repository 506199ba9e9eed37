// L7: the same client and server on two nodes of a lab, direct, through the ztunnels only, and through a waypoint. They
// take turns, so that all meet the same machine; quote the ratios, not the absolute figures.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { stringify } from 'yaml';
import { httpRoutes, KubeClient } from '#/kube/index.ts';
import { BenchLab } from './bench-lab.ts';
import { median } from './figures.ts';

const sides = ['direct', 'l4', 'waypoint'] as const;
type Side = (typeof sides)[number];
const sourceNode = 'ambient-worker';
const destinationNode = 'ambient-worker2';
const ports = { http1: 8080, grpc: 8081 } as const;
type Kind = keyof typeof ports;

function manifest(peer: string | undefined): string {
  const node = process.execPath;
  const script = (name: string): string => resolve(import.meta.dirname, name);
  const pod = (
    namespace: string,
    name: string,
    nodeName: string,
    containers: Record<string, string[]>,
    labels = {},
  ) => ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace, labels },
    spec: {
      nodeName,
      containers: Object.entries(containers).map(([container, command]) => ({
        name: container,
        image: 'host',
        command,
      })),
    },
  });
  const service = (namespace: string) => ({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'server', namespace },
    spec: {
      selector: { app: 'server' },
      ports: [
        { name: 'http', port: ports.http1, appProtocol: 'http' },
        { name: 'grpc', port: ports.grpc, appProtocol: 'grpc' },
      ],
    },
  });
  const objects: unknown[] = sides.flatMap((side) => {
    const namespace = `bench-${side}`;
    const labels = side === 'direct' ? {} : { 'istio.io/dataplane-mode': 'ambient' };
    return [
      { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace, labels } },
      service(namespace),
      pod(
        namespace,
        'server',
        destinationNode,
        {
          http: [node, script('http-server.ts'), String(ports.http1)],
          grpc: [node, script('grpc-server.ts'), String(ports.grpc)],
        },
        { app: 'server' },
      ),
      pod(namespace, 'client', sourceNode, { idle: ['sleep', '1000000'] }),
    ];
  });
  if (peer !== undefined)
    objects.push(pod('bench-direct', 'peer', destinationNode, { peer: ['sh', '-c', peer] }));
  return objects.map((object) => stringify(object)).join('---\n');
}

interface Load {
  readonly total: number;
  readonly perSecond: number;
  /** µs. */
  readonly p50: number;
  readonly p99: number;
  readonly failed: number;
}

class Bench {
  readonly #lab: BenchLab;
  readonly #seconds: number;
  readonly #addresses = new Map<Side | 'peer', string>();
  #waypoint = 0;

  constructor(lab: BenchLab, seconds: number) {
    this.#lab = lab;
    this.#seconds = seconds;
  }

  async prepare(withPeer: boolean): Promise<void> {
    await this.#lab.aura([
      'waypoint',
      'apply',
      '-n',
      'bench-waypoint',
      '--enroll-namespace',
      '--wait',
      '--kubeconfig',
      join(this.#lab.home, 'kubeconfig'),
    ]);
    const [pid] = (await this.#lab.programs('waypoint-proxy')).values();
    if (pid === undefined) throw new Error('no waypoint was found');
    this.#waypoint = pid;
    for (const side of sides) this.#addresses.set(side, `server.bench-${side}.svc.cluster.local`);
    if (withPeer)
      this.#addresses.set(
        'peer',
        (await this.#lab.exec('bench-direct', 'peer', ['hostname', '-I'])).trim().split(/\s+/)[0] as string,
      );
    // Until the waypoint is in the way.
    for (let i = 0; i < 50; i++) {
      const before = this.waypointCpu();
      await this.load('waypoint', 'http1', 1, 1);
      if (this.waypointCpu() - before > 0.02) return;
    }
    throw new Error('traffic does not go through the waypoint');
  }

  waypointCpu(): number {
    return this.#lab.usage(new Map([['w', this.#waypoint]])).get('w')?.cpuSeconds ?? 0;
  }

  waypointRss(): number {
    return this.#lab.usage(new Map([['w', this.#waypoint]])).get('w')?.rssBytes ?? 0;
  }

  async load(
    side: Side | 'peer',
    kind: Kind,
    connections: number,
    seconds = this.#seconds,
    rate?: number,
  ): Promise<Load> {
    const client = side === 'peer' ? 'direct' : side;
    const text = await this.#lab.exec(`bench-${client}`, 'client', [
      process.execPath,
      resolve(import.meta.dirname, 'load.ts'),
      kind,
      this.#addresses.get(side) as string,
      String(side === 'peer' ? 8080 : ports[kind]),
      String(connections),
      String(seconds),
      ...(rate === undefined ? [] : [String(rate)]),
    ]);
    const load = JSON.parse(text) as Load;
    if (load.failed > 0) console.error(`bench l7: ${side} ${kind}: ${load.failed} requests failed`);
    return load;
  }

  async withCpu(work: () => Promise<Load>): Promise<{ load: Load; microseconds: number }> {
    const before = this.waypointCpu();
    const load = await work();
    return { load, microseconds: ((this.waypointCpu() - before) / load.total) * 1e6 };
  }

  /** From the change of a route in the API to its first effect on a request, milliseconds. */
  async timeToLive(index: number): Promise<number> {
    const name = `route-${index}`;
    const watching = this.#lab.exec('bench-waypoint', 'client', [
      process.execPath,
      resolve(import.meta.dirname, 'watch-route.ts'),
      this.#addresses.get('waypoint') as string,
      String(ports.http1),
      `/${name}`,
      'x-route',
    ]);
    // The program has to start, and to ask for the first time.
    await new Promise((done) => setTimeout(done, 2000));
    using client = KubeClient.fromKubeconfig(join(this.#lab.home, 'kubeconfig'), { userAgent: 'aura-bench' });
    const changedAt = Date.now();
    await client.patch(
      httpRoutes,
      'bench-waypoint',
      name,
      [
        {
          op: 'replace',
          path: '/spec/rules/0/filters/0/responseHeaderModifier/set/0/value',
          value: `changed-${changedAt}`,
        },
      ],
      'json',
    );
    const seenAt = Number((await watching).trim().split('\n').at(-1));
    return seenAt - changedAt;
  }

  async apply(objects: readonly unknown[]): Promise<void> {
    const file = join(this.#lab.home, 'objects.yaml');
    writeFileSync(file, objects.map((object) => stringify(object)).join('---\n'));
    await this.#lab.kubectl(['apply', '--server-side', '-f', file]);
  }
}

const route = (i: number) => ({
  apiVersion: 'gateway.networking.k8s.io/v1',
  kind: 'HTTPRoute',
  metadata: { name: `route-${i}`, namespace: 'bench-waypoint' },
  spec: {
    parentRefs: [{ group: '', kind: 'Service', name: 'server' }],
    rules: [
      {
        matches: [{ path: { type: 'PathPrefix', value: i === 0 ? '/' : `/route-${i}` } }],
        filters: [
          {
            type: 'ResponseHeaderModifier',
            responseHeaderModifier: { set: [{ name: 'x-route', value: `${i}` }] },
          },
        ],
        backendRefs: [{ name: 'server', port: ports.http1 }],
      },
    ],
  },
});

const policy = (i: number) => ({
  apiVersion: 'security.istio.io/v1',
  kind: 'AuthorizationPolicy',
  metadata: { name: `policy-${i}`, namespace: 'bench-waypoint' },
  spec: {
    targetRefs: [{ group: '', kind: 'Service', name: 'server' }],
    action: 'DENY',
    rules: [{ to: [{ operation: { paths: [`/denied-${i}/*`] } }] }],
  },
});

interface Line {
  readonly name: string;
  readonly values: Readonly<Record<string, number>>;
}

const show = (value: number): string =>
  value >= 1000 ? Math.round(value).toLocaleString('en') : value.toPrecision(3);

function print(lines: readonly Line[]): void {
  for (const { name, values } of lines)
    console.log(
      `${name.padEnd(44)} ${Object.entries(values)
        .map(([key, value]) => `${key} ${show(value)}`)
        .join('  ')}`,
    );
}

export async function run(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      rounds: { type: 'string', default: '3' },
      seconds: { type: 'string', default: '4' },
      objects: { type: 'string', default: '1000' },
      routes: { type: 'string', default: '5000' },
      /** A shell command that serves port 8080 and passes to $TARGET (host:port), for comparison. */
      peer: { type: 'string' },
      json: { type: 'string' },
    },
  });
  const rounds = Number(values.rounds);
  const dir = mkdtempSync(join(tmpdir(), 'aura-bench-l7-'));
  const file = join(dir, 'l7.yaml');
  const target = `server.bench-direct.svc.cluster.local:${ports.http1}`;
  writeFileSync(
    file,
    manifest(values.peer === undefined ? undefined : `TARGET=${target}; export TARGET; ${values.peer}`),
  );
  await using lab = new BenchLab();
  const say = (text: string): void => console.error(`bench l7: ${text}`);
  const lines: Line[] = [];
  try {
    say('making a lab');
    await lab.up(file);
    const bench = new Bench(lab, Number(values.seconds));
    await bench.prepare(values.peer !== undefined);
    const compare = async (kind: Kind, connections: number): Promise<void> => {
      const all: Record<string, Load[]> = {};
      const cpu: number[] = [];
      for (let round = 0; round < rounds; round++) {
        say(`${kind}, ${connections} connections, round ${round + 1} of ${rounds}`);
        for (const side of sides) {
          const { load, microseconds } = await bench.withCpu(() => bench.load(side, kind, connections));
          (all[side] ??= []).push(load);
          if (side === 'waypoint') cpu.push(microseconds);
        }
        if (values.peer !== undefined && kind === 'http1')
          (all['peer'] ??= []).push(await bench.load('peer', kind, connections));
      }
      const of = (key: keyof Load) =>
        Object.fromEntries(
          Object.entries(all).map(([side, loads]) => [side, median(loads.map((load) => load[key]))]),
        );
      const perSecond = of('perSecond');
      const name = `${kind === 'grpc' ? 'gRPC' : 'HTTP/1.1'}, ${connections} connections`;
      lines.push(
        { name: `${name}: requests/s`, values: perSecond },
        {
          name: `${name}: ratio to direct`,
          values: Object.fromEntries(
            Object.entries(perSecond).map(([side, value]) => [side, value / (perSecond['direct'] as number)]),
          ),
        },
        { name: `${name}: p50 µs`, values: of('p50') },
        { name: `${name}: p99 µs`, values: of('p99') },
        { name: `${name}: CPU of the waypoint, µs a request`, values: { waypoint: median(cpu) } },
      );
    };
    for (const kind of ['http1', 'grpc'] as const)
      for (const connections of [1, 32, 256]) await compare(kind, connections);

    const paced = async (what: string): Promise<void> => {
      say(`1 000 requests/s: ${what}`);
      const from = performance.now();
      const { load, microseconds } = await bench.withCpu(() => bench.load('waypoint', 'http1', 32, 10, 1000));
      lines.push({
        name: `1 000 requests/s, ${what}`,
        values: {
          vCPU: (microseconds * load.total) / 1e6 / ((performance.now() - from) / 1000),
          'RSS-MiB': bench.waypointRss() / 1024 / 1024,
          'p50-µs': load.p50,
          'p99-µs': load.p99,
        },
      });
    };
    await paced('no routes or policies');
    await bench.apply([route(0), policy(0)]);
    await new Promise((done) => setTimeout(done, 2000));
    await paced('1 route, 1 policy');
    const many = Number(values.objects);
    say(`${many} routes and policies`);
    await bench.apply(Array.from({ length: many }, (_, i) => [route(i), policy(i)]).flat());
    await new Promise((done) => setTimeout(done, 5000));
    await paced(`${many} routes, ${many} policies`);
    const { load, microseconds } = await bench.withCpu(() => bench.load('waypoint', 'http1', 32));
    lines.push({
      name: `HTTP/1.1, 32 connections, ${many} of each`,
      values: { 'requests/s': load.perSecond, 'µs-CPU': microseconds },
    });
    const before = bench.waypointRss();
    const more = Number(values.routes);
    say(`${more} routes`);
    await bench.apply(Array.from({ length: more - many }, (_, i) => route(many + i)));
    await new Promise((done) => setTimeout(done, 5000));
    const live: number[] = [];
    for (let i = 0; i < 5; i++)
      live.push(await bench.timeToLive(many + ((10 * i) % Math.max(1, more - many))));
    lines.push({
      name: `with ${more} routes: a changed one is live`,
      values: {
        'median-ms': median(live),
        'most-ms': Math.max(...live),
        'RSS-KiB-a-route': (bench.waypointRss() - before) / 1024 / (more - many),
      },
    });
    print(lines);
    if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(lines, undefined, 2)}\n`);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
