// The embedded API: writes, lists and watches with 50 000 objects, a server of its own process, all clients here.
// `npm run bench -- apiserver [OBJECTS]`
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { get } from 'node:https';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { KubeClient, loadKubeconfig, pods, type Pod } from '#/kube/index.ts';

const main = resolve(import.meta.dirname, '../src/cli/main.ts');
const writers = 16;
const watchers = 100;

interface Figure {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
}

function pod(i: number): Pod {
  return {
    metadata: {
      name: `pod-${i}`,
      namespace: 'default',
      labels: { app: `app-${i % 500}`, 'pod-template-hash': '7c5ddbdf54', version: 'v1' },
      annotations: { 'ambient.istio.io/redirection': 'enabled' },
    },
    spec: {
      nodeName: `node-${i % 100}`,
      containers: [
        {
          name: 'app',
          image: 'registry.example/app:1.0',
          ports: [{ name: 'http', containerPort: 8080 }],
          env: [{ name: 'POD_IP', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } }],
          readinessProbe: { httpGet: { path: '/ready', port: 8080 } },
        },
      ],
    },
  };
}

const status = (i: number, round: number) => ({
  status: {
    phase: 'Running',
    podIP: `10.${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255}`,
    podIPs: [{ ip: `10.${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255}` }],
    message: String(round),
    conditions: [{ type: 'Ready', status: 'True', lastTransitionTime: '2026-01-01T00:00:00Z' }],
  },
});

async function each(
  count: number,
  work: (i: number) => Promise<unknown>,
): Promise<{ rate: number; latencies: number[] }> {
  let next = 0;
  const latencies: number[] = [];
  const began = performance.now();
  await Promise.all(
    Array.from({ length: writers }, async () => {
      while (next < count) {
        const i = next++;
        const start = performance.now();
        await work(i);
        latencies.push(performance.now() - start);
      }
    }),
  );
  return { rate: (count / (performance.now() - began)) * 1000, latencies: latencies.sort((a, b) => a - b) };
}

const at = (sorted: readonly number[], share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;

function memoryMb(child: ChildProcess): number {
  const text = readFileSync(`/proc/${child.pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+)/.exec(text)?.[1] ?? 0) / 1024;
}

async function start(dir: string): Promise<{ child: ChildProcess; client: KubeClient; ms: number }> {
  const kubeconfig = join(dir, 'kubeconfig');
  rmSync(kubeconfig, { force: true });
  const began = performance.now();
  const child = spawn(
    process.execPath,
    [
      main,
      'apiserver',
      '--listen',
      '127.0.0.1:0',
      '--data',
      join(dir, 'data'),
      '--kubeconfig',
      kubeconfig,
      '--log-level',
      'warn',
    ],
    { stdio: ['ignore', 'ignore', 'inherit'] },
  );
  for (;;) {
    await new Promise((done) => setTimeout(done, 20));
    try {
      return { child, client: KubeClient.fromKubeconfig(kubeconfig), ms: performance.now() - began };
    } catch {
      if (child.exitCode !== null) throw new Error('the server ended');
    }
  }
}

/** An answer as it comes, unparsed: what the server needs for it. */
function readAll(kubeconfig: string, path: string): Promise<{ ms: number; size: number }> {
  const { server, ca, clientCert, clientKey } = loadKubeconfig(kubeconfig);
  const began = performance.now();
  return new Promise((done, fail) => {
    get(
      `${server}${path}`,
      { ...(ca === undefined ? {} : { ca }), cert: clientCert, key: clientKey, agent: false },
      (response) => {
        let size = 0;
        response.on('data', (chunk: Buffer) => (size += chunk.length));
        response.on('error', fail);
        response.on('end', () => done({ ms: performance.now() - began, size }));
      },
    ).on('error', fail);
  });
}

const end = (child: ChildProcess): Promise<void> =>
  new Promise((done) => {
    child.once('exit', () => done());
    child.kill('SIGTERM');
  });

export async function run(args: readonly string[]): Promise<void> {
  const objects = Number(args[0] ?? 50_000);
  if (!Number.isInteger(objects) || objects < 1000)
    throw new Error(`not a number of objects from 1000 on: ${args[0]}`);
  const dir = mkdtempSync(join(tmpdir(), 'aura-bench-api-'));
  const figures: Figure[] = [];
  const add = (name: string, value: number, unit: string): void => void figures.push({ name, value, unit });
  try {
    let { child, client } = await start(dir);
    add('memory, empty', memoryMb(child), 'MB');
    const created = await each(objects, (i) => client.create(pods, 'default', pod(i)));
    add('create', created.rate, '/s');
    add('create, p50', at(created.latencies, 0.5), 'ms');
    add('create, p99', at(created.latencies, 0.99), 'ms');
    const written = await each(objects, (i) =>
      client.patch(pods, 'default', `pod-${i}`, status(i, 0), 'merge', { subresource: 'status' }),
    );
    add('status patch', written.rate, '/s');
    add('status patch, p99', at(written.latencies, 0.99), 'ms');
    const read = await each(Math.min(objects, 20_000), (i) => client.get(pods, 'default', `pod-${i}`));
    add('get', read.rate, '/s');
    add(`memory, ${objects} pods`, memoryMb(child), 'MB');
    const bytes = await readAll(join(dir, 'kubeconfig'), '/api/v1/pods');
    add('list of all, as bytes', bytes.ms, 'ms');
    add('list of all, size', bytes.size / 1e6, 'MB');
    let began = performance.now();
    const paged = await client.listAll(pods);
    add('list of all, in pages, parsed', performance.now() - began, 'ms');
    if (paged.items.length !== objects) throw new Error(`${paged.items.length} of ${objects} were listed`);
    began = performance.now();
    const part = await client.list(pods, { fieldSelector: 'spec.nodeName=node-7' });
    add(`list of one node's ${part.items.length}`, performance.now() - began, 'ms');

    // Watchers of everything, as many agents are, and one writer after another.
    const stop = new AbortController();
    const arrivals = new Map<string, number[]>();
    let open = 0;
    const watching = Array.from({ length: watchers }, async () => {
      const events = client.watch(pods, {
        resourceVersion: paged.resourceVersion,
        signal: stop.signal,
        timeoutSeconds: 600,
      });
      open++;
      for await (const event of events)
        if (event.type === 'MODIFIED')
          arrivals.get(event.object.status?.message ?? '')?.push(performance.now());
    });
    await new Promise((done) => setTimeout(done, 2000));
    const delays: number[] = [];
    for (let round = 1; round <= 50; round++) {
      const seen: number[] = [];
      arrivals.set(String(round), seen);
      const sent = performance.now();
      await client.patch(pods, 'default', 'pod-1', status(1, round), 'merge', { subresource: 'status' });
      for (let wait = 0; seen.length < open && wait < 200; wait++)
        await new Promise((done) => setTimeout(done, 5));
      for (const time of seen) delays.push(time - sent);
    }
    delays.sort((a, b) => a - b);
    add(`event at ${open} watchers, p50`, at(delays, 0.5), 'ms');
    add(`event at ${open} watchers, p99`, at(delays, 0.99), 'ms');
    const churn = await each(2000, (i) =>
      client.patch(pods, 'default', `pod-${i}`, status(i, 1000), 'merge', { subresource: 'status' }),
    );
    add(`status patch with ${open} watchers`, churn.rate, '/s');
    stop.abort();
    await Promise.allSettled(watching);
    client.close();
    await end(child);
    const again = await start(dir);
    ({ child, client } = again);
    add(`start with ${objects} pods`, again.ms, 'ms');
    add('memory after the start', memoryMb(child), 'MB');
    client.close();
    await end(child);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
  const width = Math.max(...figures.map(({ name }) => name.length));
  for (const { name, value, unit } of figures)
    console.log(
      `${name.padEnd(width)}  ${(value >= 100 ? Math.round(value).toLocaleString('en') : value.toFixed(1)).padStart(8)} ${unit}`,
    );
  console.log(JSON.stringify(figures));
}
