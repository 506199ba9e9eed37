// What the parts of one node's kubelet share.
import type { Logger } from '#/kit/index.ts';
import type { ConfigMap, KubeClient, Pod, Secret, ServiceAccount } from '#/kube/index.ts';
import type { Kernel, Netns } from '#/sys/index.ts';
import { join } from 'node:path';
import type { AddressPlan, NodePlan } from '../address-plan.ts';
import { nodePaths, type LabPaths, type NodePaths } from '../paths.ts';
import type { NetworkPlugins } from '../runtime/network-plugins.ts';
import type { SandboxPlan } from '../runtime/sandbox.ts';
import type { EventRecorder } from './event-recorder.ts';
import type { EnvContext } from './pod-env.ts';
import { podHostname } from './pod-files.ts';

export interface KubeletContext {
  readonly paths: LabPaths;
  readonly plan: AddressPlan;
  readonly node: NodePlan;
  /** The lab's own cgroup, absolute. */
  readonly labCgroup: string;
  readonly client: KubeClient;
  readonly kernel: Kernel;
  /** The node's namespace, open. */
  readonly netns: Netns;
  readonly plugins: NetworkPlugins;
  readonly events: EventRecorder;
  readonly log: Logger;
  /** Path of the `aura` command, for images of ours. */
  readonly aura: string;
  readonly capacity: { readonly cpu: number; readonly memory: number };
  configMap(namespace: string, name: string): ConfigMap | undefined;
  secret(namespace: string, name: string): Secret | undefined;
  serviceAccount(namespace: string, name: string): ServiceAccount | undefined;
}

/** Everything of a pod has its place by its UID. */
export interface PodPlaces {
  readonly node: NodePaths;
  /** On disk: state and logs. */
  readonly dir: string;
  /** On the lab's tmpfs: files of the pod, secrets. */
  readonly memory: string;
  readonly cgroup: string;
  readonly sandbox: SandboxPlan;
}

export function podPlaces(context: KubeletContext, pod: Pod): PodPlaces {
  const { paths, node, labCgroup } = context;
  const { name, namespace = 'default', uid = '' } = pod.metadata;
  const dir = join(paths.podsDir, uid);
  const cgroup = join(labCgroup, node.name, 'kubepods', 'besteffort', `pod${uid}`);
  return {
    node: nodePaths(paths, node.name),
    dir,
    memory: join(paths.run, 'pods', uid),
    cgroup,
    sandbox: {
      pod: { namespace, name, uid },
      netns: join(paths.netnsDir, `pod-${uid}`),
      record: join(dir, 'sandbox.json'),
      cgroup,
      hostname: podHostname(pod),
    },
  };
}

export function envContext(context: KubeletContext, pod: Pod, podIps: readonly string[]): EnvContext {
  const namespace = pod.metadata.namespace ?? 'default';
  return {
    pod,
    podIps,
    hostIps: context.node.ips,
    capacity: context.capacity,
    configMap: (name) => context.configMap(namespace, name),
    secret: (name) => context.secret(namespace, name),
  };
}
