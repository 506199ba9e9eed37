// The hostnames that a pod may mean by a name, most likely first. A resolver in a pod completes short names by search
// domains before it asks, and the proxy does not see the pod's resolv.conf: both are undone and done again here.

export interface Spelling {
  /** The hostname of a service, perhaps with a wildcard for its first label. */
  readonly hostname: string;
  readonly wildcard: boolean;
  /** What was left when a search domain was cut off the name. */
  readonly stripped?: string;
}

/**
 * Each hostname once: the name itself; what Kubernetes would complete it to; then the same for what is left without
 * each search domain that pods have by default. After each, its wildcards, from the longest to the shortest.
 * `domain`: the cluster's, such as `cluster.local`.
 */
export function spellingsOf(name: string, namespace: string, domain: string): Spelling[] {
  const found = new Map<string, Spelling>();
  const serviceDomain = `svc.${domain}`;
  const ownDomain = `${namespace}.${serviceDomain}`;
  const add = (alias: string, stripped?: string): void => {
    const rest = stripped === undefined ? {} : { stripped };
    if (found.has(alias)) return;
    found.set(alias, { hostname: alias, wildcard: false, ...rest });
    for (const hostname of wildcardsOf(alias))
      if (!found.has(hostname)) found.set(hostname, { hostname, wildcard: true, ...rest });
  };
  const addAll = (alias: string, stripped?: string): void => {
    add(alias, stripped);
    for (const completed of completions(alias, domain, serviceDomain, ownDomain)) add(completed, stripped);
  };
  if (name === '') return [];
  addAll(name);
  for (const search of [ownDomain, serviceDomain, domain]) {
    if (!name.endsWith(`.${search}`)) continue;
    const stripped = name.slice(0, -search.length - 1);
    addAll(stripped, stripped);
  }
  return [...found.values()];
}

/** `web`, `web.ns`, `web.ns.svc`; also of a pod's own name before them, which a service's hostname may look like. */
function completions(name: string, domain: string, serviceDomain: string, ownDomain: string): string[] {
  const labels = name.split('.');
  const endsInSvc = labels.at(-1) === 'svc';
  switch (labels.length) {
    case 1:
      return [`${name}.${ownDomain}`];
    case 2:
      return [`${name}.${serviceDomain}`, `${name}.${ownDomain}`];
    case 3:
      return [...(endsInSvc ? [`${name}.${domain}`] : []), `${name}.${serviceDomain}`];
    case 4:
      return endsInSvc ? [`${name}.${domain}`] : [];
    default:
      return [];
  }
}

/** `*.b.c` and `*.c` of `a.b.c`: there is none for a single label. */
function wildcardsOf(hostname: string): string[] {
  const labels = hostname.split('.');
  return labels.slice(1).map((_, index) => `*.${labels.slice(index + 1).join('.')}`);
}
