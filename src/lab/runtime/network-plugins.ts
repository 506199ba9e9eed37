// Runs a chain of network plugins by the CNI protocol (version 0.3.1 and newer): ADD in order, each given the
// result of the one before, DEL in reverse order. Plugins run inside the node: in its network namespace, and
// with its own /run, where an agent's socket lies.
import { accessSync, constants, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { inNetns, run, shellQuote, type CommandResult } from '../command.ts';
import type { NodePaths } from '../paths.ts';

export interface PluginConfig {
  readonly type: string;
  readonly capabilities?: Readonly<Record<string, boolean>>;
  readonly [field: string]: unknown;
}

export interface NetworkConfig {
  readonly name: string;
  readonly cniVersion: string;
  readonly plugins: readonly PluginConfig[];
}

export interface NetworkResult {
  readonly cniVersion?: string;
  readonly interfaces?: readonly {
    readonly name: string;
    readonly mac?: string;
    readonly sandbox?: string;
  }[];
  readonly ips?: readonly {
    readonly address: string;
    readonly gateway?: string;
    readonly interface?: number;
  }[];
  readonly [field: string]: unknown;
}

export interface Attachment {
  readonly containerId: string;
  readonly netns: string;
  readonly pod: { readonly namespace: string; readonly name: string; readonly uid: string };
}

/** A plugin refused. `message` names the plugin and has its own words. */
export class NetworkPluginError extends Error {
  readonly plugin: string;

  constructor(plugin: string, command: string, text: string) {
    super(`plugin ${plugin} (${command}): ${text}`);
    this.name = 'NetworkPluginError';
    this.plugin = plugin;
  }
}

/**
 * The configuration in force: the first file by name, as container runtimes choose. Throws an Error that names
 * the folder or the file.
 */
export function readNetworkConfig(confDir: string): NetworkConfig {
  const files = readdirSync(confDir)
    .filter((name) => /\.(?:conf|conflist|json)$/.test(name))
    .sort();
  const problems: string[] = [];
  for (const file of files) {
    try {
      return parseNetworkConfig(readFileSync(join(confDir, file), 'utf8'));
    } catch (error) {
      problems.push(`${file}: ${(error as Error).message}`);
    }
  }
  throw new Error(
    problems.length > 0
      ? `no valid network configuration in ${confDir}: ${problems.join('; ')}`
      : `no network configuration in ${confDir}`,
  );
}

export function parseNetworkConfig(text: string): NetworkConfig {
  const value = JSON.parse(text) as Record<string, unknown>;
  const { name, cniVersion, plugins } = value;
  if (typeof name !== 'string') throw new Error('it has no name');
  const list = Array.isArray(plugins) ? (plugins as PluginConfig[]) : [value as unknown as PluginConfig];
  if (list.length === 0 || list.some((plugin) => typeof plugin.type !== 'string'))
    throw new Error('a plugin without a type');
  return { name, cniVersion: typeof cniVersion === 'string' ? cniVersion : '0.2.0', plugins: list };
}

function findPlugin(type: string, path: readonly string[]): string {
  if (type.includes('/')) throw new NetworkPluginError(type, 'find', 'a type must be a name, not a path');
  for (const dir of path) {
    const file = join(dir, type);
    try {
      accessSync(file, constants.X_OK);
      return file;
    } catch {
      // Not in this folder.
    }
  }
  throw new NetworkPluginError(type, 'find', `no such program in ${path.join(', ')}`);
}

/** What a plugin that failed has to say: JSON on stdout by the protocol, else whatever it printed. */
export function pluginComplaint(result: CommandResult): string {
  try {
    const error = JSON.parse(result.stdout) as { msg?: unknown; details?: unknown };
    if (typeof error.msg === 'string')
      return typeof error.details === 'string' && error.details !== ''
        ? `${error.msg}: ${error.details}`
        : error.msg;
  } catch {
    // Not JSON: it crashed, or could not be started.
  }
  const text = `${result.stderr} ${result.stdout}`.trim().slice(0, 500);
  return text === '' ? `exit code ${result.code}` : text;
}

export class NetworkPlugins {
  readonly #node: NodePaths;
  readonly #path: readonly string[];

  constructor(node: NodePaths, systemPlugins = '/usr/lib/cni') {
    this.#node = node;
    this.#path = [node.cniBin, systemPlugins];
  }

  /** Throws NetworkPluginError. The caller undoes a half-made attachment with `remove`. */
  async add(config: NetworkConfig, attachment: Attachment): Promise<NetworkResult> {
    let result: NetworkResult | undefined;
    for (const plugin of config.plugins) {
      const output = await this.#call('ADD', config, plugin, attachment, result);
      try {
        result = JSON.parse(output) as NetworkResult;
      } catch {
        throw new NetworkPluginError(plugin.type, 'ADD', `its result is not JSON: ${output.slice(0, 200)}`);
      }
    }
    return result ?? {};
  }

  /** Tries every plugin, also after one has failed; throws the first error at the end. */
  async remove(
    config: NetworkConfig,
    attachment: Attachment,
    result: NetworkResult | undefined,
  ): Promise<void> {
    let first: unknown;
    for (const plugin of [...config.plugins].reverse()) {
      try {
        await this.#call('DEL', config, plugin, attachment, result);
      } catch (error) {
        first ??= error;
      }
    }
    if (first !== undefined) throw first;
  }

  async #call(
    command: 'ADD' | 'DEL',
    config: NetworkConfig,
    plugin: PluginConfig,
    { containerId, netns, pod }: Attachment,
    previous: NetworkResult | undefined,
  ): Promise<string> {
    const program = findPlugin(plugin.type, this.#path);
    const { capabilities: _, ...own } = plugin;
    const input = { ...own, name: config.name, cniVersion: config.cniVersion };
    const result = await run(
      inNetns(this.#node.netns, [
        'unshare',
        '--mount',
        '--propagation',
        'slave',
        '--',
        '/bin/sh',
        '-c',
        `mount --bind ${shellQuote(this.#node.run)} /run && exec ${shellQuote(program)}`,
      ]),
      {
        input: JSON.stringify(previous === undefined ? input : { ...input, prevResult: previous }),
        timeoutMs: 60_000,
        env: {
          CNI_COMMAND: command,
          CNI_CONTAINERID: containerId,
          CNI_NETNS: netns,
          CNI_IFNAME: 'eth0',
          CNI_PATH: this.#path.join(':'),
          CNI_ARGS: [
            'IgnoreUnknown=1',
            `K8S_POD_NAMESPACE=${pod.namespace}`,
            `K8S_POD_NAME=${pod.name}`,
            `K8S_POD_INFRA_CONTAINER_ID=${containerId}`,
            `K8S_POD_UID=${pod.uid}`,
          ].join(';'),
        },
      },
    );
    if (result.code !== 0) throw new NetworkPluginError(plugin.type, command, pluginComplaint(result));
    return result.stdout;
  }
}

/** The chain that the lab gives every node: Debian's bridge and host-local. An agent adds its plugin behind. */
export function defaultNetworkConfig(podCidrs: readonly string[]): string {
  const config = {
    cniVersion: '0.3.1',
    name: 'aura-lab',
    plugins: [
      {
        type: 'bridge',
        bridge: 'cni0',
        isGateway: true,
        isDefaultGateway: true,
        // The pod's own address is what every other pod must see.
        ipMasq: false,
        // A pod that calls its own service gets the packet back on the port it came from.
        hairpinMode: true,
        ipam: {
          type: 'host-local',
          ranges: podCidrs.map((subnet) => [{ subnet }]),
          dataDir: '/run/cni-leases',
        },
      },
    ],
  };
  return `${JSON.stringify(config, null, 2)}\n`;
}
