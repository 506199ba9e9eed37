// The workloads of a subset: records of workloads carry no labels, so waypoints are told their names.
import type { Lookup } from '../lookup.ts';
import type { Labels } from '../read.ts';
import { isEmpty, selects } from '../selector.ts';
import { podUid } from '../pod.ts';
import type { ServiceView } from './bindings.ts';

/** Sorted uids. */
export function subsetMembers(view: ServiceView, labels: Labels, lookup: Lookup): readonly string[] {
  const { mesh } = lookup;
  const found = new Set<string>();
  const add = (selector: Labels, pods: boolean, entries: boolean): void => {
    if (isEmpty(selector)) return;
    const wanted = { ...selector, ...labels };
    // A subset that asks for another value than the service's selector has no members.
    if (!selects(selector, wanted)) return;
    if (pods)
      for (const pod of lookup.podsWith(view.namespace, wanted))
        found.add(podUid(mesh.clusterId, pod.namespace, pod.name));
    if (entries)
      for (const entry of lookup.workloadEntriesWith(view.namespace, wanted))
        found.add(`${mesh.clusterId}/networking.istio.io/WorkloadEntry/${entry.namespace}/${entry.name}`);
  };
  if (view.service !== undefined) add(view.service.selector, true, mesh.servicesSelectWorkloadEntries);
  if (view.entry !== undefined) {
    if (view.entry.selector !== undefined) add(view.entry.selector, mesh.serviceEntriesSelectPods, true);
    for (const endpoint of view.entry.endpoints)
      if (selects(labels, endpoint.labels))
        found.add(
          `${mesh.clusterId}/networking.istio.io/ServiceEntry/${view.namespace}/${view.entry.name}/${endpoint.address}`,
        );
  }
  return [...found].sort();
}
