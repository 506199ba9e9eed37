// The files that the plugin needs outside of the runtime's configuration: its credentials and its launcher. Text only.
import type { ClusterConfig } from '#/kube/index.ts';
import type { CniAgentConfig } from './config.ts';
import type { CniEntry } from './conflist.ts';
import { defaultSelectors } from './selection.ts';

export const kubeconfigName = 'istio-cni-kubeconfig';

/** A kubeconfig with everything in it. It is JSON, which is YAML, and which the plugin reads without a parser. */
export function pluginKubeconfig(cluster: ClusterConfig): string {
  const base64 = (text: string) => Buffer.from(text).toString('base64');
  const token = cluster.token?.();
  return `${JSON.stringify(
    {
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [
        {
          name: 'local',
          cluster: {
            server: cluster.server,
            ...(cluster.ca === undefined ? {} : { 'certificate-authority-data': base64(cluster.ca) }),
            ...(cluster.tlsServerName === undefined ? {} : { 'tls-server-name': cluster.tlsServerName }),
            ...(cluster.insecureSkipTlsVerify === true ? { 'insecure-skip-tls-verify': true } : {}),
          },
        },
      ],
      users: [
        {
          name: 'istio-cni',
          user: {
            ...(token === undefined ? {} : { token }),
            ...(cluster.clientCert === undefined
              ? {}
              : { 'client-certificate-data': base64(cluster.clientCert) }),
            ...(cluster.clientKey === undefined ? {} : { 'client-key-data': base64(cluster.clientKey) }),
          },
        },
      ],
      contexts: [{ name: 'istio-cni-context', context: { cluster: 'local', user: 'istio-cni' } }],
      'current-context': 'istio-cni-context',
    },
    null,
    2,
  )}\n`;
}

/** Our entry in the chain of plugins. */
export function pluginEntry(config: CniAgentConfig): CniEntry {
  return {
    // Upstream names its entry by its type; a chained entry's own name means nothing to a runtime.
    name: config.install.pluginType,
    type: config.install.pluginType,
    plugin_log_level: config.logLevel === 'trace' ? 'debug' : config.logLevel,
    cni_agent_run_dir: config.runDir,
    ambient_enabled: true,
    ...(config.selectors === defaultSelectors ? {} : { enablement_selectors: config.selectors }),
    exclude_namespaces: config.excludeNamespaces,
    pod_namespace: config.systemNamespace,
    native_nftables: config.nativeNftables,
    enable_ambient_detection_retry: config.install.detectionRetry,
  };
}

const quote = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`;
export const launcherMark = '# written by aura cni-agent';

/** A shell script that starts the plugin, with Node's cache of compiled code in the run directory. */
export function launcher(node: string, program: string, runDir: string): string {
  return `#!/bin/sh
${launcherMark}; removed with it
NODE_COMPILE_CACHE=${quote(`${runDir}/compile-cache`)} exec ${quote(node)} ${quote(program)}
`;
}
