// Counters, gauges and histograms of any family, for everything that is not counted per connection. A worker counts
// in its own set; what it counted is drained as plain data and merged into the main thread's.
import type { MetricFamily } from './families.ts';
import type { CollectedFamily, Sample } from './open-metrics.ts';
import { labelValue } from './traffic-labels.ts';

interface Series {
  value: number;
  /** Of a histogram: observations per bucket (not summed up), the last one above all bounds. */
  readonly buckets?: number[];
}

export interface MetricDelta {
  readonly series: readonly {
    readonly family: string;
    readonly labels: string;
    readonly value: number;
    readonly buckets?: readonly number[];
  }[];
  readonly overflowed: number;
}

export class MetricSet {
  readonly #families = new Map<
    string,
    { readonly family: MetricFamily; readonly series: Map<string, Series> }
  >();
  readonly #limit: number;
  /** Samples counted under unknown labels because of the limit. */
  overflowed = 0;

  /** `families`: those that this set may count. `limit`: series per family. */
  constructor(families: Iterable<MetricFamily>, limit = 2000) {
    this.#limit = limit;
    for (const family of families) this.#families.set(family.name, { family, series: new Map() });
  }

  /** Adds to a counter or gauge. `values`: one per label, in the family's order. */
  add(family: MetricFamily, values: readonly (string | undefined)[], by = 1): void {
    this.#series(family, values).value += by;
  }

  /** Sets a gauge. Not to be drained: a set has no difference. */
  set(family: MetricFamily, values: readonly (string | undefined)[], value: number): void {
    this.#series(family, values).value = value;
  }

  observe(family: MetricFamily, values: readonly (string | undefined)[], value: number): void {
    const series = this.#series(family, values);
    const bounds = family.buckets ?? [];
    const index = bounds.findIndex((bound) => value <= bound);
    series.value += value;
    const bucket = index < 0 ? bounds.length : index;
    if (series.buckets !== undefined) series.buckets[bucket] = (series.buckets[bucket] ?? 0) + 1;
  }

  /** What was counted since the last drain; the series start again at nothing. */
  drain(): MetricDelta {
    const drained: MetricDelta['series'][number][] = [];
    for (const [name, { series }] of this.#families) {
      for (const [labels, { value, buckets }] of series)
        drained.push({ family: name, labels, value, ...(buckets && { buckets }) });
      series.clear();
    }
    const { overflowed } = this;
    this.overflowed = 0;
    return { series: drained, overflowed };
  }

  /** Adds what another set has drained. A family that this set has not is an error of the program. */
  merge(delta: MetricDelta): void {
    for (const { family: name, labels, value, buckets } of delta.series) {
      const known = this.#families.get(name);
      if (known === undefined) throw new TypeError(`no such metric family: "${name}"`);
      const series = this.#at(known.family, known.series, labels);
      series.value += value;
      buckets?.forEach((count, index) => {
        if (series.buckets !== undefined) series.buckets[index] = (series.buckets[index] ?? 0) + count;
      });
    }
    this.overflowed += delta.overflowed;
  }

  *collect(): IterableIterator<CollectedFamily> {
    for (const { family, series } of this.#families.values())
      yield { family, samples: samples(family, series) };
  }

  #series(family: MetricFamily, values: readonly (string | undefined)[]): Series {
    const known = this.#families.get(family.name);
    if (known === undefined) throw new TypeError(`no such metric family: "${family.name}"`);
    let labels = '';
    for (let i = 0; i < family.labels.length; i++)
      labels += `${i === 0 ? '' : ','}${family.labels[i]}="${labelValue(values[i])}"`;
    return this.#at(family, known.series, labels);
  }

  #at(family: MetricFamily, all: Map<string, Series>, labels: string): Series {
    const found = all.get(labels);
    if (found !== undefined) return found;
    let key = labels;
    if (all.size >= this.#limit) {
      this.overflowed++;
      key = family.labels.map((label) => `${label}="unknown"`).join(',');
      const rest = all.get(key);
      if (rest !== undefined) return rest;
    }
    const made: Series =
      family.type === 'histogram'
        ? { value: 0, buckets: Array.from({ length: (family.buckets?.length ?? 0) + 1 }, () => 0) }
        : { value: 0 };
    all.set(key, made);
    return made;
  }
}

function* samples(family: MetricFamily, all: Map<string, Series>): IterableIterator<Sample> {
  for (const [labels, { value, buckets }] of all) {
    if (buckets === undefined) {
      yield { suffix: family.type === 'counter' ? '_total' : '', labels, value };
      continue;
    }
    const join = labels === '' ? '' : `${labels},`;
    let count = 0;
    const lines: Sample[] = [];
    buckets.forEach((inBucket, index) => {
      count += inBucket;
      const bound = family.buckets?.[index];
      const le = bound === undefined ? '+Inf' : Number.isInteger(bound) ? `${bound}.0` : String(bound);
      lines.push({ suffix: '_bucket', labels: `${join}le="${le}"`, value: count });
    });
    yield { suffix: '_sum', labels, value };
    yield { suffix: '_count', labels, value: count };
    yield* lines;
  }
}
