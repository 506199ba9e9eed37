// Puts a pod's volumes on disk and keeps them current: ConfigMaps and Secrets that change, tokens that end.
// Secrets and tokens lie on the lab's tmpfs, empty folders on disk.
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, relative } from 'node:path';
import type { KubeClient, Pod } from '#/kube/index.ts';
import type { NodePaths } from '../paths.ts';
import type { EnvContext } from './pod-env.ts';
import { ConfigError } from './pod-env.ts';
import { planVolume, type TokenRequest, type VolumePlan } from './volume-plan.ts';

/** Folders of a machine that every node has its own of. */
export function nodeFolder(node: NodePaths, path: string): string {
  const own: readonly (readonly [string, string])[] = [
    ['/var/run', node.run],
    ['/run', node.run],
    ['/etc/cni/net.d', node.cniConf],
    ['/opt/cni/bin', node.cniBin],
    ['/var/lib/cni', node.cniState],
  ];
  for (const [prefix, folder] of own)
    if (path === prefix || path.startsWith(`${prefix}/`)) return join(folder, path.slice(prefix.length));
  return path;
}

interface IssuedToken {
  readonly token: string;
  readonly issuedAt: number;
  readonly expiresAt: number;
}

export class VolumeStore {
  readonly #dirs: { readonly memory: string; readonly disk: string };
  readonly #node: NodePaths;
  readonly #client: KubeClient;
  readonly #tokens = new Map<string, IssuedToken>();

  /** `memory` and `disk`: the pod's own folders. */
  constructor(dirs: { memory: string; disk: string }, node: NodePaths, client: KubeClient) {
    this.#dirs = dirs;
    this.#node = node;
    this.#client = client;
  }

  /**
   * Writes what is missing or has changed. Gives the source folder (or file) of each volume, by name. Throws
   * ConfigError if something that a volume needs is not there.
   */
  async update(pod: Pod, context: EnvContext, now = Date.now()): Promise<Map<string, string>> {
    const sources = new Map<string, string>();
    for (const volume of pod.spec.volumes ?? []) {
      const plan = planVolume(context, volume);
      sources.set(volume.name, await this.#place(pod, volume.name, plan, now));
    }
    return sources;
  }

  async #place(pod: Pod, name: string, plan: VolumePlan, now: number): Promise<string> {
    switch (plan.kind) {
      case 'empty': {
        const dir = join(plan.memory ? this.#dirs.memory : this.#dirs.disk, 'volumes', name);
        mkdirSync(dir, { recursive: true, mode: 0o777 });
        chmodSync(dir, 0o777);
        return dir;
      }
      case 'node':
        return this.#nodePath(name, plan.path, plan.type);
      case 'files': {
        const dir = join(this.#dirs.memory, 'volumes', name);
        mkdirSync(dir, { recursive: true });
        const wanted = new Set<string>();
        for (const file of plan.files) {
          wanted.add(file.path);
          const content =
            'token' in file.content
              ? Buffer.from(await this.#token(pod, `${name}/${file.path}`, file.content.token, now))
              : Buffer.from(file.content);
          writeChanged(join(dir, file.path), content, file.mode);
        }
        for (const path of filesBelow(dir)) if (!wanted.has(path)) rmSync(join(dir, path), { force: true });
        return dir;
      }
    }
  }

  #nodePath(name: string, path: string, type: string): string {
    const at = nodeFolder(this.#node, path);
    let found: 'folder' | 'other' | undefined;
    try {
      found = statSync(at).isDirectory() ? 'folder' : 'other';
    } catch {
      found = undefined;
    }
    if (found === undefined) {
      // Only in the node's own folders: nothing is made on the machine for a pod.
      const own = at !== path;
      if (type === 'FileOrCreate' && own) writeChanged(at, Buffer.alloc(0), 0o644);
      else if (own && (type === 'DirectoryOrCreate' || type === '')) mkdirSync(at, { recursive: true });
      else throw new ConfigError(`volume "${name}": hostPath ${path} does not exist on this machine`);
    } else if (type.startsWith('Directory') && found !== 'folder')
      throw new ConfigError(`volume "${name}": hostPath ${path} is not a directory`);
    return at;
  }

  /** A token is asked for again after 80 % of its life, as a kubelet does. */
  async #token(pod: Pod, key: string, request: TokenRequest, now: number): Promise<string> {
    const known = this.#tokens.get(key);
    if (known !== undefined && now < known.issuedAt + 0.8 * (known.expiresAt - known.issuedAt))
      return known.token;
    const { name, namespace = 'default', uid = '' } = pod.metadata;
    try {
      const issued = await this.#client.createToken(
        namespace,
        pod.spec.serviceAccountName ?? 'default',
        request.audience === undefined ? [] : [request.audience],
        request.expirationSeconds,
        { name, uid },
      );
      this.#tokens.set(key, {
        token: issued.token,
        issuedAt: now,
        expiresAt: Date.parse(issued.expirationTimestamp),
      });
      return issued.token;
    } catch (error) {
      // The old one may still be good for a while: the pod goes on, the next round asks again.
      if (known !== undefined) return known.token;
      throw new ConfigError(
        `no token for service account "${pod.spec.serviceAccountName ?? 'default'}": ${(error as Error).message}`,
      );
    }
  }

  /** Removes everything of the pod. */
  remove(): void {
    rmSync(this.#dirs.memory, { recursive: true, force: true });
    rmSync(join(this.#dirs.disk, 'volumes'), { recursive: true, force: true });
  }
}

function filesBelow(dir: string): string[] {
  return readdirSync(dir, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(dir, join(entry.parentPath, entry.name)));
}

/** By a rename, so that a reader sees the old or the new content; not at all if it is the same. */
function writeChanged(path: string, content: Buffer, mode: number): void {
  try {
    if (readFileSync(path).equals(content)) return;
  } catch {
    mkdirSync(dirname(path), { recursive: true });
  }
  writeFileSync(`${path}.new`, content, { mode });
  chmodSync(`${path}.new`, mode);
  renameSync(`${path}.new`, path);
}
