// The mesh's keys in the network configuration, as the installer writes them (and as upstream's does).
import { checkSelectors, defaultSelectors, type EnablementSelector } from '../selection.ts';
import { CniError, cniCodes, type NetworkConfig } from './cni-protocol.ts';

export interface PluginConfig {
  readonly logLevel: string;
  readonly runDir: string;
  readonly ambientEnabled: boolean;
  readonly selectors: readonly EnablementSelector[];
  readonly excludeNamespaces: readonly string[];
  /** The namespace of the node agent's own pod. */
  readonly podNamespace: string;
  /**
   * True, the default: while the API cannot say whether a pod belongs to the mesh, the pod does not start.
   * False restores upstream's default: it starts outside of the mesh.
   */
  readonly detectionRetry: boolean;
}

export function parsePluginConfig(config: NetworkConfig): PluginConfig {
  const bad = (key: string, what: string) =>
    new CniError(cniCodes.invalidConfig, `${key} in the network configuration is not ${what}`);
  const text = (key: string, fallback: string): string => {
    const value = config[key];
    if (value === undefined || value === null || value === '') return fallback;
    if (typeof value !== 'string') throw bad(key, 'a string');
    return value;
  };
  const flag = (key: string, fallback: boolean): boolean => {
    const value = config[key];
    if (value === undefined || value === null) return fallback;
    if (typeof value !== 'boolean') throw bad(key, 'true or false');
    return value;
  };
  const excluded = config['exclude_namespaces'] ?? [];
  if (!Array.isArray(excluded) || excluded.some((name) => typeof name !== 'string'))
    throw bad('exclude_namespaces', 'a list of strings');
  const given = config['enablement_selectors'] ?? [];
  let selectors: readonly EnablementSelector[];
  try {
    selectors = checkSelectors(given, 'enablement_selectors');
  } catch (error) {
    throw new CniError(cniCodes.invalidConfig, (error as Error).message);
  }
  return {
    logLevel: text('plugin_log_level', 'info'),
    runDir: text('cni_agent_run_dir', '/var/run/istio-cni'),
    ambientEnabled: flag('ambient_enabled', true),
    selectors: selectors.length === 0 ? defaultSelectors : selectors,
    excludeNamespaces: excluded as string[],
    podNamespace: text('pod_namespace', 'istio-system'),
    detectionRetry: flag('enable_ambient_detection_retry', true),
  };
}
