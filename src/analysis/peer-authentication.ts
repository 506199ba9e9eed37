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
  const candidates = [
    namespace === rootNamespace
      ? undefined
      : oldest(namespace, (policy) => !none(policy) && selects(policy.selector, podLabels)),
    namespace === rootNamespace ? undefined : oldest(namespace, none),
    oldest(rootNamespace, none),
  ];
  const decisive = candidates.find((policy) => policy !== undefined && policy.mode !== 'UNSET');
  if (decisive === undefined) return { mode: 'PERMISSIVE' };
  const document = model.document('PeerAuthentication', decisive.namespace, decisive.name);
  return { mode: decisive.mode === 'STRICT' ? 'STRICT' : 'PERMISSIVE', ...(document && { document }) };
}
