// Who owns a host name that several Services and ServiceEntries claim, and how a ServiceEntry's ports map.
import type { PortMapping } from '#/model/index.ts';
import type { Lookup } from './lookup.ts';
import { byAge } from './object.ts';
import type { Labels } from './read.ts';
import { matchesSelector } from './selector.ts';
import type { ServiceEntryFacts } from './service-entry.ts';

export type Visibility = 'PUBLIC' | 'NAMESPACE' | 'NONE';

/** MeshConfig.serviceEntryVisibility: the first policy that selects the namespace; PUBLIC if none does. */
export function visibilityOf(lookup: Lookup, namespace: string): Visibility {
  const policies = lookup.mesh.serviceEntryVisibility;
  if (policies === undefined) return 'PUBLIC';
  const labels: Labels = lookup.namespace(namespace)?.labels ?? {};
  const policy = policies.find(
    ({ namespaceSelector }) => namespaceSelector === undefined || matchesSelector(namespaceSelector, labels),
  );
  return policy?.visibility ?? 'PUBLIC';
}

/** Per namespace one winner: a Kubernetes Service, else the oldest ServiceEntry. */
function winners(lookup: Lookup, host: string): ReadonlyMap<string, ServiceEntryFacts> {
  const best = new Map<string, ServiceEntryFacts>();
  const taken = new Set(
    lookup
      .servicesByHostname(host)
      .filter((service) => !service.external)
      .map((service) => service.namespace),
  );
  for (const entry of lookup.serviceEntriesByHostname(host)) {
    if (taken.has(entry.namespace) || visibilityOf(lookup, entry.namespace) === 'NONE') continue;
    const other = best.get(entry.namespace);
    if (other === undefined || byAge(entry, other) < 0) best.set(entry.namespace, entry);
  }
  return best;
}

/** The hosts of this entry that no Service and no older entry of its namespace claims. */
export function ownedHosts(entry: ServiceEntryFacts, lookup: Lookup): readonly string[] {
  return [...new Set(entry.hosts)].filter(
    (host) => winners(lookup, host).get(entry.namespace)?.name === entry.name,
  );
}

/** True if the whole mesh takes this entry as the one meaning of the name. */
export function isCanonical(entry: ServiceEntryFacts, host: string, lookup: Lookup): boolean {
  if (lookup.servicesByHostname(host).some((service) => !service.external)) return false;
  const oldest = [...winners(lookup, host).values()]
    .filter((candidate) => visibilityOf(lookup, candidate.namespace) === 'PUBLIC')
    .sort(byAge)[0];
  return oldest?.namespace === entry.namespace && oldest.name === entry.name;
}

/** Ports of the entry on a pod: a container port of the same name wins over the entry's target. */
export function entryPortsForPod(
  entry: ServiceEntryFacts,
  named: Readonly<Record<string, number>>,
): readonly PortMapping[] {
  return entry.ports.map((port) => ({
    servicePort: port.number,
    targetPort: (port.name === '' ? undefined : named[port.name]) ?? port.targetPort,
  }));
}
