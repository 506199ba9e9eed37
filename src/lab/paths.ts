// Where a lab keeps its things. Everything follows from AURA_HOME, so that two labs never share a name and a lab
// whose state file is lost can still be found and removed.
import { createHash } from 'node:crypto';
import { realpathSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';

export interface LabPaths {
  /** AURA_HOME, absolute and without links. */
  readonly home: string;
  /** Eight hex digits from `home`. */
  readonly id: string;
  /** Name of the lab's own cgroup, below the cgroup2 mount. */
  readonly cgroup: string;
  /** What was asked for, written before anything is made. */
  readonly config: string;
  /** An empty file that says that the folder is a lab's: without it, nothing in the folder is ever removed. */
  readonly marker: string;
  readonly lock: string;
  /** A shared tmpfs: namespaces, sockets, secrets. Gone with the machine's reboot, as the namespaces are. */
  readonly run: string;
  readonly netnsDir: string;
  readonly switchNetns: string;
  readonly supervisorSocket: string;
  readonly supervisorLog: string;
  readonly apiData: string;
  /** For the user of kubectl, by the relay on 127.0.0.1. */
  readonly kubeconfig: string;
  /** For programs inside the nodes. */
  readonly nodeKubeconfig: string;
  readonly podsDir: string;
}

/** `aura-cluster home`, from AURA_HOME or the user's home. Throws if neither is set. */
export function defaultHome(env: Readonly<Record<string, string | undefined>>): string {
  const set = env['AURA_HOME'];
  if (set !== undefined && set !== '') return resolve(set);
  const home = env['HOME'];
  if (home === undefined || home === '')
    throw new Error('neither AURA_HOME nor HOME is set: set AURA_HOME to a folder for the lab');
  return join(home, '.aura');
}

/** The path without links, as far as it exists. */
function realHome(home: string): string {
  try {
    return realpathSync(home);
  } catch {
    const parent = dirname(home);
    return parent === home ? home : join(realHome(parent), basename(home));
  }
}

export function labPaths(home: string): LabPaths {
  const real = realHome(resolve(home));
  if (real === '/') throw new Error('AURA_HOME=/ would make the whole machine a lab: choose a folder');
  if (/^\/(?:var\/)?run(?:\/|$)/.test(real))
    throw new Error(
      `AURA_HOME=${real} lies below /run, which the lab hides from its nodes: choose another folder`,
    );
  const run = join(real, 'run');
  const socket = join(run, 'supervisor.sock');
  // sun_path has 108 bytes with its final zero.
  if (Buffer.byteLength(socket) > 107)
    throw new Error(`AURA_HOME=${real} is too long for a socket below it: choose a path of at most 80 bytes`);
  const id = createHash('sha256').update(real).digest('hex').slice(0, 8);
  return {
    home: real,
    id,
    cgroup: `aura-${id}`,
    config: join(real, 'lab.json'),
    marker: join(real, '.aura-lab'),
    lock: join(real, 'lock'),
    run,
    netnsDir: join(run, 'ns'),
    switchNetns: join(run, 'ns', 'switch'),
    supervisorSocket: socket,
    supervisorLog: join(real, 'supervisor.log'),
    apiData: join(real, 'api'),
    kubeconfig: join(real, 'kubeconfig'),
    nodeKubeconfig: join(real, 'node.kubeconfig'),
    podsDir: join(real, 'pods'),
  };
}

export interface NodePaths {
  readonly netns: string;
  /** What the node's programs and pods see as /run (and /var/run). */
  readonly run: string;
  /** /etc/cni/net.d, /opt/cni/bin and /var/log of the node. */
  readonly cniConf: string;
  readonly cniBin: string;
  readonly cniState: string;
}

export function nodePaths(paths: LabPaths, node: string): NodePaths {
  const dir = join(paths.run, 'nodes', node);
  return {
    netns: join(paths.netnsDir, node),
    run: join(dir, 'run'),
    cniConf: join(dir, 'cni-conf'),
    cniBin: join(dir, 'cni-bin'),
    cniState: join(dir, 'cni-state'),
  };
}
