// `aura proxy-status`: who is connected to the control plane, and whether it has what it should.
import type { Command } from 'commander';
import { KubeError, pods, type KubeClient, type Pod } from '#/kube/index.ts';
import { controlPlanePage, controlPlanePods, controlPlaneVersion, type SyncEntry } from './control-access.ts';
import { connect, connectionOptions, type SourceFlags } from './mesh-objects.ts';
import { outputOption, printReport, table, type OutputFlags } from './print-report.ts';
import { proxyReports, type ControlPlaneReport, type ProxyPod, type ProxyReport } from './proxy-report.ts';

type Flags = SourceFlags & OutputFlags & { readonly exitCode?: boolean };

/** All replicas. Throws Error if there is none, or if one cannot be asked. */
export async function askReplicas(
  client: KubeClient,
  namespace: string,
): Promise<readonly ControlPlaneReport[]> {
  const replicas = await controlPlanePods(client, namespace);
  if (replicas.length === 0)
    throw new Error(
      `no pod with the label app=istiod runs in namespace ${namespace}: name the control plane's namespace with -i`,
    );
  return Promise.all(
    replicas.map(async (pod) => {
      const [proxies, version] = await Promise.all([
        controlPlanePage<readonly SyncEntry[]>(client, pod, '/debug/syncz'),
        controlPlaneVersion(client, pod),
      ]);
      return { name: pod.name, version, proxies };
    }),
  );
}

async function running(
  client: KubeClient,
  type: ProxyPod['type'],
  labelSelector: string,
  namespace?: string,
): Promise<readonly ProxyPod[]> {
  const { items } = await client.listAll(pods, { namespace, labelSelector });
  return items
    .filter((pod: Pod) => pod.status?.phase === 'Running' && pod.metadata.deletionTimestamp === undefined)
    .map((pod: Pod) => ({
      type,
      namespace: pod.metadata.namespace ?? '',
      name: pod.metadata.name,
      node: pod.spec.nodeName ?? '',
      ready:
        pod.status?.conditions?.some(({ type: of, status }) => of === 'Ready' && status === 'True') === true,
    }));
}

/** Pods that should be connected. */
async function expectedPods(client: KubeClient, namespace: string): Promise<readonly ProxyPod[]> {
  const waypoints = running(client, 'waypoint', 'gateway.istio.io/managed=istio.io-mesh-controller').catch(
    (error: unknown) => {
      // Not everybody may list the pods of all namespaces.
      if (error instanceof KubeError && error.code === 403) return [];
      throw error;
    },
  );
  const found = await Promise.all([running(client, 'ztunnel', 'app=ztunnel', namespace), waypoints]);
  return found.flat();
}

export function proxyStatusText(reports: readonly ProxyReport[]): string {
  if (reports.length === 0) return 'no proxies: none is connected, and no ztunnel or waypoint runs\n';
  const rows = reports.map(({ name, type, cluster, controlPlane, version, node, status, types }) => [
    name,
    type || '-',
    cluster || '-',
    node || '-',
    controlPlane || '-',
    version || '-',
    status,
    `${types.length} (${types.map((one) => one.type).join(',')})`,
  ]);
  const lines = [
    table([['NAME', 'TYPE', 'CLUSTER', 'NODE', 'ISTIOD', 'VERSION', 'STATUS', 'SUBSCRIBED TYPES'], ...rows]),
  ];
  for (const { name, types } of reports)
    for (const { type, error } of types)
      if (error !== undefined)
        lines.push('', `${name} has rejected ${type} and uses what it had before:`, `  ${error}`);
  for (const { name, node, type, status } of reports)
    if (status === 'NOT CONNECTED')
      lines.push(
        '',
        `${name} is not connected: ${type === 'waypoint' ? 'requests through it are served' : `pods of node ${node} run`} with what it knew last; look at its log`,
      );
  return `${lines.join('\n')}\n`;
}

async function run(name: string | undefined, flags: Flags): Promise<void> {
  using client = connect(flags, 'proxy-status');
  const [replicas, expected] = await Promise.all([
    askReplicas(client, flags.istioNamespace),
    expectedPods(client, flags.istioNamespace),
  ]);
  const reports = proxyReports(replicas, expected).filter(
    (report) => name === undefined || report.name === name || report.name.startsWith(`${name}.`),
  );
  if (name !== undefined && reports.length === 0) throw new Error(`no proxy ${name} is connected`);
  printReport(reports, () => proxyStatusText(reports), flags);
  if (flags.exitCode === true && reports.some(({ status }) => status !== 'SYNCED')) process.exitCode = 3;
}

export function registerProxyStatus(program: Command): void {
  outputOption(
    connectionOptions(
      program
        .command('proxy-status')
        .description('connected proxies: what they are subscribed to, and whether they have it')
        .argument('[name]', 'of one proxy: POD or POD.NAMESPACE'),
    ),
  )
    .option('--exit-code', 'exit with 3 unless all are SYNCED')
    .addHelpText(
      'after',
      `
SYNCED: all that was sent is acknowledged. STALE: not yet. ERROR: the proxy has rejected it and uses what it had before.
NOT SENT: nothing was sent. NOT CONNECTED: a ztunnel or a waypoint runs that no control plane has a connection of.

The control plane is asked on its monitoring port (15014), by port forwarding through the API server: that takes the
right to create pods/portforward in its namespace.

Exit codes: 0; 1 not possible; 3 with --exit-code, if a proxy is not SYNCED.`,
    )
    .action(run);
}
