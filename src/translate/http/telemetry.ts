// Telemetry → telemetry: for the mesh (root namespace), a namespace, or what targetRefs name.
import type { CustomTag, LogMode, MetricOverride, TagOverride, Target, Telemetry } from '#/model/index.ts';
import { targetCondition } from '../authorization-targets.ts';
import type { Lookup } from '../lookup.ts';
import { list, optionalText, record, text, type Json } from '../read.ts';
import { emptyTranslation, validCondition, type Translation } from '../translation.ts';
import { attach, readTargets, type Attached } from './attachment.ts';
import { allWaypoints, waypointsOfNamespace } from './bindings.ts';
import type { SpecFacts } from './spec-facts.ts';
import { duration, Notes } from './values.ts';
import { recordFor } from './waypoint-record.ts';

function modeOf(value: unknown): LogMode {
  const mode = record(value)['mode'];
  return mode === 'CLIENT' || mode === 'SERVER' ? mode : 'CLIENT_AND_SERVER';
}

const providersOf = (value: Json): readonly string[] =>
  list(value['providers']).map((item) => text(record(item)['name']));

const boolean = (value: unknown): boolean | undefined => (typeof value === 'boolean' ? value : undefined);

function tagOverrides(value: unknown): readonly TagOverride[] {
  return Object.entries(record(value)).map(([tag, item]): TagOverride => {
    const override = record(item);
    const expression = optionalText(override['value']);
    return {
      tag,
      operation: override['operation'] === 'REMOVE' ? 'REMOVE' : 'UPSERT',
      ...(expression === undefined ? {} : { value: expression }),
    };
  });
}

function override(value: unknown): MetricOverride {
  const item = record(value);
  const match = record(item['match']);
  const disabled = boolean(item['disabled']);
  return {
    metric: text(match['customMetric']) || text(match['metric']) || 'ALL_METRICS',
    mode: modeOf(match),
    ...(disabled === undefined ? {} : { disabled }),
    tags: tagOverrides(item['tagOverrides']),
  };
}

function customTag(tag: string, value: unknown, field: string, notes: Notes): CustomTag | undefined {
  const given = record(value);
  if (given['literal'] !== undefined)
    return { tag, kind: 'literal', value: text(record(given['literal'])['value']) };
  if (given['formatter'] !== undefined)
    return { tag, kind: 'formatter', format: text(record(given['formatter'])['value']) };
  for (const kind of ['environment', 'header'] as const) {
    if (given[kind] === undefined) continue;
    const source = record(given[kind]);
    const fallback = optionalText(source['defaultValue']);
    return { tag, kind, name: text(source['name']), ...(fallback === undefined ? {} : { fallback }) };
  }
  return notes.add(field, 'is neither literal, environment, header nor formatter');
}

function tracing(value: unknown, field: string, notes: Notes): Telemetry['tracing'][number] {
  const item = record(value);
  const percent = item['randomSamplingPercentage'];
  const flags = {
    disableSpanReporting: boolean(item['disableSpanReporting']),
    disableContextPropagation: boolean(item['disableContextPropagation']),
    useRequestIdForSampling: boolean(item['useRequestIdForTraceSampling']),
    istioTags: boolean(item['enableIstioTags']),
  };
  const tags = Object.entries(record(item['customTags']))
    .map(([tag, one]) => customTag(tag, one, `${field}.customTags.${tag}`, notes))
    .filter((tag) => tag !== undefined);
  return {
    providers: providersOf(item),
    mode: modeOf(item['match']),
    ...(typeof percent === 'number' && percent >= 0 && percent <= 100 ? { samplingPercent: percent } : {}),
    ...Object.fromEntries(
      Object.entries(flags).filter((pair): pair is [string, boolean] => pair[1] !== undefined),
    ),
    customTags: tags,
  };
}

function scope(facts: SpecFacts, lookup: Lookup): Attached {
  const refs = readTargets(facts.spec);
  if (refs.length > 0) return attach(refs, facts.namespace, lookup);
  if (facts.namespace === lookup.mesh.rootNamespace)
    return { targets: [{ kind: 'mesh' }] satisfies Target[], gateways: allWaypoints(lookup) };
  return {
    targets: [{ kind: 'namespace', namespace: facts.namespace }],
    gateways: waypointsOfNamespace(lookup, facts.namespace),
  };
}

export function translateTelemetry(facts: SpecFacts, lookup: Lookup): Translation {
  const { spec } = facts;
  const notes = new Notes();
  const refs = readTargets(spec);
  if (refs.length === 0 && Object.keys(record(record(spec['selector'])['matchLabels'])).length > 0) {
    const reason = 'is for sidecars: a waypoint does not use this object';
    return { ...emptyTranslation, conditions: validCondition([{ field: 'spec.selector', reason }]) };
  }
  const { targets, gateways } = scope(facts, lookup);
  const waypoint = recordFor(gateways, () => ({
    kind: 'telemetry',
    name: `${facts.namespace}/${facts.name}`,
    targets,
    accessLogs: list(spec['accessLogging']).map((value) => {
      const item = record(value);
      const filter = optionalText(record(item['filter'])['expression']);
      const disabled = boolean(item['disabled']);
      return {
        providers: providersOf(item),
        mode: modeOf(item['match']),
        ...(filter === undefined ? {} : { filter }),
        ...(disabled === undefined ? {} : { disabled }),
      };
    }),
    metrics: list(spec['metrics']).map((value, i) => {
      const item = record(value);
      const interval = duration(item['reportingInterval'], `spec.metrics[${i}].reportingInterval`, notes);
      return {
        providers: providersOf(item),
        overrides: list(item['overrides']).map(override),
        ...(interval === undefined ? {} : { reportingIntervalMs: interval }),
      };
    }),
    tracing: list(spec['tracing']).map((value, i) => tracing(value, `spec.tracing[${i}]`, notes)),
  }));
  return {
    records: [],
    conditions: [
      ...(refs.length === 0 ? [] : [targetCondition({ ...facts, targets: refs }, lookup)]),
      ...validCondition(notes.problems),
    ],
    problems: notes.problems,
    waypoint,
  };
}
