// The metrics of a waypoint. Workers count for themselves; what they counted is drained as plain data and merged into
// the main thread's, which prints it and lets go of series whose workloads are gone.
import type { CollectedFamily, Sample } from '../open-metrics.ts';
import type { AnyRecord, HttpExchangeRecord, TcpConnectionRecord } from './exchange-record.ts';
import { waypointFamilies, waypointMetrics, type WaypointMetric, metricBit } from './http-families.ts';
import { labelText, overflowLabels } from './http-labels.ts';
import { addRequest, addTo, dropSeries, makeSeries, mergeCounts, seriesSamples } from './http-series.ts';
import type { Series, SeriesKind } from './http-series.ts';
import { defaultMetricPlan, type MetricGroup, type MetricPlan } from './metric-plan.ts';
import { answerKey, PeerTable, type PeerEntry } from './peer-series.ts';
import type { HttpResponseFlag } from './response-flags.ts';

/** What was counted since the last drain; crosses to another thread as it is. */
export interface HttpMetricsReport {
  readonly series: readonly {
    readonly kind: SeriesKind;
    readonly labels: string;
    readonly seen: number;
    readonly counts: Float64Array;
    readonly source: string | undefined;
    readonly destination: string | undefined;
  }[];
  readonly overflowed: number;
}

export interface HttpMetricsOptions {
  /** Sets of labels that are counted apart; those beyond it are counted as unknown. Default 10 000. */
  readonly limit?: number;
}

/** The counters of one TCP connection, until it is closed. */
export interface TcpCounter {
  received(bytes: number): void;
  sent(bytes: number): void;
  /** Once. */
  closed(flags?: readonly HttpResponseFlag[]): void;
}

// Requests and connections may have the same labels once some are removed.
const keyOf = (kind: SeriesKind, labels: string): string => (kind === 'http' ? labels : `tcp ${labels}`);

const maxPairs = 20_000;
// Plans change with the configuration; a pair of peers sees few of them.
const maxGroups = 32;

export class HttpMetrics {
  readonly #series = new Map<string, Series>();
  readonly #peers = new PeerTable(maxPairs);
  readonly #limit: number;
  /** Times that labels were given up for unknown ones because of the limit. */
  overflowed = 0;

  constructor(options: HttpMetricsOptions = {}) {
    this.#limit = options.limit ?? 10_000;
  }

  get size(): number {
    return this.#series.size;
  }

  /** Counts a finished request. `plan`: of its destination, always the same object for the same configuration. */
  request(record: HttpExchangeRecord, plan: MetricPlan = defaultMetricPlan): void {
    const entry = this.#peers.find(record);
    for (const group of plan.groups) addRequest(this.#ofRequest(entry, record, group), group.metrics, record);
  }

  /** Counts a connection as opened. Tags from CEL are those of this moment. */
  tcpOpened(record: TcpConnectionRecord, plan: MetricPlan = defaultMetricPlan): TcpCounter {
    const entry = this.#peers.find(record);
    const opened: TcpConnectionRecord = { ...record, flags: [] };
    const held = plan.groups.map((group) => {
      const series = this.#labelled(entry, opened, group);
      series.users++;
      return { group, series };
    });
    const add = (metric: WaypointMetric, by: number): void => {
      for (const { group, series } of held)
        if ((group.metrics & metricBit[metric]) !== 0) addTo(series, metric, by);
    };
    add('tcpOpened', 1);
    add('tcpReceived', 0);
    add('tcpSent', 0);
    let open = true;
    return {
      received: (bytes) => add('tcpReceived', bytes),
      sent: (bytes) => add('tcpSent', bytes),
      closed: (flags = []) => {
        if (!open) return;
        open = false;
        for (const { group, series } of held) {
          series.users--;
          if ((group.metrics & metricBit.tcpClosed) === 0) continue;
          const last = flags.length === 0 ? series : this.#labelled(entry, { ...opened, flags }, group);
          addTo(last, 'tcpClosed', 1);
        }
      },
    };
  }

  /** What was counted since the last drain. Series that nothing was added to leave the table. */
  drain(): HttpMetricsReport {
    const drained: HttpMetricsReport['series'][number][] = [];
    for (const [key, series] of this.#series) {
      if (series.dirty) {
        const { kind, labels, seen, counts, source, destination } = series;
        drained.push({ kind, labels, seen, counts: counts.slice(), source, destination });
        counts.fill(0);
        series.dirty = false;
      } else if (series.users === 0) {
        dropSeries(series);
        this.#series.delete(key);
      }
    }
    const { overflowed } = this;
    this.overflowed = 0;
    return { series: drained, overflowed };
  }

  /** Adds what another has drained. `now`: milliseconds of any clock, for `expire`. */
  merge(report: HttpMetricsReport, now: number): void {
    for (const { kind, labels, seen, counts, source, destination } of report.series) {
      const series = this.#at(kind, labels);
      mergeCounts(series, seen, counts);
      series.source = source;
      series.destination = destination;
      series.lastSeen = now;
    }
    this.overflowed += report.overflowed;
  }

  /**
   * Drops series that nothing was added to for `idleMs` and whose workloads are gone. `known`: whether there is a
   * workload with that uid. Gives how many.
   */
  expire(now: number, known: (uid: string) => boolean, idleMs = 900_000): number {
    let count = 0;
    for (const [key, series] of this.#series) {
      const { source, destination, lastSeen } = series;
      if (now - lastSeen < idleMs || series.users > 0 || series.overflow) continue;
      const gone =
        (source !== undefined && !known(source)) || (destination !== undefined && !known(destination));
      if (!gone) continue;
      dropSeries(series);
      this.#series.delete(key);
      count++;
    }
    return count;
  }

  *collect(): IterableIterator<CollectedFamily> {
    for (const metric of waypointMetrics)
      yield { family: waypointFamilies[metric], samples: this.#samples(metric) };
    if (this.overflowed > 0)
      yield {
        family: waypointFamilies.seriesOverflow,
        samples: [{ suffix: '_total', labels: '', value: this.overflowed }],
      };
  }

  *#samples(metric: WaypointMetric): IterableIterator<Sample> {
    for (const series of this.#series.values())
      yield* seriesSamples(series, metric, waypointFamilies[metric]);
  }

  #ofRequest(entry: PeerEntry, record: HttpExchangeRecord, group: MetricGroup): Series {
    if (group.upserts.length > 0) return this.#labelled(entry, record, group);
    const key = answerKey(record);
    if (key === undefined) return this.#labelled(entry, record, group);
    let byAnswer = entry.series.get(group);
    const found = byAnswer?.get(key);
    if (found !== undefined && !found.dropped) return found;
    const series = this.#labelled(entry, record, group);
    if (series.overflow) return series;
    if (byAnswer === undefined) {
      if (entry.series.size >= maxGroups) entry.series.clear();
      entry.series.set(group, (byAnswer = new Map()));
    }
    byAnswer.set(key, series);
    return series;
  }

  #labelled({ values }: PeerEntry, record: AnyRecord, group: MetricGroup): Series {
    const series = this.#at(record.kind, labelText(values, record, group));
    series.source = record.source?.uid;
    series.destination = record.destination?.uid;
    return series;
  }

  #at(kind: SeriesKind, labels: string): Series {
    const found = this.#series.get(keyOf(kind, labels));
    if (found !== undefined) return found;
    if (this.#series.size < this.#limit) return this.#add(kind, labels);
    this.overflowed++;
    const rest = overflowLabels[kind];
    return this.#series.get(keyOf(kind, rest)) ?? this.#add(kind, rest);
  }

  #add(kind: SeriesKind, labels: string): Series {
    const made = makeSeries(kind, labels);
    this.#series.set(keyOf(kind, labels), made);
    return made;
  }
}
