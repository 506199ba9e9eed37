// Waits until what was applied does its work: Deployments available, DaemonSets ready, pods ready, Jobs done, waypoints
// programmed.
import {
  daemonSets,
  deployments,
  events,
  gateways,
  jobs,
  pods,
  statefulSets,
  type Condition,
  type DynamicObject,
  type KubeClient,
  type Pod,
} from '#/kube/index.ts';
import { isPodReady } from './controllers/object-tools.ts';
import { meshNamespace } from './mesh-manifests.ts';

/** What is still missing of one object; undefined if it is there or nothing that runs. */
async function pendingOf(client: KubeClient, object: DynamicObject): Promise<string | undefined> {
  const { name, namespace } = object.metadata;
  const title = `${object.kind} ${namespace}/${name}`;
  const count = (have: number, wanted: number, current: boolean): string | undefined =>
    current && have >= wanted ? undefined : `${title} (${have}/${wanted} ready)`;
  switch (object.kind) {
    case 'Deployment': {
      const found = await client.get(deployments, namespace, name);
      const { status, spec, metadata } = found;
      const wanted = spec.replicas ?? 1;
      const current =
        status?.observedGeneration === metadata.generation && (status?.updatedReplicas ?? 0) >= wanted;
      return count(status?.availableReplicas ?? 0, wanted, current);
    }
    case 'StatefulSet': {
      const { status, spec } = await client.get(statefulSets, namespace, name);
      return count(status?.readyReplicas ?? 0, spec.replicas ?? 1, true);
    }
    case 'DaemonSet': {
      const { status, metadata } = await client.get(daemonSets, namespace, name);
      const current =
        status?.observedGeneration === metadata.generation &&
        (status?.updatedNumberScheduled ?? 0) >= (status?.desiredNumberScheduled ?? 1);
      return count(
        status?.numberReady ?? 0,
        status?.desiredNumberScheduled ?? 1,
        current && status !== undefined,
      );
    }
    case 'Pod': {
      const pod = await client.get(pods, namespace, name);
      const done = pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed';
      return done || isPodReady(pod) ? undefined : `${title} (${pod.status?.phase ?? 'Pending'})`;
    }
    case 'Job': {
      const { status } = await client.get(jobs, namespace, name);
      return status?.conditions?.some((one) => one.status === 'True') === true
        ? undefined
        : `${title} (running)`;
    }
    case 'Gateway':
      return pendingWaypoint(client, object);
    default:
      return undefined;
  }
}

/** A waypoint is made by the mesh: in a lab without it, nobody would ever do. */
async function pendingWaypoint(client: KubeClient, object: DynamicObject): Promise<string | undefined> {
  const { name, namespace } = object.metadata;
  if ((object['spec'] as { gatewayClassName?: string } | undefined)?.gatewayClassName !== 'istio-waypoint')
    return undefined;
  if ((await client.find(deployments, meshNamespace, 'istiod')) === undefined) return undefined;
  const { status } = (await client.get(gateways, namespace, name)) as {
    status?: { conditions?: readonly Condition[] };
  };
  const programmed = status?.conditions?.find(({ type }) => type === 'Programmed');
  return programmed?.status === 'True'
    ? undefined
    : `Gateway ${namespace}/${name} (${programmed?.message ?? 'not programmed'})`;
}

/** Why a pod is not ready, from its status and its last warning. */
async function explain(client: KubeClient, pod: Pod): Promise<string> {
  const waiting = [...(pod.status?.containerStatuses ?? []), ...(pod.status?.initContainerStatuses ?? [])]
    .map(({ state }) => state?.waiting)
    .find((state) => state?.reason !== undefined && state.reason !== 'ContainerCreating');
  const { items } = await client.list(events, { namespace: pod.metadata.namespace });
  const warning = items
    .filter(({ involvedObject, type }) => involvedObject.uid === pod.metadata.uid && type === 'Warning')
    .sort((a, b) => ((a.lastTimestamp ?? '') < (b.lastTimestamp ?? '') ? -1 : 1))
    .at(-1);
  const why = [
    pod.status?.phase ?? 'Pending',
    ...(waiting === undefined
      ? []
      : [`${waiting.reason}${waiting.message === undefined ? '' : `: ${waiting.message}`}`]),
    ...(warning === undefined ? [] : [`${warning.reason}: ${warning.message}`]),
  ];
  return `pod ${pod.metadata.namespace}/${pod.metadata.name}: ${why.join('; ')}`;
}

/** Resolves when all of them are ready; after the limit throws an Error that says which pods are not, and why. */
export async function waitForWorkloads(
  client: KubeClient,
  objects: readonly DynamicObject[],
  progress: (text: string) => void,
  timeoutMs = 120_000,
): Promise<void> {
  const started = Date.now();
  let said = '';
  let saidAt = started;
  for (;;) {
    const pending = (await Promise.all(objects.map((object) => pendingOf(client, object)))).filter(
      (text) => text !== undefined,
    );
    if (pending.length === 0) return;
    const text = `waiting for ${pending.join(', ')}`;
    const now = Date.now();
    if (now - started > timeoutMs) {
      const namespaces = new Set(objects.map(({ metadata }) => metadata.namespace));
      const bad: string[] = [];
      for (const namespace of namespaces) {
        if (namespace === undefined) continue;
        const { items } = await client.list(pods, { namespace });
        for (const pod of items.filter((one) => !isPodReady(one)).slice(0, 5))
          bad.push(await explain(client, pod));
      }
      throw new Error(
        [`not ready after ${Math.round(timeoutMs / 1000)} s: ${pending.join(', ')}`, ...bad].join('\n'),
      );
    }
    if (text !== said && now - saidAt > 900) {
      progress(text);
      said = text;
      saidAt = now;
    }
    await new Promise((resolve) => setTimeout(resolve, 150));
  }
}
