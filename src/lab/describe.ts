// The lab's status for whoever asks: from its process, or, when that is away, from what lies on disk.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { addressPlan } from './address-plan.ts';
import { cgroupRoot, isPopulated } from './cgroups.ts';
import { storedPods } from './kubelet/kubelet.ts';
import { readLabConfig } from './lab-state.ts';
import { askStatus, type LabStatus } from './lab-status.ts';
import type { LabPaths } from './paths.ts';

export async function describeLab(paths: LabPaths): Promise<LabStatus> {
  const live = await askStatus(paths.supervisorSocket);
  if (live !== undefined) return live;
  const config = readLabConfig(paths);
  const base = { id: paths.id, home: paths.home, kubeconfig: paths.kubeconfig };
  if (config === undefined)
    return {
      ...base,
      phase: 'absent',
      message: `there is no lab in ${paths.home}: 'aura lab up' makes one`,
      mesh: false,
      families: [],
      nodes: [],
      components: [],
      pods: [],
    };
  const cgroup = join(cgroupRoot(), paths.cgroup);
  const plan = addressPlan(config.nodes, config.families);
  return {
    ...base,
    phase: 'stopped',
    message: isPopulated(cgroup)
      ? "the lab's own process does not answer; its pods go on: 'aura lab up' brings it back"
      : "the lab does not run: 'aura lab up' starts it, 'aura lab down' removes it",
    mesh: config.mesh.enabled,
    families: config.families,
    nodes: plan.nodes.map(({ name, ips, podCidrs, controlPlane }) => ({
      name,
      ips,
      podCidrs,
      controlPlane,
      ready: false,
    })),
    components: [],
    pods: existsSync(cgroup)
      ? storedPods(paths.podsDir).map(({ pod }) => ({
          namespace: pod.metadata.namespace ?? '',
          name: pod.metadata.name,
          node: pod.spec.nodeName ?? '',
          phase: pod.status?.phase ?? 'Unknown',
          ready: false,
          restarts: 0,
          ips: (pod.status?.podIPs ?? []).map(({ ip }) => ip),
        }))
      : [],
  };
}
