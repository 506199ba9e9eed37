// What the control plane says of itself and of the proxies: its monitoring port, reached as `kubectl port-forward`
// does, so that it works wherever the API server does and counts as local there.
import { request as httpRequest } from 'node:http';
import type { Duplex } from 'node:stream';
import type { ProxyState, SourceDocument } from '#/analysis/index.ts';
import { errorText } from '#/errors/index.ts';
import { pods, type KubeClient, type Pod } from '#/kube/index.ts';
import { defaultSettings, type MeshSettings } from '#/translate/index.ts';

const monitoringPort = 15014;
const deadlineMs = 5000;
const maxAnswer = 64 << 20;

export interface ControlPlanePod {
  readonly namespace: string;
  readonly name: string;
}

/** The running replicas. */
export async function controlPlanePods(
  client: KubeClient,
  namespace: string,
): Promise<readonly ControlPlanePod[]> {
  const { items } = await client.list(pods, { namespace, labelSelector: 'app=istiod' });
  return items
    .filter((pod: Pod) => pod.status?.phase === 'Running' && pod.metadata.deletionTimestamp === undefined)
    .map((pod: Pod) => ({ namespace, name: pod.metadata.name }));
}

/** One GET over a connection of its own. Throws Error for anything but 200. */
function get(stream: Duplex, path: string): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const request = httpRequest({
    path,
    host: 'localhost',
    headers: { connection: 'close' },
    // Only taken without an agent of our own.
    createConnection: () => stream,
  });
  const timer = setTimeout(() => request.destroy(new Error(`no answer within ${deadlineMs} ms`)), deadlineMs);
  request.on('response', (response) => {
    const chunks: Buffer[] = [];
    let size = 0;
    response.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size > maxAnswer) request.destroy(new Error('the answer is too long'));
      else chunks.push(chunk);
    });
    response.on('end', () => {
      const body = Buffer.concat(chunks).toString('utf8');
      if (response.statusCode === 200) resolve(body);
      else reject(new Error(`HTTP ${response.statusCode}: ${body.trim().slice(0, 200)}`));
    });
    response.on('error', reject);
  });
  request.on('error', reject);
  request.on('close', () => {
    clearTimeout(timer);
    reject(new Error('the connection ended before the answer'));
    stream.destroy();
  });
  request.end();
  return promise;
}

/** A page of a pod, by port forwarding. Throws Error that names the pod and the page. */
export async function podPage(
  client: KubeClient,
  pod: ControlPlanePod,
  port: number,
  path: string,
): Promise<string> {
  try {
    return await get(await client.portForward(pod.namespace, pod.name, port), path);
  } catch (error) {
    throw new Error(`${path} of pod ${pod.namespace}/${pod.name}: ${errorText(error)}`, { cause: error });
  }
}

export async function controlPlanePage<T>(
  client: KubeClient,
  pod: ControlPlanePod,
  path: string,
): Promise<T> {
  return JSON.parse(await podPage(client, pod, monitoringPort, path)) as T;
}

/** The version of a replica. `/version` is a line of version, revision and state of the build, parted by dashes. */
export async function controlPlaneVersion(client: KubeClient, pod: ControlPlanePod): Promise<string> {
  return versionIn(await podPage(client, pod, monitoringPort, '/version'));
}

/** The version may hold dashes itself: `1.30-alpha.abc-def-Clean` is `1.30-alpha.abc`. */
export const versionIn = (line: string): string => line.trim().replace(/-[^-]*-[^-]*$/, '');

/** As `/debug/syncz` has it. */
export interface SyncEntry {
  readonly cluster_id?: string;
  readonly proxy: string;
  readonly proxy_type?: string;
  readonly istio_version?: string;
  readonly resources?: Readonly<
    Record<
      string,
      {
        readonly sent?: string;
        readonly acked?: string;
        readonly sentTime?: string;
        readonly lastError?: string;
      }
    >
  >;
}

export function typeState(type: {
  readonly sent?: string;
  readonly acked?: string;
  readonly lastError?: string;
}): 'SYNCED' | 'STALE' | 'ERROR' | 'NOT SENT' {
  if (type.lastError !== undefined) return 'ERROR';
  if (type.sent === undefined) return 'NOT SENT';
  return type.sent === type.acked ? 'SYNCED' : 'STALE';
}

export function proxyState(entry: SyncEntry, node: string): ProxyState {
  const types = Object.values(entry.resources ?? {});
  const error = types.find(({ lastError }) => lastError !== undefined)?.lastError;
  return {
    proxy: entry.proxy,
    node,
    state:
      error !== undefined
        ? 'rejected'
        : types.every((type) => typeState(type) === 'SYNCED')
          ? 'synced'
          : 'stale',
    ...(error === undefined ? {} : { error }),
  };
}

export type MeshState =
  | { readonly kind: 'known'; readonly proxies: readonly ProxyState[]; readonly settings: MeshSettings }
  | { readonly kind: 'unknown'; readonly reason: string; readonly settings: MeshSettings };

/** Settings and proxies as the control plane has them, as far as it can be asked; never throws. */
export async function askControlPlane(
  client: KubeClient,
  namespace: string,
  documents: readonly SourceDocument[],
): Promise<MeshState> {
  let settings = defaultSettings;
  try {
    const replicas = await controlPlanePods(client, namespace);
    const [first] = replicas;
    if (first === undefined)
      return {
        kind: 'unknown',
        reason: `no pod with the label app=istiod runs in namespace ${namespace}`,
        settings,
      };
    // Istio's own answers with its MeshConfig, which has other fields.
    const mesh = await controlPlanePage<Partial<MeshSettings>>(client, first, '/debug/mesh');
    if (typeof mesh.clusterDomain === 'string') settings = { ...defaultSettings, ...mesh };
    // Not ours, so it does as upstream where ours would refuse.
    else {
      const { trustDomain = defaultSettings.trustDomain } = mesh;
      settings = { ...defaultSettings, trustDomain, upstreamCompat: true };
    }
    const nodes = new Map(
      documents
        .filter(({ kind }) => kind === 'Pod')
        .map(({ name, namespace: own, object }) => [
          `${name}.${own}`,
          (object.spec as { nodeName?: string } | undefined)?.nodeName ?? '',
        ]),
    );
    const entries = await Promise.all(
      replicas.map((replica) => controlPlanePage<readonly SyncEntry[]>(client, replica, '/debug/syncz')),
    );
    const proxies = entries.flat().map((entry) => proxyState(entry, nodes.get(entry.proxy) ?? ''));
    return { kind: 'known', proxies, settings };
  } catch (error) {
    return { kind: 'unknown', reason: errorText(error), settings };
  }
}
