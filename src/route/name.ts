// Which addresses a name stands for, as the pod that asks may see it.
import { isV6, type Ip } from '#/kit/index.ts';
import {
  nameKey,
  serviceKey,
  virtualAddresses,
  type NameFacts,
  type NamePlan,
  type NameView,
  type Service,
} from '#/model/index.ts';
import { spellingsOf, type Spelling } from './name-spellings.ts';

export interface NameSettings {
  /** The cluster's domain. */
  readonly domain: string;
  /** The namespace whose service is taken when nothing else tells several of one name apart. */
  readonly preferredNamespace?: string | undefined;
  /** Off: nobody is given an IPv6 address. */
  readonly ipv6: boolean;
}

/** `random` gives numbers in [0, 1): the addresses are put in random order. */
export function planName(
  facts: NameFacts,
  view: NameView,
  settings: NameSettings,
  random: () => number,
): NamePlan {
  const { client, name, family } = facts;
  const there = spellingsOf(name, client.namespace, settings.domain).filter(({ hostname }) =>
    view.hasHostname(hostname),
  );
  const missing = there.map(({ hostname }) => nameKey(hostname)).filter((key) => !view.knows(key));
  if (missing.length > 0) return { kind: 'needs', keys: missing };
  for (const spelling of there) {
    const service = best(
      view.servicesByHostname(spelling.hostname).filter((one) => answers(one, client.namespace, settings)),
      client.namespace,
      settings.preferredNamespace,
    );
    if (service === undefined) continue;
    if (!doesFamily(service, family, settings))
      return { kind: 'answer', outcome: 'other-family', service, addresses: [] };
    const addresses = shuffled(addressesOf(service, facts, view), random);
    if (addresses.length === 0) return { kind: 'answer', outcome: 'none', service, addresses };
    return { kind: 'answer', outcome: 'found', service, addresses, ...canonicalName(spelling) };
  }
  return { kind: 'forward' };
}

/** What has no address of its own is asked of a name server, but for headless services of Kubernetes. */
const answers = (service: Service, namespace: string, { domain }: NameSettings): boolean =>
  (service.visibility === 'PUBLIC' || service.namespace === namespace) &&
  (virtualAddresses(service).length > 0 || service.hostname.endsWith(`.svc.${domain}`));

/** Of the client's namespace, else canonical, else of the preferred namespace, else the first. */
function best(
  services: readonly Service[],
  namespace: string,
  preferred: string | undefined,
): Service | undefined {
  return (
    services.find((service) => service.namespace === namespace) ??
    services.find((service) => service.canonical) ??
    services.find((service) => service.namespace === preferred) ??
    services[0]
  );
}

/** Pods of a headless service of one family may have both: such a service is asked for its own only. */
function doesFamily({ ipFamilies }: Service, family: 4 | 6, { ipv6 }: NameSettings): boolean {
  return family === 6 ? ipv6 && ipFamilies !== 'IPV4_ONLY' : ipFamilies !== 'IPV6_ONLY';
}

/** The service's own on the client's network; of a headless one, an address of each endpoint. */
function addressesOf(service: Service, { client, family }: NameFacts, view: NameView): Ip[] {
  const ofFamily = (ip: Ip): boolean => isV6(ip) === (family === 6);
  const own = virtualAddresses(service);
  if (own.length > 0)
    return own.filter(({ network, ip }) => network === client.network && ofFamily(ip)).map(({ ip }) => ip);
  const found = new Set<Ip>();
  for (const { addresses } of view.endpoints(serviceKey(service)).workloads) {
    const ip = addresses.find(ofFamily);
    if (ip !== undefined) found.add(ip);
  }
  return [...found];
}

/** An address under a wildcard has no other name than the one that was asked for. */
const canonicalName = ({ wildcard, stripped }: Spelling): { canonicalName?: string } =>
  wildcard || stripped === undefined ? {} : { canonicalName: stripped };

/** Fisher and Yates: clients that take the first address are spread over all of them. */
function shuffled<T>(list: readonly T[], random: () => number): T[] {
  const out = [...list];
  for (let i = out.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [out[i], out[j]] = [out[j] as T, out[i] as T];
  }
  return out;
}
