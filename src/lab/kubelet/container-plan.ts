// From a container's specification to what its start script needs. Throws ConfigError where something is missing
// that may come later, and ImageError where only a new specification helps.
import { statSync, writeFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Container, Pod } from '#/kube/index.ts';
import { clusterDomain } from '../address-plan.ts';
import type { BindMount, StartPlan } from '../runtime/start-script.ts';
import { containerCommand } from './images.ts';
import { envContext, podPlaces, type KubeletContext } from './kubelet-context.ts';
import { ConfigError, containerEnv, expand } from './pod-env.ts';
import { hostsFile, podHostname, resolvConf } from './pod-files.ts';

/** The pod gives no command and its image is none of ours. */
export class ImageError extends Error {
  override readonly name = 'ImageError';
}

/** Variables that every container of a cluster has, to find the API. */
export function clusterEnv(apiServiceIp: string): Record<string, string> {
  const host = apiServiceIp.includes(':') ? `[${apiServiceIp}]` : apiServiceIp;
  return {
    KUBERNETES_SERVICE_HOST: apiServiceIp,
    KUBERNETES_SERVICE_PORT: '443',
    KUBERNETES_SERVICE_PORT_HTTPS: '443',
    KUBERNETES_PORT: `tcp://${host}:443`,
  };
}

/** Writes the pod's resolv.conf, hosts and hostname; gives their mounts. */
export function writePodFiles(context: KubeletContext, pod: Pod, podIps: readonly string[]): BindMount[] {
  const dir = join(podPlaces(context, pod).memory, 'etc');
  mkdirSync(dir, { recursive: true });
  const dns = { servers: context.plan.dnsServiceIps.slice(0, 1), clusterDomain };
  const files: readonly (readonly [string, string])[] = [
    ['resolv.conf', resolvConf(pod, dns)],
    ['hosts', hostsFile(pod, podIps, clusterDomain)],
    ['hostname', `${podHostname(pod)}\n`],
  ];
  return files.map(([name, text]) => {
    writeFileSync(join(dir, name), text);
    return { source: join(dir, name), target: `/etc/${name}`, kind: 'file', readOnly: false };
  });
}

interface SubPathMount {
  readonly subPath?: string;
}

function volumeMounts(container: Container, sources: ReadonlyMap<string, string>): BindMount[] {
  return (container.volumeMounts ?? []).map((mount) => {
    const base = sources.get(mount.name);
    if (base === undefined)
      throw new ConfigError(
        `container "${container.name}" mounts volume "${mount.name}", which the pod lacks`,
      );
    const { subPath = '' } = mount as SubPathMount;
    if (subPath.startsWith('/') || subPath.split('/').includes('..'))
      throw new ConfigError(`container "${container.name}": subPath "${subPath}" leads out of its volume`);
    const source = join(base, subPath);
    let folder = true;
    try {
      folder = statSync(source).isDirectory();
    } catch {
      mkdirSync(source, { recursive: true });
    }
    if (!mount.mountPath.startsWith('/') || mount.mountPath.includes(':'))
      throw new ConfigError(`container "${container.name}": mountPath "${mount.mountPath}" must be absolute`);
    return {
      source,
      target: mount.mountPath.replace(/\/+$/, ''),
      kind: folder ? 'folder' : 'file',
      readOnly: mount.readOnly === true,
    };
  });
}

export function planContainer(
  context: KubeletContext,
  pod: Pod,
  container: Container,
  podIps: readonly string[],
  sources: ReadonlyMap<string, string>,
): Omit<StartPlan, 'dir' | 'cgroup'> {
  const places = podPlaces(context, pod);
  const words = containerCommand(container, context.aura);
  if (words === undefined)
    throw new ImageError(
      `image "${container.image ?? ''}" is not one of the lab's: give a command, which is run from this machine's own files`,
    );
  const env = containerEnv(
    envContext(context, pod, podIps),
    container,
    clusterEnv(context.plan.apiServiceIps[0] as string),
  );
  const { name, namespace } = pod.metadata;
  return {
    title: `${namespace}/${name}/${container.name}`,
    netns: pod.spec.hostNetwork === true ? places.node.netns : places.sandbox.netns,
    hostname: podHostname(pod),
    rootDir: join(places.memory, 'root', container.name),
    argv: words.map((word) => expand(word, env)),
    env,
    workingDir: container.workingDir ?? '/',
    mounts: [...writePodFiles(context, pod, podIps), ...volumeMounts(container, sources)],
  };
}
