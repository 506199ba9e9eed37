// The Telemetry API: several resources that apply to one target, merged into what is done there. Wide ones first:
// mesh, class, namespace of the waypoint, namespace of the service, waypoint, service or workload.
import type {
  CustomTag,
  LogMode,
  Provider,
  ServiceKey,
  TagOverride,
  Target,
  Telemetry,
  WaypointMesh,
} from '#/model/index.ts';
import { defaultSamplingPercent } from './trace-sampling.ts';

export interface TelemetryTarget {
  /** `ns/name` of the waypoint's Gateway. */
  readonly gateway: string;
  readonly service?: ServiceKey | undefined;
  readonly workload?: { readonly uid: string; readonly namespace: string } | undefined;
}

/** One metric's changes; the metric is Istio's enum, `ALL_METRICS` or a name. In the order in which they apply. */
export interface EffectiveOverride {
  readonly metric: string;
  readonly disabled?: boolean;
  readonly tags: readonly TagOverride[];
}

export interface EffectiveTracing {
  readonly provider: string;
  readonly samplingPercent: number;
  readonly reportSpans: boolean;
  readonly propagate: boolean;
  readonly byRequestId: boolean;
  readonly istioTags: boolean;
  readonly customTags: readonly CustomTag[];
}

export interface EffectiveTelemetry {
  /** Sorted by provider. `meshAccessLog`: the file of MeshConfig. */
  readonly accessLogs: readonly { readonly provider: string; readonly filter?: string }[];
  readonly metrics: { readonly enabled: boolean; readonly overrides: readonly EffectiveOverride[] };
  /** Undefined: no provider, headers pass untouched. */
  readonly tracing: EffectiveTracing | undefined;
}

export type TelemetryMesh = Pick<WaypointMesh, 'defaultProviders' | 'accessLogFile'>;

/** Stands for `accessLogFile` of MeshConfig, which is used where no provider is named. */
export const meshAccessLog = '';

// A waypoint stands before the server and reports as one.
const here = (mode: LogMode): boolean => mode !== 'CLIENT';

const namespaceOf = (key: string): string => key.slice(0, Math.max(0, key.indexOf('/')));

function rank(target: Target, { gateway, service, workload }: TelemetryTarget): number {
  switch (target.kind) {
    case 'mesh':
      return 0;
    case 'all-waypoints':
      return 1;
    case 'namespace':
      if (
        (service !== undefined && namespaceOf(service) === target.namespace) ||
        workload?.namespace === target.namespace
      )
        return 3;
      return namespaceOf(gateway) === target.namespace ? 2 : -1;
    case 'waypoint':
      return target.gateway === gateway ? 4 : -1;
    case 'service':
      return target.service === service ? 5 : -1;
    case 'workload':
      return target.uid === workload?.uid ? 6 : -1;
  }
}

/** Those that apply, the widest first. Of two on one level the first by name has the last word. */
function applying(resources: Iterable<Telemetry>, target: TelemetryTarget): Telemetry[] {
  const found: { readonly resource: Telemetry; readonly level: number }[] = [];
  for (const resource of resources) {
    const level = resource.targets.reduce((most, one) => Math.max(most, rank(one, target)), -1);
    if (level >= 0) found.push({ resource, level });
  }
  return found
    .sort((a, b) => a.level - b.level || (a.resource.name < b.resource.name ? 1 : -1))
    .map(({ resource }) => resource);
}

interface WithProviders {
  readonly providers: readonly string[];
}

/** The providers in use: those that the narrowest resource names, else the mesh's. */
function inUse(
  sections: readonly (readonly WithProviders[])[],
  defaults: readonly string[],
): readonly string[] {
  let names = defaults;
  for (const section of sections) {
    const named = section.flatMap(({ providers }) => providers);
    if (named.length > 0) names = named;
  }
  return names;
}

function accessLogs(resources: readonly Telemetry[], mesh: TelemetryMesh): EffectiveTelemetry['accessLogs'] {
  const { accessLogging } = mesh.defaultProviders;
  const defaults = accessLogging.length === 0 && mesh.accessLogFile !== '' ? [meshAccessLog] : accessLogging;
  const sections = resources.map((resource) => resource.accessLogs.filter(({ mode }) => here(mode)));
  const used = new Set(inUse(sections, defaults));
  const logs = new Map<string, string | undefined>();
  // Providers of the mesh log unless told otherwise; others once a resource names them.
  for (const name of defaults) if (used.has(name)) logs.set(name, undefined);
  let inherited = defaults;
  for (const { providers, filter, disabled } of sections.flat()) {
    if (providers.length > 0) inherited = providers;
    for (const name of inherited) {
      if (!used.has(name)) continue;
      if (disabled === true) logs.delete(name);
      else logs.set(name, filter);
    }
  }
  return [...logs]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([provider, filter]) => (filter === undefined ? { provider } : { provider, filter }));
}

function metrics(
  resources: readonly Telemetry[],
  mesh: TelemetryMesh,
  prometheus: ReadonlySet<string>,
): EffectiveTelemetry['metrics'] {
  const { metrics: named } = mesh.defaultProviders;
  const sections = resources.map((resource) => resource.metrics);
  const enabled = inUse(sections, named.length === 0 ? ['prometheus'] : named).some((name) =>
    prometheus.has(name),
  );
  const overrides = sections
    .flat()
    .filter(({ providers }) => providers.length === 0 || providers.some((name) => prometheus.has(name)))
    .flatMap((section) => section.overrides)
    .filter(({ mode }) => here(mode))
    .map(({ metric, disabled, tags }) => ({ metric, tags, ...(disabled !== undefined && { disabled }) }));
  return { enabled, overrides };
}

function tracing(resources: readonly Telemetry[], mesh: TelemetryMesh): EffectiveTracing | undefined {
  const entries = resources.flatMap((resource) => resource.tracing).filter(({ mode }) => here(mode));
  // One provider at a time, as upstream.
  const [provider] = inUse(
    entries.map((entry) => [entry]),
    mesh.defaultProviders.tracing,
  );
  if (provider === undefined) return undefined;
  const last = <T>(get: (entry: (typeof entries)[number]) => T | undefined, otherwise: T): T => {
    for (const entry of entries.toReversed()) {
      const value = get(entry);
      if (value !== undefined) return value;
    }
    return otherwise;
  };
  return {
    provider,
    samplingPercent: last(({ samplingPercent }) => samplingPercent, defaultSamplingPercent),
    reportSpans: !last(({ disableSpanReporting }) => disableSpanReporting, false),
    propagate: !last(({ disableContextPropagation }) => disableContextPropagation, false),
    byRequestId: last(({ useRequestIdForSampling }) => useRequestIdForSampling, true),
    istioTags: last(({ istioTags }) => istioTags, true),
    customTags: last(({ customTags }) => (customTags.length === 0 ? undefined : customTags), []),
  };
}

/** What is done for one target. `providers`: those known; without them only `prometheus` is one for metrics. */
export function effectiveTelemetry(
  resources: Iterable<Telemetry>,
  target: TelemetryTarget,
  mesh: TelemetryMesh,
  providers: Iterable<Provider> = [],
): EffectiveTelemetry {
  const prometheus = new Set(['prometheus']);
  for (const { type, name } of providers) if (type === 'prometheus') prometheus.add(name);
  const found = applying(resources, target);
  return {
    accessLogs: accessLogs(found, mesh),
    metrics: metrics(found, mesh, prometheus),
    tracing: tracing(found, mesh),
  };
}
