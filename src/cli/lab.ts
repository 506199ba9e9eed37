// `aura lab`: a cluster on this machine. What a user types, and what they read.
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { stringify } from 'yaml';
import {
  applyManifests,
  describeLab,
  labDown,
  labPaths,
  labUp,
  defaultHome,
  parseFamilies,
  parseNodes,
  readLabConfig,
  readManifests,
  waitForWorkloads,
  type LabPaths,
  type LabStatus,
  type MeshOptions,
} from '#/lab/index.ts';
import { KubeClient } from '#/kube/index.ts';
import { registerLabAccess } from './lab-access.ts';

/** Path of the launcher, for the programs that the lab starts. */
export const auraPath = resolve(import.meta.dirname, '../../bin/aura');

export const thisLab = (): LabPaths => labPaths(defaultHome(process.env));

const started = Date.now();

/** Progress goes to stderr, so that what a command prints can be used by another. */
export function progress(text: string): void {
  const seconds = ((Date.now() - started) / 1000).toFixed(1).padStart(5);
  process.stderr.write(`${seconds}s  ${text}\n`);
}

interface UpFlags {
  readonly nodes?: string;
  readonly filename?: readonly string[];
  readonly ipFamilies?: string;
  readonly ztunnel?: string;
  readonly xdsAddress?: string;
  readonly caAddress?: string;
  readonly xdsRootCa?: string;
  readonly mesh: boolean;
  readonly timeout: string;
}

/** Undefined if no flag says anything about the mesh. */
function meshOptions(flags: UpFlags): MeshOptions | undefined {
  const given = [flags.ztunnel, flags.xdsAddress, flags.caAddress, flags.xdsRootCa];
  if (!flags.mesh) {
    if (given.some((value) => value !== undefined))
      throw new Error(
        '--no-mesh leaves the mesh out: it does not go with --ztunnel, --xds-address, --ca-address or --xds-root-ca',
      );
    return { enabled: false };
  }
  if (given.every((value) => value === undefined)) return undefined;
  return {
    enabled: true,
    ...(flags.ztunnel === undefined ? {} : { ztunnel: resolve(flags.ztunnel) }),
    ...(flags.xdsAddress === undefined ? {} : { xdsAddress: flags.xdsAddress }),
    ...(flags.caAddress === undefined ? {} : { caAddress: flags.caAddress }),
    ...(flags.xdsRootCa === undefined ? {} : { xdsRootCa: resolve(flags.xdsRootCa) }),
  };
}

async function up(flags: UpFlags): Promise<void> {
  const paths = thisLab();
  // Read first: a manifest with a mistake should not cost the wait for a cluster.
  const manifests = readManifests(flags.filename ?? []);
  const config = await labUp({
    paths,
    aura: auraPath,
    progress,
    timeoutMs: Number(flags.timeout) * 1000,
    request: {
      nodes: flags.nodes === undefined ? undefined : parseNodes(flags.nodes),
      families: flags.ipFamilies === undefined ? undefined : parseFamilies(flags.ipFamilies),
      mesh: meshOptions(flags),
    },
  });
  if (manifests.length > 0) {
    using client = KubeClient.fromKubeconfig(paths.kubeconfig, { userAgent: 'aura-lab-up' });
    const applied = await applyManifests(client, manifests, 'aura-lab-up');
    for (const { kind, metadata } of applied)
      progress(
        `applied ${kind} ${metadata.namespace === undefined ? '' : `${metadata.namespace}/`}${metadata.name}`,
      );
    await waitForWorkloads(client, applied, progress, Number(flags.timeout) * 1000);
  }
  progress(
    `the lab runs: ${config.nodes} node${config.nodes === 1 ? '' : 's'}; export KUBECONFIG=${paths.kubeconfig}`,
  );
}

const table = (rows: readonly (readonly string[])[]): string => {
  const widths: number[] = [];
  for (const row of rows) row.forEach((cell, i) => (widths[i] = Math.max(widths[i] ?? 0, cell.length)));
  return rows
    .map((row) =>
      row.map((cell, i) => (i === row.length - 1 ? cell : cell.padEnd((widths[i] ?? 0) + 2))).join(''),
    )
    .join('\n');
};

export function statusText(status: LabStatus): string {
  const lines = [`lab ${status.id}  ${status.phase}: ${status.message}`, `home ${status.home}`];
  if (status.phase === 'absent') return lines.join('\n');
  lines.push(`kubeconfig ${status.kubeconfig}`, '');
  lines.push(
    table([
      ['NODE', 'READY', 'ADDRESSES', 'PODS'],
      ...status.nodes.map((node) => [
        node.name,
        node.ready ? 'yes' : 'no',
        node.ips.join(','),
        node.podCidrs.join(','),
      ]),
    ]),
  );
  if (status.components.length > 0)
    lines.push(
      '',
      table([
        ['COMPONENT', 'READY', ''],
        ...status.components.map((one) => [one.name, one.ready ? 'yes' : 'no', one.message]),
      ]),
    );
  if (status.pods.length > 0)
    lines.push(
      '',
      table([
        ['NAMESPACE', 'POD', 'READY', 'PHASE', 'RESTARTS', 'IP', 'NODE'],
        ...[...status.pods]
          .sort((a, b) => (`${a.namespace}/${a.name}` < `${b.namespace}/${b.name}` ? -1 : 1))
          .map((pod) => [
            pod.namespace,
            pod.name,
            pod.ready ? 'yes' : 'no',
            pod.phase,
            String(pod.restarts),
            pod.ips.join(','),
            pod.node,
          ]),
      ]),
    );
  return lines.join('\n');
}

const collect = (value: string, all: readonly string[] = []): string[] => [...all, value];

export function registerLab(program: Command): void {
  const lab = program
    .command('lab')
    .description('a cluster on this machine: nodes and pods are network namespaces')
    .addHelpText(
      'after',
      '\nThe lab lives in AURA_HOME (~/.aura); labs of different folders run side by side.',
    );
  lab
    .command('up')
    .description('make the lab, or repair it; says what it waits for')
    .option('--nodes <n>', 'how many nodes, the control plane included (3)')
    .option('-f, --filename <file>', 'apply this manifest when the lab runs (repeatable)', collect)
    .option('--ip-families <families>', 'ipv4, ipv6 or dual (ipv4)')
    .option('--ztunnel <path>', 'run this program on the nodes in place of our ztunnel')
    .option('--xds-address <url>', 'where the ztunnels find their control plane')
    .option('--ca-address <url>', 'where the ztunnels find their certificate authority (the xDS address)')
    .option('--xds-root-ca <file>', "PEM of the authority behind that control plane's own certificate")
    .option('--no-mesh', 'only the cluster: no ztunnel, no node agent, no control plane')
    .option('--timeout <seconds>', 'how long to wait until all is ready', '180')
    .action(up);
  lab
    .command('down')
    .description('remove the lab and everything it made, whatever state it is in')
    .action(async () => {
      const paths = thisLab();
      const there = await labDown({ paths, progress });
      progress(there ? 'the lab is gone' : `there is no lab in ${paths.home}`);
    });
  lab
    .command('status')
    .description('what runs, and what does not; exit code 1 unless all is ready')
    .option('-o, --output <format>', 'json or yaml')
    .action(async (flags: { output?: string }) => {
      const status = await describeLab(thisLab());
      if (flags.output === 'json') console.log(JSON.stringify(status, null, 2));
      else if (flags.output === 'yaml') console.log(stringify(status).trimEnd());
      else if (flags.output === undefined) console.log(statusText(status));
      else throw new Error(`-o ${flags.output}: json or yaml`);
      const ready =
        status.phase === 'ready' &&
        status.nodes.every((node) => node.ready) &&
        status.components.every((component) => component.ready);
      if (!ready) process.exitCode = 1;
    });
  lab
    .command('kubeconfig')
    .description("print the path of the lab's kubeconfig")
    .action(() => {
      const paths = thisLab();
      if (readLabConfig(paths) === undefined)
        throw new Error(`there is no lab in ${paths.home}: 'aura lab up' makes one`);
      console.log(paths.kubeconfig);
    });
  registerLabAccess(lab, thisLab);
}
