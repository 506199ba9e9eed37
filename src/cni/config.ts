// The node agent's settings, from an environment map: names and defaults of upstream's, where they exist.
import { parse } from 'yaml';
import { captureDefaults, checkSettings, type CaptureSettings } from '#/capture/index.ts';
import { logLevels, parseIp, type Ip, type LogLevel } from '#/kit/index.ts';
import { checkSelectors, defaultSelectors, type EnablementSelector } from './selection.ts';

export type Env = Readonly<Record<string, string | undefined>>;

export interface InstallConfig {
  /** False: the runtime's configuration is left alone (somebody else chains the plugin). */
  readonly enabled: boolean;
  readonly confDir: string;
  /** The configuration to extend. Empty: the first valid one, in the order of names. */
  readonly confName: string;
  readonly chained: boolean;
  /** Where the runtime looks for plugins. Empty: it finds `aura-cni` by itself. */
  readonly binDir: string;
  /** The `type` of our entry, which is the name of the program that the runtime starts. */
  readonly pluginType: 'aura-cni' | 'istio-cni';
  /** Keep a configuration of our own that sorts first, so that after a reboot no pod starts without us. */
  readonly owned: boolean;
  readonly ownedName: string;
  /** See the plugin's `enable_ambient_detection_retry`. */
  readonly detectionRetry: boolean;
}

export interface CniAgentConfig {
  readonly nodeName: string;
  readonly systemNamespace: string;
  /** Absent: the pod's own service account. */
  readonly kubeconfig?: string;
  readonly capture: CaptureSettings;
  readonly selectors: readonly EnablementSelector[];
  readonly excludeNamespaces: readonly string[];
  readonly reconcileOnStart: boolean;
  readonly nativeNftables: boolean;
  /** Absent: found out once, in the node's own network namespace. */
  readonly iptables?: 'nft' | 'legacy';
  /** Do not wait for the lock file that all legacy iptables of the machine share. */
  readonly ownXtablesLock: boolean;
  readonly runDir: string;
  readonly ztunnelSocket: string;
  readonly procDir: string;
  readonly install: InstallConfig;
  /** What happens to plugin, host rules and sets when the agent ends. `auto`: see shutdown.ts. */
  readonly onExit: 'auto' | 'leave' | 'remove';
  /** The DaemonSet that tells an upgrade from a removal. */
  readonly daemonSet: string;
  readonly bindHost: string;
  readonly healthPort: number;
  readonly metricsPort: number;
  readonly logLevel: LogLevel;
  readonly logFormat: 'plain' | 'json';
}

/** Throws an Error that names the variable, its value and what is allowed. */
export function parseCniAgentConfig(env: Env, overrides: Partial<CniAgentConfig> = {}): CniAgentConfig {
  const text = (name: string, fallback: string): string => {
    const value = env[name]?.trim();
    return value === undefined || value === '' ? fallback : value;
  };
  const fail = (name: string, allowed: string): never => {
    throw new Error(`${name}=${JSON.stringify(env[name])}: ${allowed}`);
  };
  const flag = (name: string, fallback: boolean): boolean => {
    const value = text(name, String(fallback)).toLowerCase();
    if (value === 'true' || value === '1') return true;
    if (value === 'false' || value === '0') return false;
    return fail(name, 'must be true or false');
  };
  const port = (name: string, fallback: number): number => {
    const value = text(name, String(fallback));
    const number = Number(value);
    return /^[0-9]{1,5}$/.test(value) && number <= 65535 ? number : fail(name, 'must be a port, 0–65535');
  };
  const oneOf = <T extends string>(name: string, allowed: readonly T[], fallback: T): T => {
    const value = text(name, fallback).toLowerCase() as T;
    return allowed.includes(value) ? value : fail(name, `must be one of ${allowed.join(', ')}`);
  };
  const address = (name: string, fallback: Ip): Ip =>
    parseIp(text(name, fallback)) ?? fail(name, 'must be an IP address');
  const list = (name: string, fallback: string): string[] =>
    text(name, fallback)
      .split(',')
      .map((item) => item.trim())
      .filter((item) => item !== '');

  const nodeName = overrides.nodeName ?? text('NODE_NAME', '');
  if (nodeName === '') throw new Error('NODE_NAME is not set: the agent must know which node it is on');
  const systemNamespace = text('SYSTEM_NAMESPACE', text('POD_NAMESPACE', 'istio-system'));
  const runDir = text('CNI_AGENT_RUN_DIR', '/var/run/istio-cni');
  const kubeconfig = text('KUBECONFIG', '');
  const iptables = oneOf('FORCE_IPTABLES_BINARY', ['', 'nft', 'legacy'], '');
  return {
    nodeName,
    systemNamespace,
    ...(kubeconfig === '' ? {} : { kubeconfig }),
    capture: checkSettings({
      ...captureDefaults,
      ipv4: flag('AMBIENT_IPV4', true),
      ipv6: flag('AMBIENT_IPV6', true),
      dnsCapture: flag('AMBIENT_DNS_CAPTURE', true),
      probeAddressV4: address('HOST_PROBE_SNAT_IP', captureDefaults.probeAddressV4),
      probeAddressV6: address('HOST_PROBE_SNAT_IPV6', captureDefaults.probeAddressV6),
    }),
    selectors: selectorsOf(env['AMBIENT_ENABLEMENT_SELECTOR']),
    excludeNamespaces: list('EXCLUDE_NAMESPACES', 'kube-system'),
    reconcileOnStart: flag('AMBIENT_RECONCILE_POD_RULES_ON_STARTUP', true),
    nativeNftables: flag('NATIVE_NFTABLES', false),
    ...(iptables === '' ? {} : { iptables }),
    ownXtablesLock: flag('AMBIENT_USE_SCOPED_XTABLES_LOCKING', true),
    runDir,
    ztunnelSocket: text('ZTUNNEL_UDS_ADDRESS', '/var/run/ztunnel/ztunnel.sock'),
    procDir: text('HOST_PROC_DIR', '/proc'),
    install: {
      enabled: flag('CNI_INSTALL', true),
      confDir: text('MOUNTED_CNI_NET_DIR', '/etc/cni/net.d'),
      confName: text('CNI_CONF_NAME', ''),
      chained: flag('CHAINED_CNI_PLUGIN', true),
      binDir: text('CNI_BIN_TARGET_DIR', ''),
      pluginType: oneOf('CNI_PLUGIN_TYPE', ['aura-cni', 'istio-cni'], 'aura-cni'),
      owned: flag('ISTIO_OWNED_CNI_CONFIG', false),
      ownedName: text('ISTIO_OWNED_CNI_CONFIG_FILENAME', '02-istio-cni.conflist'),
      detectionRetry: flag('ENABLE_AMBIENT_DETECTION_RETRY', true),
    },
    onExit: flag('AMBIENT_DISABLE_SAFE_UPGRADE', false)
      ? 'remove'
      : oneOf('CNI_AGENT_ON_EXIT', ['auto', 'leave', 'remove'], 'auto'),
    daemonSet: text('CNI_DAEMONSET_NAME', 'istio-cni-node'),
    bindHost: text('CNI_AGENT_BIND_HOST', '::'),
    healthPort: port('HEALTH_PORT', 8000),
    metricsPort: port('MONITORING_PORT', 15014),
    logLevel: oneOf<LogLevel>('LOG_LEVEL', logLevels, 'info'),
    logFormat: oneOf('LOG_FORMAT', ['plain', 'json'], 'plain'),
    ...overrides,
  };
}

function selectorsOf(text: string | undefined): readonly EnablementSelector[] {
  if (text === undefined || text.trim() === '') return defaultSelectors;
  let value: unknown;
  try {
    value = parse(text);
  } catch (error) {
    throw new Error(`AMBIENT_ENABLEMENT_SELECTOR is not YAML: ${(error as Error).message}`, { cause: error });
  }
  const selectors = checkSelectors(value, 'AMBIENT_ENABLEMENT_SELECTOR');
  return selectors.length === 0 ? defaultSelectors : selectors;
}
