// Which metrics are counted for a target and with which labels: the overrides of the Telemetry API, compiled. Metrics
// that have the same labels are counted together, so that without overrides there is one group and one look-up.
import { celText, compileCel, type CelProgram } from './cel-program.ts';
import type { EffectiveTelemetry } from './effective-telemetry.ts';
import { everyMetric, metricBit, metricNames, waypointFamilies, waypointMetrics } from './http-families.ts';
import type { AnyRecord } from './exchange-record.ts';

export interface MetricGroup {
  /** Bits of the metrics. */
  readonly metrics: number;
  readonly removed: ReadonlySet<string>;
  readonly upserts: readonly { readonly tag: string; readonly value: (record: AnyRecord) => string }[];
}

export interface MetricPlan {
  readonly groups: readonly MetricGroup[];
  readonly problems: readonly string[];
}

export const defaultMetricPlan: MetricPlan = {
  groups: [{ metrics: everyMetric, removed: new Set(), upserts: [] }],
  problems: [],
};

// A client can choose what an expression gives: its length is bounded here, the number of series by their limit.
const maxTagLength = 256;

const valueOf =
  (run: CelProgram): ((record: AnyRecord) => string) =>
  (record) => {
    const text = celText(run(record));
    return text === undefined || text === '' ? 'unknown' : text.slice(0, maxTagLength);
  };

const tagName = /^[a-zA-Z_][a-zA-Z0-9_]*$/;

/** Undefined: no value, the tag is removed. */
type Tags = Map<string, string | undefined>;

function groupOf(metrics: number, tags: Tags, problems: Set<string>): MetricGroup {
  const removed = new Set<string>();
  const upserts: MetricGroup['upserts'][number][] = [];
  for (const [tag, expression] of [...tags].sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (expression === undefined) {
      removed.add(tag);
      continue;
    }
    const compiled = compileCel(expression);
    if (!tagName.test(tag)) problems.add(`tag "${tag}" is not a label's name: it is left out`);
    else if (compiled.ok) upserts.push({ tag, value: valueOf(compiled.run) });
    else
      problems.add(
        `tag "${tag}": "${expression}" does not compile, the tag is left as it was: ${compiled.problem}`,
      );
  }
  return { metrics, removed, upserts };
}

const isFor = (name: string, metric: (typeof waypointMetrics)[number]): boolean =>
  name === 'ALL_METRICS' ||
  name === metricNames[metric] ||
  name === waypointFamilies[metric].name ||
  name === `${waypointFamilies[metric].name}_total`;

/** Compiled once per change of configuration; the result is to be kept, since series are found by it. */
export function compileMetricPlan({ metrics }: Pick<EffectiveTelemetry, 'metrics'>): MetricPlan {
  if (!metrics.enabled) return { groups: [], problems: [] };
  if (metrics.overrides.length === 0) return defaultMetricPlan;
  const problems = new Set<string>();
  const shapes = new Map<string, { bits: number; readonly tags: Tags }>();
  for (const metric of waypointMetrics) {
    let off = false;
    const tags: Tags = new Map();
    for (const override of metrics.overrides) {
      if (!isFor(override.metric, metric)) continue;
      off = override.disabled ?? off;
      for (const { tag, operation, value } of override.tags)
        tags.set(tag, operation === 'REMOVE' ? undefined : (value ?? '""'));
    }
    if (off) continue;
    const shape = [...tags]
      .map(([tag, value]) => JSON.stringify([tag, value ?? null]))
      .sort((a, b) => (a < b ? -1 : 1))
      .join();
    const found = shapes.get(shape);
    if (found === undefined) shapes.set(shape, { bits: metricBit[metric], tags });
    else found.bits |= metricBit[metric];
  }
  for (const { metric } of metrics.overrides)
    if (!waypointMetrics.some((known) => isFor(metric, known)))
      problems.add(`metric "${metric}" is not one that a waypoint counts: its override has no effect`);
  const groups = [...shapes.values()].map(({ bits, tags }) => groupOf(bits, tags, problems));
  return { groups, problems: [...problems] };
}
