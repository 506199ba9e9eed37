// Which PeerAuthentication decides for a workload. The mode itself is what the workload's record lists; this finds
// the object to name, in the order in which they are asked: selector, namespace, mesh; the oldest of each.
import type { Workload } from '#/model/index.ts';
import { byAge, selects, type PeerAuthenticationFacts } from '#/translate/index.ts';
import type { SourceDocument } from './document.ts';
import { labels, type Labels } from './fields.ts';
import type { MeshModel } from './mesh-model.ts';

export interface EffectiveMode {
  readonly mode: 'STRICT' | 'PERMISSIVE';
  /** The object that says so; none if the default holds. */
  readonly document?: SourceDocument;
  /** Ports with the other mode. */
  readonly exceptions: readonly number[];
}

export function effectivePeerAuthentication(model: MeshModel, workload: Workload): EffectiveMode {
  const pod = model.podOf(workload);
  return modeOf(model, workload.namespace, pod === undefined ? {} : labels(pod.object, 'metadata', 'labels'));
}

export function modeOf(model: MeshModel, namespace: string, podLabels: Labels): EffectiveMode {
  const { rootNamespace } = model.settings;
  const none = (policy: PeerAuthenticationFacts): boolean => Object.keys(policy.selector).length === 0;
  const oldest = (where: string, applies: (policy: PeerAuthenticationFacts) => boolean) =>
    model.lookup.peerAuthentications(where).filter(applies).sort(byAge)[0];
  const selecting =
    namespace === rootNamespace
      ? undefined
      : oldest(namespace, (policy) => !none(policy) && selects(policy.selector, podLabels));
  const candidates = [
    selecting,
    namespace === rootNamespace ? undefined : oldest(namespace, none),
    oldest(rootNamespace, none),
  ];
  const decisive = candidates.find((policy) => policy !== undefined && policy.mode !== 'UNSET');
  const mode = decisive?.mode === 'STRICT' ? 'STRICT' : 'PERMISSIVE';
  const exceptions = (mode === 'STRICT' ? selecting?.permissivePorts : selecting?.strictPorts) ?? [];
  const named = decisive ?? (exceptions.length > 0 ? selecting : undefined);
  const document =
    named === undefined ? undefined : model.document('PeerAuthentication', named.namespace, named.name);
  return { mode, exceptions, ...(document && { document }) };
}
