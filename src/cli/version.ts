// `aura version`: of this command, of the control plane, of the proxies.
import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { errorText } from '#/errors/index.ts';
import { connect, connectionOptions, kubeconfigFile, type SourceFlags } from './mesh-objects.ts';
import { outputOption, printReport, type OutputFlags } from './print-report.ts';
import { dataPlaneVersions, type VersionCount } from './proxy-report.ts';
import { askReplicas } from './proxy-status.ts';

type Flags = SourceFlags & OutputFlags & { readonly client?: boolean };

export interface VersionReport {
  readonly clientVersion: string;
  readonly meshVersion?: readonly { readonly component: string; readonly version: string }[];
  readonly dataPlaneVersion?: readonly VersionCount[];
  /** Why nothing is known of the mesh. */
  readonly unknown?: string;
}

export function clientVersion(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

export function versionText({
  clientVersion: own,
  meshVersion,
  dataPlaneVersion,
  unknown,
}: VersionReport): string {
  const lines = [`client version: ${own}`];
  const versions = new Set((meshVersion ?? []).map(({ version }) => version));
  const [one] = versions;
  if (versions.size === 1) lines.push(`control plane version: ${one}`);
  else
    for (const { component, version } of meshVersion ?? [])
      lines.push(`control plane version of ${component}: ${version}`);
  const proxies = dataPlaneVersion ?? [];
  if (proxies.length > 0)
    lines.push(
      `data plane version: ${proxies.map(({ version, proxies: count }) => `${version} (${count} ${count === 1 ? 'proxy' : 'proxies'})`).join(', ')}`,
    );
  else if (meshVersion !== undefined) lines.push('data plane version: no proxies are connected');
  if (unknown !== undefined) lines.push(`control plane version: not known: ${unknown}`);
  return `${lines.join('\n')}\n`;
}

async function report(flags: Flags): Promise<VersionReport> {
  const own = { clientVersion: clientVersion() };
  if (flags.client === true) return own;
  if (kubeconfigFile(flags.kubeconfig) === undefined && process.env['KUBERNETES_SERVICE_HOST'] === undefined)
    return { ...own, unknown: 'no cluster is given (--kubeconfig, KUBECONFIG, or a lab in AURA_HOME)' };
  try {
    using client = connect(flags, 'version');
    const replicas = await askReplicas(client, flags.istioNamespace);
    return {
      ...own,
      meshVersion: replicas.map(({ name, version }) => ({ component: name, version })),
      dataPlaneVersion: dataPlaneVersions(replicas),
    };
  } catch (error) {
    return { ...own, unknown: errorText(error) };
  }
}

async function run(flags: Flags): Promise<void> {
  const found = await report(flags);
  printReport(found, () => versionText(found), flags);
}

export function registerVersion(program: Command): void {
  outputOption(
    connectionOptions(
      program.command('version').description('of this command, of the control plane and of the proxies'),
    ),
  )
    .option('--client', 'of this command alone, without asking a cluster')
    .addHelpText('after', '\nExit code 0, also when no cluster can be asked: then the output says why.')
    .action(run);
}
