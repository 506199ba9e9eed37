// Where commands that look at the mesh get their objects from: files, or the API of a running cluster.
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { defaultSelectors, eligibility } from '#/cni/index.ts';
import { readDocuments, type Enrolment, type SourceDocument, type UnreadablePart } from '#/analysis/index.ts';
import { meshConfigMap, parseMeshConfig, withMeshConfig } from '#/control/index.ts';
import { errorText } from '#/errors/index.ts';
import { KubeClient } from '#/kube/index.ts';
import { defaultSettings, type MeshSettings } from '#/translate/index.ts';

export interface SourceFlags {
  readonly filename?: readonly string[];
  readonly kubeconfig?: string;
  readonly context?: string;
  readonly namespace?: string;
  readonly istioNamespace: string;
  readonly trustDomain?: string;
  readonly domain?: string;
  readonly upstreamCompat?: boolean;
}

/** As the node agent decides, with its default selectors. */
export const enrolment: Enrolment = (pod, namespaceLabels) =>
  eligibility(pod as Parameters<typeof eligibility>[0], namespaceLabels, {
    selectors: defaultSelectors,
    excludeNamespaces: ['kube-system'],
  });

const collect = (value: string, all: readonly string[] = []): readonly string[] => [...all, value];

export function connectionOptions(command: Command): Command {
  return command
    .option(
      '--kubeconfig <file>',
      'the Kubernetes API to ask (KUBECONFIG, the lab of AURA_HOME, ~/.kube/config)',
    )
    .option('--context <name>', 'of the kubeconfig (its current one)')
    .option('-n, --namespace <name>', 'of names that are given without one (the one of the context)')
    .option('-i, --istio-namespace <name>', 'where the control plane is', 'istio-system');
}

export function sourceOptions(command: Command): Command {
  return connectionOptions(
    command.option(
      '-f, --filename <file>',
      'objects from this file, folder or - (standard input) alone, not from a cluster (repeatable)',
      collect,
    ),
  )
    .option(
      '--trust-domain <domain>',
      'of identities, if it is not what the control plane says (cluster.local)',
    )
    .option('--domain <suffix>', 'of service names (cluster.local)')
    .option('--upstream-compat', 'as if the control plane ran with AURA_UPSTREAM_COMPAT=true');
}

/** What the ConfigMap of the mesh says, if it is among the objects. Throws Error that names it, if it cannot be read. */
function withFoundMeshConfig(
  settings: MeshSettings,
  namespace: string,
  documents: readonly SourceDocument[],
): MeshSettings {
  const found = documents.find(
    (one) => one.kind === 'ConfigMap' && one.namespace === namespace && one.name === meshConfigMap,
  );
  if (found === undefined) return settings;
  try {
    const config = parseMeshConfig(found.object as Parameters<typeof parseMeshConfig>[0]);
    return withMeshConfig(settings, config, { trustDomain: false, rootNamespace: false });
  } catch (error) {
    throw new Error(`ConfigMap ${namespace}/${meshConfigMap}, key mesh: ${errorText(error)}`, {
      cause: error,
    });
  }
}

/** `found` is what the control plane says; of files, their ConfigMap of the mesh counts. */
export function settingsOf(
  flags: SourceFlags,
  found: MeshSettings = defaultSettings,
  documents: readonly SourceDocument[] = [],
): MeshSettings {
  const base =
    found === defaultSettings
      ? withFoundMeshConfig(
          { ...found, rootNamespace: flags.istioNamespace },
          flags.istioNamespace,
          documents,
        )
      : found;
  return {
    ...base,
    systemNamespace: flags.istioNamespace,
    ...(flags.trustDomain === undefined ? {} : { trustDomain: flags.trustDomain }),
    ...(flags.domain === undefined ? {} : { clusterDomain: flags.domain }),
    ...(flags.upstreamCompat === undefined ? {} : { upstreamCompat: flags.upstreamCompat }),
  };
}

function filesIn(path: string): readonly string[] {
  if (path === '-') return [path];
  if (!statSync(path).isDirectory()) return [path];
  return readdirSync(path, { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.(?:ya?ml|json)$/.test(name))
    .sort()
    .map((name) => join(path, name));
}

export interface Objects {
  readonly documents: readonly SourceDocument[];
  readonly unreadable: readonly UnreadablePart[];
  /** Kinds that the user may not list, or that could not be listed, with the reason. */
  readonly missing: readonly string[];
}

/** Throws Error that names the file, if one cannot be read at all. */
export function objectsOfFiles(paths: readonly string[], namespace: string): Objects {
  const documents: SourceDocument[] = [];
  const unreadable: UnreadablePart[] = [];
  for (const file of paths.flatMap(filesIn)) {
    const read = readDocuments(
      readFileSync(file === '-' ? 0 : file, 'utf8'),
      file === '-' ? 'stdin' : file,
      namespace,
    );
    documents.push(...read.documents);
    unreadable.push(...read.unreadable);
  }
  return { documents, unreadable, missing: [] };
}

/** Of a flag, KUBECONFIG, the lab, the user's home. Undefined: this may be a pod. */
export function kubeconfigFile(flag: string | undefined): string | undefined {
  if (flag !== undefined) return flag;
  const { KUBECONFIG, AURA_HOME, HOME } = process.env;
  const listed = (KUBECONFIG ?? '').split(':').filter((file) => file !== '');
  if (listed.length > 0) return listed.find((file) => existsSync(file)) ?? listed[0];
  const home = HOME ?? '/nonexistent';
  return [join(AURA_HOME ?? join(home, '.aura'), 'kubeconfig'), join(home, '.kube', 'config')].find((file) =>
    existsSync(file),
  );
}

export function connect(flags: Pick<SourceFlags, 'kubeconfig' | 'context'>, command: string): KubeClient {
  return KubeClient.fromKubeconfig(kubeconfigFile(flags.kubeconfig), {
    userAgent: `aura-${command}`,
    env: process.env,
    ...(flags.context === undefined ? {} : { context: flags.context }),
  });
}
