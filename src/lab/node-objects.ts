// The Node objects of the lab: what a kubelet registers about the machine it runs on.
import { arch, cpus, release, totalmem } from 'node:os';
import { canonicalJson } from './controllers/object-tools.ts';
import { nodes, type KubeClient, type Node } from '#/kube/index.ts';
import { kubeletPort, type AddressPlan, type NodePlan } from './address-plan.ts';
import { controlPlaneTaint } from './controllers/scheduling.ts';
import { isoSeconds } from './kubelet/pod-status.ts';

/** Shown by kubectl; the API that the lab speaks. */
const kubeletVersion = 'v1.36.0+aura';
const goArch: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };

export const machineCapacity = (): { cpu: number; memory: number } => ({
  cpu: cpus().length,
  memory: totalmem(),
});

export function nodeObject(plan: AddressPlan, node: NodePlan, now: number, old?: Node): Node {
  const capacity = machineCapacity();
  const sizes = {
    cpu: String(capacity.cpu),
    memory: `${Math.floor(capacity.memory / 1024)}Ki`,
    pods: '110',
  };
  const ready = old?.status?.conditions?.find(({ type }) => type === 'Ready');
  const architecture = goArch[arch()] ?? arch();
  return {
    metadata: {
      name: node.name,
      labels: {
        'kubernetes.io/hostname': node.name,
        'kubernetes.io/os': 'linux',
        'kubernetes.io/arch': architecture,
        ...(node.controlPlane ? { 'node-role.kubernetes.io/control-plane': '' } : {}),
      },
    },
    spec: {
      podCIDR: node.podCidrs[0] as string,
      podCIDRs: node.podCidrs,
      providerID: `aura://lab/${node.name}`,
      // A lab of one node runs everything on it.
      ...(node.controlPlane && plan.nodes.length > 1 ? { taints: [controlPlaneTaint] } : {}),
    },
    status: {
      addresses: [
        ...node.ips.map((address) => ({ type: 'InternalIP', address })),
        { type: 'Hostname', address: node.name },
      ],
      capacity: sizes,
      allocatable: sizes,
      conditions: [
        {
          type: 'Ready',
          status: 'True',
          reason: 'KubeletReady',
          message: 'the lab runs this node',
          lastHeartbeatTime: isoSeconds(now),
          lastTransitionTime:
            (ready?.status === 'True' ? ready.lastTransitionTime : undefined) ?? isoSeconds(now),
        },
      ],
      daemonEndpoints: { kubeletEndpoint: { Port: kubeletPort } },
      nodeInfo: {
        architecture,
        operatingSystem: 'linux',
        osImage: 'this machine',
        kernelVersion: release(),
        kubeletVersion,
        kubeProxyVersion: '',
        containerRuntimeVersion: 'aura://0.1.0',
        machineID: node.name,
        systemUUID: node.name,
        bootID: node.name,
      },
    },
  };
}

/** Creates or corrects the object; labels and taints that a user added stay. */
export async function registerNode(client: KubeClient, plan: AddressPlan, node: NodePlan): Promise<void> {
  const old = await client.find(nodes, undefined, node.name);
  const wanted = nodeObject(plan, node, Date.now(), old);
  const { status, ...rest } = wanted;
  const made = old ?? (await client.ensure(nodes, undefined, rest));
  const labels = { ...made.metadata.labels, ...wanted.metadata.labels };
  if (canonicalJson(labels) !== canonicalJson(made.metadata.labels))
    await client.patch(nodes, undefined, node.name, { metadata: { labels } }, 'merge');
  await client.patch(nodes, undefined, node.name, { status }, 'merge', { subresource: 'status' });
}
