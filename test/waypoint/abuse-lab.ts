// What the tests of abuse have in common: a hostile client in a pod, and a neighbour that must not notice.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { root } from '../lab/test-lab.ts';
import type { FloodResult, Order, RawResult } from './hostile-client.ts';
import type { Told } from './neighbour.ts';
import type { CallOptions, WaypointLab } from './waypoint-lab.ts';

export const hostileServer = join(root, 'test/waypoint/hostile-server.ts');
const hostileClient = join(root, 'test/waypoint/hostile-client.ts');
const neighbour = join(root, 'test/waypoint/neighbour.ts');

/** Settings for waypoints of the lab, by environment. Apply it before there is one. */
export const waypointEnv = (env: Readonly<Record<string, string>>): string =>
  `${JSON.stringify({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: {
      name: 'waypoint-settings',
      namespace: 'istio-system',
      labels: { 'gateway.istio.io/defaults-for-class': 'istio-waypoint' },
    },
    data: {
      deployment: JSON.stringify({
        spec: {
          template: {
            spec: {
              containers: [
                { name: 'istio-proxy', env: Object.entries(env).map(([name, value]) => ({ name, value })) },
              ],
            },
          },
        },
      }),
    },
  })}\n---\n`;

export class StopFile implements Disposable {
  readonly #folder = mkdtempSync(join(tmpdir(), 'aura-stop-'));
  readonly path = join(this.#folder, 'stop');

  stop(): void {
    writeFileSync(this.path, '');
  }

  [Symbol.dispose](): void {
    this.stop();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

async function json<T>(mesh: WaypointLab, argv: readonly string[], options: CallOptions, timeoutMs: number) {
  const { code, stdout, stderr } = await mesh.run([process.execPath, ...argv], options, timeoutMs);
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout) as T;
}

/** The processes of a waypoint: those in the network namespace of one of its pods. */
export async function waypointPids(mesh: WaypointLab, pod = 'deploy/waypoint'): Promise<number[]> {
  const script =
    'own=$(readlink /proc/self/ns/net); for p in /proc/[0-9]*; do ' +
    '[ "$(readlink $p/ns/net)" = "$own" ] && grep -qs waypoint-proxy $p/cmdline && echo ${p#/proc/}; done; true';
  const { code, stdout, stderr } = await mesh.lab.exec(`-n shop ${pod}`, 'sh', '-c', script);
  assert.equal(code, 0, stderr);
  const pids = stdout.split('\n').filter((line) => /^\d+$/.test(line));
  return pids.map(Number).filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('main.ts');
    } catch {
      // The shell's own children have gone.
      return false;
    }
  });
}

/** A metric without labels. */
export async function gauge(mesh: WaypointLab, name: string): Promise<number> {
  const value = new RegExp(`^${name} ([0-9.e+]+)`, 'm').exec(await mesh.metrics())?.[1];
  assert.ok(value !== undefined, name);
  return Number(value);
}

/** Every waypoint of the namespace writes an access log. */
export const accessLogs = `
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: { name: logs, namespace: shop }
spec: { accessLogging: [{ providers: [{ name: envoy }] }] }
---
`;

type Distributed<T> = T extends unknown ? Omit<T, 'host' | 'port'> : never;

/** In the pod `client`; to the service `app` if nothing else is said. */
export const hostile = async <T>(
  mesh: WaypointLab,
  order: Distributed<Order> & { readonly host?: string; readonly port?: number },
): Promise<T> => {
  using file = new StopFile();
  writeFileSync(file.path, JSON.stringify({ host: 'app', port: 80, ...order }));
  return await json<T>(mesh, [hostileClient, file.path], {}, 120_000);
};

export const raw = (
  mesh: WaypointLab,
  cases: readonly { readonly name: string; readonly bytes: string }[],
  target: { readonly host?: string; readonly port?: number; readonly waitMs?: number } = {},
): Promise<RawResult[]> => hostile(mesh, { kind: 'raw', waitMs: 5000, cases, ...target });

export type { FloodResult };

/** A neighbour in another namespace asks all the while; what it was told. */
export async function watched(
  mesh: WaypointLab,
  use: () => Promise<void>,
  {
    url = 'http://app.shop/get',
    timeoutMs = 15_000,
  }: { readonly url?: string; readonly timeoutMs?: number } = {},
): Promise<Told> {
  using file = new StopFile();
  const telling = json<Told>(
    mesh,
    [neighbour, url, file.path, '50', String(timeoutMs)],
    { from: 'other' },
    300_000,
  );
  // It may fail before it is waited for.
  telling.catch(() => {});
  try {
    await use();
  } finally {
    file.stop();
  }
  return await telling;
}

/** As `watched`; the neighbour must have got nothing but 200s. */
export async function unnoticed(mesh: WaypointLab, use: () => Promise<void>): Promise<void> {
  const { counts } = await watched(mesh, use);
  assert.deepEqual(Object.keys(counts), ['200'], JSON.stringify(counts));
}
