// The endpoints of a subset. Which they are is told by the control plane, since records of workloads carry no labels.
import type { SubsetMembers } from '#/model/index.ts';

/** Whether an endpoint is in the subset. Members that are not known (yet) make an empty subset: no traffic goes astray. */
export function subsetFilter(members: SubsetMembers | undefined): (uid: string) => boolean {
  if (members === undefined) return () => false;
  const uids = new Set(members.workloads);
  return (uid) => uids.has(uid);
}
