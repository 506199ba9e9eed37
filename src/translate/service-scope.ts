// Which services the proxies of other clusters may use.
import type { Lookup } from './lookup.ts';
import { label } from './names.ts';
import type { Labels } from './read.ts';
import { matchesSelector, type LabelSelector } from './selector.ts';

const matches = (selector: LabelSelector | undefined, labels: () => Labels): boolean =>
  selector === undefined || matchesSelector(selector, labels());

/** True if the service is for all clusters. Always false where networks are not told apart. */
export function isGlobal(
  lookup: Lookup,
  service: { readonly namespace: string; readonly labels: Labels },
): boolean {
  const { multiNetwork, serviceScopes } = lookup.mesh;
  if (!multiNetwork) return false;
  if (serviceScopes === undefined) return service.labels[label.global] === 'true';
  const own = () => service.labels;
  const namespace = () => lookup.namespace(service.namespace)?.labels ?? {};
  const found = serviceScopes.find(
    ({ servicesSelector, namespaceSelector }) =>
      matches(servicesSelector, own) && matches(namespaceSelector, namespace),
  );
  return found?.scope === 'GLOBAL';
}
