// The settings that apply to a destination: those of its DestinationPolicy, those of the port over them, those of the
// subset over both, those of the subset's port on top. Each replaces field by field.
import type { Destination, DestinationPolicy, ServiceKey, TrafficSettings } from '#/model/index.ts';

const byName = (a: DestinationPolicy, b: DestinationPolicy): number => (a.name < b.name ? -1 : 1);

const none: TrafficSettings = {};

export class DestinationSettings {
  readonly #policies = new Map<string, DestinationPolicy>();
  readonly #byService = new Map<ServiceKey, readonly DestinationPolicy[]>();
  /** By service, then `port/subset`: a change of a policy forgets only its service. */
  readonly #resolved = new Map<ServiceKey, Map<string, TrafficSettings>>();

  put(policy: DestinationPolicy): void {
    this.remove(policy.name);
    this.#policies.set(policy.name, policy);
    const others = this.#byService.get(policy.service) ?? [];
    this.#byService.set(policy.service, [...others, policy].toSorted(byName));
    this.#resolved.delete(policy.service);
  }

  /** By `DestinationPolicy.name`. */
  remove(name: string): void {
    const policy = this.#policies.get(name);
    if (policy === undefined) return;
    this.#policies.delete(name);
    this.#resolved.delete(policy.service);
    const others = (this.#byService.get(policy.service) ?? []).filter((other) => other !== policy);
    if (others.length === 0) this.#byService.delete(policy.service);
    else this.#byService.set(policy.service, others);
  }

  policiesOf(service: ServiceKey): readonly DestinationPolicy[] {
    return this.#byService.get(service) ?? [];
  }

  /**
   * Undefined: the destination names a subset that no policy of the service has. Of several policies of a service the
   * first by name gives the settings, and all of them subsets. The same object until a policy of the service changes.
   */
  resolve({ service, port, subset }: Destination): TrafficSettings | undefined {
    const policies = this.#byService.get(service);
    if (policies === undefined) return subset === undefined ? none : undefined;
    let known = this.#resolved.get(service);
    const key = subset === undefined ? `${port}` : `${port}/${subset}`;
    const found = known?.get(key);
    if (found !== undefined) return found;
    const settings = resolveSettings(policies, port, subset);
    if (settings === undefined) return undefined;
    if (known === undefined) this.#resolved.set(service, (known = new Map()));
    // Ports come from routes and services, so there are few; a mesh that changes them all the time must not pile up.
    if (known.size >= 1024) known.clear();
    known.set(key, settings);
    return settings;
  }
}

function resolveSettings(
  policies: readonly DestinationPolicy[],
  port: number,
  subsetName: string | undefined,
): TrafficSettings | undefined {
  const [policy] = policies as readonly [DestinationPolicy];
  const ofPort = (ports: DestinationPolicy['ports'] | undefined): TrafficSettings | undefined =>
    ports?.find((entry) => entry.port === port)?.settings;
  const base = { ...policy.settings, ...ofPort(policy.ports) };
  if (subsetName === undefined) return base;
  for (const { subsets } of policies)
    for (const subset of subsets)
      if (subset.name === subsetName) return { ...base, ...subset.settings, ...ofPort(subset.ports) };
  return undefined;
}
