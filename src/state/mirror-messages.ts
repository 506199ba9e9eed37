// The messages between a mirror's two ends. Plain data, fit for structured clone.
import type { MeshKey, Policy, PolicyKey, Service, ServiceKey, Workload } from '#/model/index.ts';

/** From the view (worker) to the source. */
export interface MirrorRequest {
  /** Answer these, and keep answering: changes follow as deltas. */
  readonly ask: readonly MeshKey[];
  /** No longer of interest. */
  readonly forget: readonly MeshKey[];
}

/** From the source to the view, to be applied as one change. */
export interface MirrorDelta {
  readonly workloads: readonly Workload[];
  readonly services: readonly Service[];
  readonly policies: readonly Policy[];
  /** Gone from the mesh, or no longer of interest to this view: for the view there is no difference. */
  readonly removedWorkloads: readonly string[];
  readonly removedServices: readonly ServiceKey[];
  readonly removedPolicies: readonly PolicyKey[];
  /** Names that services have, and names that none has any more. Only to a view that is to know them all. */
  readonly hostnames: readonly string[];
  readonly removedHostnames: readonly string[];
  /** Keys that are answered in full from here on. */
  readonly known: readonly MeshKey[];
}
