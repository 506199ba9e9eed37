// DestinationRule → a destination-policy for each service that its host means, and the members of its subsets.
import type { DestinationPolicy, TrafficSettings } from '#/model/index.ts';
import type { Lookup } from '../lookup.ts';
import { byAge } from '../object.ts';
import { labelMap, list, record, text } from '../read.ts';
import { validCondition, type Translation } from '../translation.ts';
import { everyService, namespaceOf, servicesOfHost, waypointsHeeding, type ServiceView } from './bindings.ts';
import { clientTls } from './client-tls.ts';
import { resolveParents } from './route-parents.ts';
import { coversHost, fullHost, type DestinationRuleFacts } from './spec-facts.ts';
import { subsetMembers } from './subset-members.ts';
import { trafficSettings } from './traffic-settings.ts';
import { Notes, port } from './values.ts';
import { recordFor, type WaypointRecord } from './waypoint-record.ts';

/** Waypoints that send requests to the service: its own, and those with routes to it. */
function senders(view: ServiceView, lookup: Lookup): ReadonlySet<string> {
  const found = new Set(view.waypoints);
  for (const route of lookup.routesTo(view.hostname))
    for (const gateway of resolveParents(route, lookup).gateways) found.add(gateway);
  for (const service of lookup.virtualServicesTo(view.hostname)) {
    if (!service.mesh) continue;
    for (const written of service.hosts) {
      const host = fullHost(written, service.namespace, lookup.mesh.clusterDomain);
      const parents = host.includes('*')
        ? everyService(lookup).filter((one) => coversHost(host, one.hostname))
        : servicesOfHost(lookup, host);
      for (const parent of parents)
        for (const gateway of waypointsHeeding(parent, service.namespace)) found.add(gateway);
    }
  }
  return found;
}

/** Exact hosts before wildcards, longer wildcards first, then the oldest. */
function nearest(domain: string): (a: DestinationRuleFacts, b: DestinationRuleFacts) => number {
  const rank = (rule: DestinationRuleFacts): number => {
    const host = fullHost(rule.host, rule.namespace, domain);
    return host.includes('*') ? host.length : Number.MAX_SAFE_INTEGER;
  };
  return (a, b) => rank(b) - rank(a) || byAge(a, b);
}

const hasSelector = (rule: DestinationRuleFacts): boolean => rule.spec['workloadSelector'] !== undefined;

interface Chosen {
  /** The rule that counts, and others of the same namespace and host whose subsets are added. */
  readonly rules: readonly DestinationRuleFacts[];
  readonly gateways: string[];
}

/** For each waypoint the rule that counts: the waypoint's namespace's before the service's. */
function chosenRules(view: ServiceView, lookup: Lookup): ReadonlyMap<string, Chosen> {
  const domain = lookup.mesh.clusterDomain;
  const all = lookup.destinationRules(view.hostname).filter((rule) => !hasSelector(rule));
  const out = new Map<string, Chosen>();
  for (const gateway of senders(view, lookup)) {
    for (const namespace of [namespaceOf(gateway), view.namespace]) {
      const own = all.filter((rule) => rule.namespace === namespace).sort(nearest(domain));
      const [first] = own;
      if (first === undefined) continue;
      const same = own.filter(
        (rule) => fullHost(rule.host, namespace, domain) === fullHost(first.host, namespace, domain),
      );
      const key = `${first.namespace}/${first.name}`;
      const known = out.get(key);
      if (known === undefined) out.set(key, { rules: same, gateways: [gateway] });
      else known.gateways.push(gateway);
      break;
    }
  }
  return out;
}

function policy(
  rules: readonly DestinationRuleFacts[],
  view: ServiceView,
  lookup: Lookup,
  notes: Notes,
): DestinationPolicy {
  const [first] = rules as [DestinationRuleFacts];
  const settingsOf = (
    rule: DestinationRuleFacts,
    value: unknown,
    field: string,
  ): TrafficSettings | undefined =>
    // What is wrong with another rule is told there.
    trafficSettings(value, field, rule === first ? notes : new Notes(), (tls, at) =>
      clientTls(tls, at, rule.namespace, lookup, rule === first ? notes : new Notes()),
    );
  const main = rules.find((rule) => rule.spec['trafficPolicy'] !== undefined) ?? first;
  const traffic = record(main.spec['trafficPolicy']);
  const ports = list(traffic['portLevelSettings']).flatMap((item, i) => {
    const number = port(record(record(item)['port'])['number']);
    const field = `spec.trafficPolicy.portLevelSettings[${i}]`;
    if (number === undefined) {
      notes.add(`${field}.port`, 'is not a port');
      return [];
    }
    return [{ port: number, settings: settingsOf(main, item, field) ?? {} }];
  });
  const subsets = new Map<string, DestinationPolicy['subsets'][number]>();
  for (const rule of rules)
    list(rule.spec['subsets']).forEach((item, i) => {
      const subset = record(item);
      const name = text(subset['name']);
      if (name === '' || subsets.has(name)) return;
      const settings = settingsOf(rule, subset['trafficPolicy'], `spec.subsets[${i}].trafficPolicy`);
      subsets.set(name, { name, ...(settings === undefined ? {} : { settings }) });
    });
  return {
    kind: 'destination-policy',
    name: `${first.namespace}/${first.name}/${view.key}`,
    service: view.key,
    settings: settingsOf(main, main.spec['trafficPolicy'], 'spec.trafficPolicy') ?? {},
    ports,
    subsets: [...subsets.values()],
  };
}

function members(
  rules: readonly DestinationRuleFacts[],
  view: ServiceView,
  gateways: readonly string[],
  lookup: Lookup,
): readonly WaypointRecord[] {
  const seen = new Set<string>();
  return rules.flatMap((rule) =>
    list(rule.spec['subsets']).flatMap((item) => {
      const name = text(record(item)['name']);
      if (name === '' || seen.has(name)) return [];
      seen.add(name);
      const labels = labelMap(record(item)['labels']);
      return recordFor(gateways, () => ({
        kind: 'subset-members',
        // A waypoint's namespace may have other subsets than the service's, for other waypoints.
        name: `${view.key}/${name}${rule.namespace === view.namespace ? '' : `@${rule.namespace}`}`,
        service: view.key,
        subset: name,
        workloads: subsetMembers(view, labels, lookup),
      }));
    }),
  );
}

export function translateDestinationRule(rule: DestinationRuleFacts, lookup: Lookup): Translation {
  const notes = new Notes();
  if (hasSelector(rule))
    notes.add('spec.workloadSelector', 'is for sidecars; a waypoint does not use this rule');
  const host = fullHost(rule.host, rule.namespace, lookup.mesh.clusterDomain);
  const views = host.includes('*')
    ? everyService(lookup).filter((view) => coversHost(host, view.hostname) || view.hostname === host)
    : servicesOfHost(lookup, host);
  const waypoint = views.flatMap((view) => {
    const chosen = chosenRules(view, lookup).get(`${rule.namespace}/${rule.name}`);
    if (chosen === undefined) return [];
    return [
      ...recordFor(chosen.gateways, () => policy(chosen.rules, view, lookup, notes)),
      ...members(chosen.rules, view, chosen.gateways, lookup),
    ];
  });
  return { records: [], conditions: validCondition(notes.problems), problems: notes.problems, waypoint };
}
