// Finds pods and their containers by what lies on the lab's disk: works without the API, and without the lab's
// process.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Pod } from '#/kube/index.ts';
import { cgroupRoot } from './cgroups.ts';
import { controllerOf } from './controllers/object-tools.ts';
import { storedPods, type StoredPod } from './kubelet/kubelet.ts';
import { runDirs } from './kubelet/container-runner.ts';
import type { LabPaths } from './paths.ts';
import { inspectRun } from './runtime/container-process.ts';
import type { ExecTarget } from './runtime/exec.ts';

/** Does the pod belong to `deploy/NAME`, `ds/NAME` and so on? */
function belongsTo(pod: Pod, kind: string, name: string): boolean {
  const owner = controllerOf(pod);
  if (owner === undefined) return false;
  switch (kind) {
    case 'deploy':
    case 'deployment':
    case 'deployments': {
      const hash = pod.metadata.labels?.['pod-template-hash'];
      return owner.kind === 'ReplicaSet' && hash !== undefined && owner.name === `${name}-${hash}`;
    }
    case 'ds':
    case 'daemonset':
    case 'daemonsets':
      return owner.kind === 'DaemonSet' && owner.name === name;
    case 'sts':
    case 'statefulset':
    case 'statefulsets':
      return owner.kind === 'StatefulSet' && owner.name === name;
    case 'job':
    case 'jobs':
      return owner.kind === 'Job' && owner.name === name;
    default:
      throw new Error(`"${kind}/${name}": use POD, deploy/NAME, ds/NAME, sts/NAME or job/NAME`);
  }
}

/** Pods of a namespace that `target` (POD, pod/POD or KIND/NAME) means. Throws an Error if there is none. */
export function findPods(paths: LabPaths, namespace: string, target: string, node?: string): StoredPod[] {
  const slash = target.indexOf('/');
  const kind = slash < 0 ? 'pod' : target.slice(0, slash);
  const name = target.slice(slash + 1);
  const known = storedPods(paths.podsDir).filter(({ pod }) => pod.metadata.namespace === namespace);
  const found = known.filter(
    ({ pod }) =>
      (kind === 'pod' || kind === 'pods' || kind === 'po'
        ? pod.metadata.name === name
        : belongsTo(pod, kind, name)) &&
      (node === undefined || pod.spec.nodeName === node),
  );
  if (found.length === 0) {
    const there = known.map(({ pod }) => pod.metadata.name).sort();
    throw new Error(
      `no pod for "${target}" in namespace ${namespace}${node === undefined ? '' : ` on node ${node}`}` +
        (there.length === 0 ? ': it has no pods' : `: it has ${there.slice(0, 10).join(', ')}`),
    );
  }
  return found;
}

export interface FoundContainer {
  readonly name: string;
  /** Folder of the newest run; undefined if it was never started. */
  readonly runDir: string | undefined;
  /** Set while it runs. */
  readonly target: ExecTarget | undefined;
}

/** The container of that name, or the first one. Throws an Error that names those there are. */
export function findContainer(paths: LabPaths, { pod, dir }: StoredPod, name?: string): FoundContainer {
  const specs = [...pod.spec.containers, ...(pod.spec.initContainers ?? [])];
  const spec = name === undefined ? pod.spec.containers[0] : specs.find((one) => one.name === name);
  if (spec === undefined)
    throw new Error(
      `pod ${pod.metadata.namespace}/${pod.metadata.name} has no container "${name}", it has ${specs.map((one) => one.name).join(', ')}`,
    );
  const folder = join(dir, 'containers', spec.name);
  const newest = runDirs(folder).at(-1);
  if (newest === undefined) return { name: spec.name, runDir: undefined, target: undefined };
  const cgroup = join(
    cgroupRoot(),
    paths.cgroup,
    pod.spec.nodeName ?? '',
    'kubepods',
    'besteffort',
    `pod${pod.metadata.uid}`,
    spec.name,
  );
  const runDir = join(folder, String(newest));
  const state = inspectRun(runDir, cgroup);
  return {
    name: spec.name,
    runDir,
    target: state.kind === 'running' ? { pid: state.pid, cgroup } : undefined,
  };
}

/** The pod of `found` to use when several would do: one that runs. */
export function firstRunning(
  paths: LabPaths,
  found: readonly StoredPod[],
  container?: string,
): { readonly stored: StoredPod; readonly container: FoundContainer } {
  const all = found.map((stored) => ({ stored, container: findContainer(paths, stored, container) }));
  return (all.find((one) => one.container.target !== undefined) ?? all[0]) as (typeof all)[number];
}

/** A log and what was rotated out of it, oldest first; those that exist. */
export function logFiles(dir: string, name: string): string[] {
  return [`${name}.1`, name].map((file) => join(dir, file)).filter((file) => existsSync(file));
}

/** Folders of a container's runs, oldest first. */
export const runFolders = (dir: string): string[] => runDirs(dir).map((run) => join(dir, String(run)));
