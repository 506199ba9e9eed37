// Which endpoints come first: by locality, by labels, or by the scopes of the service's own traffic distribution.
import type { LoadBalancing, Locality, LocalityBalancing, TrafficSettings } from '#/model/index.ts';
import type { Candidate, Place, Placement } from './candidate.ts';

export type Placer = (candidate: Candidate) => Placement | undefined;

export interface Placing {
  readonly place: Placer;
  /** The shares of a level by index; empty: a level is one whole. */
  readonly shares: readonly number[];
}

const first: Placement = { level: 0, share: 0 };
const together: Placing = { place: () => first, shares: [] };

/** `region/zone/subzone`, shortened or with `*` at any place, against a locality. */
export function localityMatches(pattern: string, { region, zone, subzone }: Locality): boolean {
  const parts = pattern.split('/');
  const actual = [region, zone, subzone];
  return parts.every((part, i) => part === '*' || part === actual[i]);
}

/** How much of a pattern is written out. */
const precision = (pattern: string): number => pattern.split('/').filter((part) => part !== '*').length;

const mostPrecise = <T>(list: readonly T[], pattern: (entry: T) => string): T | undefined =>
  list.toSorted((a, b) => precision(pattern(b)) - precision(pattern(a)))[0];

function distributed(
  rules: NonNullable<LocalityBalancing['distribute']>,
  here: Locality,
): Placing | undefined {
  const rule = mostPrecise(
    rules.filter(({ from }) => localityMatches(from, here)),
    ({ from }) => from,
  );
  if (rule === undefined) return undefined;
  return {
    shares: rule.to.map(({ weight }) => weight),
    place: ({ locality }) => {
      const to = mostPrecise(
        rule.to.filter((entry) => localityMatches(entry.locality, locality)),
        (entry) => entry.locality,
      );
      // A locality that the rule does not name gets nothing, as upstream.
      return to && { level: 0, share: rule.to.indexOf(to) };
    },
  };
}

/** 0 the same subzone, 1 zone, 2 region, 3 another region (that of the rule), 4 the others if there is a rule. */
function failover(rules: LocalityBalancing['failover'], here: Locality): Placing {
  const to = rules?.find(({ from }) => from === here.region)?.to;
  const levels = [0, 1, 2, 3, 4].map((level): Placement => ({ level, share: 0 }));
  return {
    shares: [],
    place: ({ locality: { region, zone, subzone } }) => {
      if (region !== here.region) return levels[to === undefined || region === to ? 3 : 4];
      if (zone !== here.zone) return levels[2];
      return levels[subzone === here.subzone ? 0 : 1];
    },
  };
}

/** The labels that the records of workloads tell. Others match nobody. */
function labelOf({ locality, network, clusterId, node }: Place, label: string): string | undefined {
  switch (label) {
    case 'topology.kubernetes.io/region':
    case 'failure-domain.beta.kubernetes.io/region':
      return locality.region;
    case 'topology.kubernetes.io/zone':
    case 'failure-domain.beta.kubernetes.io/zone':
      return locality.zone;
    case 'topology.istio.io/subzone':
      return locality.subzone;
    case 'topology.istio.io/network':
      return network;
    case 'topology.istio.io/cluster':
      return clusterId;
    case 'kubernetes.io/hostname':
      return node;
    default:
      return undefined;
  }
}

/** A label counts only if all before it match: n labels make n + 1 levels. `label=value` names the value to have. */
function byLabels(labels: readonly string[], here: Place): Placing {
  const wanted = labels.map((label) => {
    const equals = label.indexOf('=');
    return equals < 0
      ? { label, value: labelOf(here, label) }
      : { label: label.slice(0, equals), value: label.slice(equals + 1) };
  });
  return {
    shares: [],
    place: (candidate) => {
      let matched = 0;
      while (matched < wanted.length) {
        const { label, value } = wanted[matched] as (typeof wanted)[number];
        if (value === undefined || labelOf(candidate, label) !== value) break;
        matched++;
      }
      return { level: wanted.length - matched, share: 0 };
    },
  };
}

function scopeMatches(scope: LoadBalancing['routingPreference'][number], a: Place, b: Place): boolean {
  switch (scope) {
    case 'REGION':
      return a.locality.region === b.locality.region;
    case 'ZONE':
      return a.locality.zone === b.locality.zone;
    case 'SUBZONE':
      return a.locality.subzone === b.locality.subzone;
    case 'NODE':
      return a.node === b.node;
    case 'CLUSTER':
      return a.clusterId === b.clusterId;
    case 'NETWORK':
      return a.network === b.network;
  }
}

/** The service's own wish (trafficDistribution); STRICT leaves out whatever does not match in all scopes. */
function byScopes({ mode, routingPreference: scopes }: LoadBalancing, here: Place): Placing {
  return {
    shares: [],
    place: (candidate) => {
      let matched = 0;
      for (const scope of scopes) {
        if (!scopeMatches(scope, here, candidate)) break;
        matched++;
      }
      if (mode === 'STRICT') return matched === scopes.length ? first : undefined;
      return { level: scopes.length - matched, share: 0 };
    },
  };
}

/**
 * A DestinationRule's localities stand before the service's wish. As upstream, failover needs outlier detection: without
 * it nobody would notice that the near endpoints fail. A waypoint that does not know its region prefers nobody.
 */
export function placing(settings: TrafficSettings, service: LoadBalancing | undefined, here: Place): Placing {
  const { locality } = settings;
  if (locality?.enabled === true) {
    if (locality.distribute !== undefined && locality.distribute.length > 0) {
      const made = distributed(locality.distribute, here.locality);
      if (made !== undefined) return made;
    } else if (settings.outliers !== undefined) {
      if (locality.failoverPriority !== undefined && locality.failoverPriority.length > 0)
        return byLabels(locality.failoverPriority, here);
      return here.locality.region === '' ? together : failover(locality.failover, here.locality);
    }
  }
  if (service === undefined || service.mode === 'UNSPECIFIED' || service.mode === 'PASSTHROUGH')
    return together;
  return byScopes(service, here);
}
