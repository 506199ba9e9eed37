// A pod's volumes as data: which files with which content, which empty folders, which folders of the node. Pure;
// tokens are named, not made.
import type { Pod } from '#/kube/index.ts';
import { ConfigError, podField, type EnvContext } from './pod-env.ts';

export interface TokenRequest {
  readonly audience: string | undefined;
  readonly expirationSeconds: number;
}

export interface VolumeFile {
  readonly path: string;
  readonly mode: number;
  readonly content: Uint8Array | { readonly token: TokenRequest };
}

export type VolumePlan =
  | { readonly kind: 'files'; readonly files: readonly VolumeFile[] }
  | { readonly kind: 'empty'; readonly memory: boolean }
  | { readonly kind: 'node'; readonly path: string; readonly type: string };

interface KeyToPath {
  readonly key: string;
  readonly path: string;
  readonly mode?: number;
}

interface ConfigSource {
  readonly name?: string;
  readonly secretName?: string;
  readonly items?: readonly KeyToPath[];
  readonly optional?: boolean;
  readonly defaultMode?: number;
}

interface DownwardItem {
  readonly path: string;
  readonly fieldRef?: { readonly fieldPath: string };
  readonly mode?: number;
}

interface ProjectedSource {
  readonly configMap?: ConfigSource;
  readonly secret?: ConfigSource;
  readonly downwardAPI?: { readonly items?: readonly DownwardItem[] };
  readonly serviceAccountToken?: {
    readonly audience?: string;
    readonly expirationSeconds?: number;
    readonly path: string;
  };
}

interface Volume {
  readonly name: string;
  readonly emptyDir?: { readonly medium?: string } | null;
  readonly hostPath?: { readonly path: string; readonly type?: string };
  readonly configMap?: ConfigSource;
  readonly secret?: ConfigSource;
  readonly downwardAPI?: { readonly items?: readonly DownwardItem[]; readonly defaultMode?: number };
  readonly projected?: { readonly sources?: readonly ProjectedSource[]; readonly defaultMode?: number };
}

export const accountDir = '/var/run/secrets/kubernetes.io/serviceaccount';

/** The volume that admission adds to a pod; the lab adds it to a pod that lacks it. */
export const accountVolume: Volume = {
  name: 'kube-api-access',
  projected: {
    sources: [
      { serviceAccountToken: { expirationSeconds: 3607, path: 'token' } },
      { configMap: { name: 'kube-root-ca.crt', items: [{ key: 'ca.crt', path: 'ca.crt' }] } },
      { downwardAPI: { items: [{ path: 'namespace', fieldRef: { fieldPath: 'metadata.namespace' } }] } },
    ],
  },
};

/** A path inside a volume: relative, and not out of it. */
function checkPath(volume: string, path: string): string {
  if (path === '' || path.startsWith('/') || path.split('/').includes('..'))
    throw new ConfigError(`volume "${volume}": path "${path}" must be relative and must not contain ".."`);
  return path;
}

function fromSource(
  context: EnvContext,
  volume: string,
  kind: 'configmap' | 'secret',
  source: ConfigSource,
  defaultMode: number,
): VolumeFile[] {
  const name = source.name ?? source.secretName ?? '';
  const object = kind === 'configmap' ? context.configMap(name) : context.secret(name);
  if (object === undefined) {
    if (source.optional === true) return [];
    throw new ConfigError(`volume "${volume}": ${kind} "${name}" not found`);
  }
  const contents = new Map<string, Buffer>();
  for (const [key, value] of Object.entries(object.data ?? {}))
    contents.set(key, Buffer.from(value, kind === 'configmap' ? 'utf8' : 'base64'));
  if ('binaryData' in object)
    for (const [key, value] of Object.entries(object.binaryData ?? {}))
      contents.set(key, Buffer.from(value, 'base64'));
  const mode = source.defaultMode ?? defaultMode;
  const items = source.items ?? [...contents.keys()].map((key): KeyToPath => ({ key, path: key }));
  return items.flatMap((item) => {
    const content = contents.get(item.key);
    if (content === undefined) {
      if (source.optional === true) return [];
      throw new ConfigError(`volume "${volume}": ${kind} "${name}" has no key "${item.key}"`);
    }
    return [{ path: checkPath(volume, item.path), mode: item.mode ?? mode, content }];
  });
}

function fromDownward(
  context: EnvContext,
  volume: string,
  items: readonly DownwardItem[],
  mode: number,
): VolumeFile[] {
  return items.map((item) => ({
    path: checkPath(volume, item.path),
    mode: item.mode ?? mode,
    content: Buffer.from(
      item.fieldRef === undefined ? '' : podField(context, item.fieldRef.fieldPath),
      'utf8',
    ),
  }));
}

/** Throws ConfigError if a source is missing or the kind is not one of the lab's. */
export function planVolume(context: EnvContext, raw: Readonly<Record<string, unknown>>): VolumePlan {
  const volume = raw as unknown as Volume;
  if (volume.hostPath !== undefined)
    return { kind: 'node', path: volume.hostPath.path, type: volume.hostPath.type ?? '' };
  if (volume.configMap !== undefined)
    return {
      kind: 'files',
      files: fromSource(context, volume.name, 'configmap', volume.configMap, 0o644),
    };
  if (volume.secret !== undefined)
    return { kind: 'files', files: fromSource(context, volume.name, 'secret', volume.secret, 0o644) };
  if (volume.downwardAPI !== undefined)
    return {
      kind: 'files',
      files: fromDownward(
        context,
        volume.name,
        volume.downwardAPI.items ?? [],
        volume.downwardAPI.defaultMode ?? 0o644,
      ),
    };
  if (volume.projected !== undefined) {
    const mode = volume.projected.defaultMode ?? 0o644;
    const files = (volume.projected.sources ?? []).flatMap((source): VolumeFile[] => {
      const { serviceAccountToken: token } = source;
      if (source.configMap !== undefined)
        return fromSource(context, volume.name, 'configmap', source.configMap, mode);
      if (source.secret !== undefined) return fromSource(context, volume.name, 'secret', source.secret, mode);
      if (source.downwardAPI !== undefined)
        return fromDownward(context, volume.name, source.downwardAPI.items ?? [], mode);
      if (token !== undefined)
        return [
          {
            path: checkPath(volume.name, token.path),
            mode: 0o600,
            content: {
              token: { audience: token.audience, expirationSeconds: token.expirationSeconds ?? 3600 },
            },
          },
        ];
      throw new ConfigError(
        `volume "${volume.name}": the lab does not know this projected source: ${Object.keys(source).join(', ')}`,
      );
    });
    return { kind: 'files', files };
  }
  if ('emptyDir' in volume) return { kind: 'empty', memory: volume.emptyDir?.medium === 'Memory' };
  const kinds = Object.keys(raw).filter((key) => key !== 'name');
  throw new ConfigError(
    `volume "${volume.name}": the lab does not have ${kinds.join(', ') || 'volumes without a source'}: ` +
      'use emptyDir, hostPath, configMap, secret, projected or downwardAPI',
  );
}

/** The volumes and mounts of a pod, with the service account's files if nothing else brings them. */
export function withAccountVolume(pod: Pod, automount: boolean): Pod {
  const wanted = (pod.spec.automountServiceAccountToken ?? automount) === true;
  if (!wanted) return pod;
  const add = <T extends Pod['spec']['containers'][number]>(container: T): T =>
    (container.volumeMounts ?? []).some(({ mountPath }) => mountPath === accountDir)
      ? container
      : {
          ...container,
          volumeMounts: [
            ...(container.volumeMounts ?? []),
            { name: accountVolume.name, mountPath: accountDir, readOnly: true },
          ],
        };
  const containers = pod.spec.containers.map(add);
  const initContainers = pod.spec.initContainers?.map(add);
  const used = [...containers, ...(initContainers ?? [])].some((container) =>
    container.volumeMounts?.some(({ name }) => name === accountVolume.name),
  );
  const volumes = pod.spec.volumes ?? [];
  return {
    ...pod,
    spec: {
      ...pod.spec,
      containers,
      ...(initContainers === undefined ? {} : { initContainers }),
      volumes:
        used && volumes.every(({ name }) => name !== accountVolume.name)
          ? [...volumes, accountVolume as unknown as (typeof volumes)[number]]
          : volumes,
    },
  };
}
