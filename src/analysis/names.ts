// Labels and annotations that say whether a pod belongs to the mesh, and who decides it.
import type { SourceObject } from '#/translate/index.ts';

export const dataplaneLabel = 'istio.io/dataplane-mode';

export const annotations = {
  redirection: 'ambient.istio.io/redirection',
  sidecarStatus: 'sidecar.istio.io/status',
} as const;

/** Whether the node agent takes a pod into the mesh, and why. */
export type Eligibility =
  | { readonly enabled: true; readonly by: 'pod' | 'namespace' }
  | { readonly enabled: false; readonly reason: string };

/** The node agent's own rule. It is handed in: the agent lives on a higher floor. */
export type Enrolment = (pod: SourceObject, namespaceLabels: Readonly<Record<string, string>>) => Eligibility;
