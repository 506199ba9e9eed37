// The numbers of one set of labels. Plain slots in one array: a request adds to a handful of them.
import type { MetricFamily } from '../families.ts';
import type { Sample } from '../open-metrics.ts';
import type { HttpExchangeRecord } from './exchange-record.ts';
import { istioBuckets, metricBit, type WaypointMetric } from './http-families.ts';
import { overflowLabels } from './http-labels.ts';

const bucketCount = istioBuckets.length + 1;

/** Slots; of a histogram: its sum, then a count for each bucket (not summed up). */
const slots: Readonly<Record<WaypointMetric, number>> = {
  tcpOpened: 0,
  tcpClosed: 1,
  tcpReceived: 2,
  tcpSent: 3,
  requests: 0,
  requestMessages: 1,
  responseMessages: 2,
  requestDuration: 3,
  requestBytes: 4 + bucketCount,
  responseBytes: 5 + 2 * bucketCount,
};
const sizes = { tcp: 4, http: 6 + 3 * bucketCount } as const;

const isTcp: ReadonlySet<WaypointMetric> = new Set(['tcpOpened', 'tcpClosed', 'tcpReceived', 'tcpSent']);

export type SeriesKind = keyof typeof sizes;

export interface Series {
  readonly kind: SeriesKind;
  labels: string;
  /** Bits of the metrics that were counted. */
  seen: number;
  counts: Float64Array;
  /** Changed since the last drain. */
  dirty: boolean;
  /** Connections that hold on to it. */
  users: number;
  /** No longer in the table. */
  dropped: boolean;
  /** Takes what is beyond the limit. */
  readonly overflow: boolean;
  /** Uids of the workloads of the last request. */
  source: string | undefined;
  destination: string | undefined;
  lastSeen: number;
}

export const makeSeries = (kind: SeriesKind, labels: string): Series => ({
  kind,
  labels,
  seen: 0,
  counts: new Float64Array(sizes[kind]),
  dirty: false,
  users: 0,
  dropped: false,
  overflow: labels === overflowLabels[kind],
  source: undefined,
  destination: undefined,
  lastSeen: 0,
});

const nothing = new Float64Array(0);

/** A cache may still hold it: it keeps nothing. */
export function dropSeries(series: Series): void {
  series.dropped = true;
  series.counts = nothing;
  series.labels = '';
}

const bump = (counts: Float64Array, slot: number, by: number): void => {
  counts[slot] = (counts[slot] as number) + by;
};

function observe(counts: Float64Array, slot: number, value: number): void {
  bump(counts, slot, value);
  let bucket = 0;
  while (bucket < istioBuckets.length && value > (istioBuckets[bucket] as number)) bucket++;
  bump(counts, slot + 1 + bucket, 1);
}

export function addTo(series: Series, metric: WaypointMetric, by: number): void {
  series.seen |= metricBit[metric];
  series.dirty = true;
  bump(series.counts, slots[metric], by);
}

/** `metrics`: bits of those to count. */
export function addRequest(series: Series, metrics: number, record: HttpExchangeRecord): void {
  const { counts } = series;
  let seen = 0;
  if ((metrics & metricBit.requests) !== 0) {
    bump(counts, slots.requests, 1);
    seen |= metricBit.requests;
  }
  if ((metrics & metricBit.requestDuration) !== 0) {
    observe(counts, slots.requestDuration, Math.max(0, Math.floor(record.durationMs)));
    seen |= metricBit.requestDuration;
  }
  if ((metrics & metricBit.requestBytes) !== 0) {
    observe(counts, slots.requestBytes, record.bytesReceived);
    seen |= metricBit.requestBytes;
  }
  if ((metrics & metricBit.responseBytes) !== 0) {
    observe(counts, slots.responseBytes, record.bytesSent);
    seen |= metricBit.responseBytes;
  }
  if (record.grpc) {
    if (record.requestMessages !== undefined && (metrics & metricBit.requestMessages) !== 0) {
      bump(counts, slots.requestMessages, record.requestMessages);
      seen |= metricBit.requestMessages;
    }
    if (record.responseMessages !== undefined && (metrics & metricBit.responseMessages) !== 0) {
      bump(counts, slots.responseMessages, record.responseMessages);
      seen |= metricBit.responseMessages;
    }
  }
  series.seen |= seen;
  series.dirty = true;
}

export function mergeCounts(series: Series, seen: number, counts: Float64Array): void {
  series.seen |= seen;
  series.dirty = true;
  for (let i = 0; i < counts.length; i++) bump(series.counts, i, counts[i] as number);
}

/** The samples of one metric; none if it was not counted under these labels. */
export function* seriesSamples(
  series: Series,
  metric: WaypointMetric,
  family: MetricFamily,
): IterableIterator<Sample> {
  const { labels, counts, kind } = series;
  if ((series.seen & metricBit[metric]) === 0 || (kind === 'tcp') !== isTcp.has(metric)) return;
  const slot = slots[metric];
  const value = counts[slot] as number;
  if (family.type !== 'histogram') {
    yield { suffix: '_total', labels, value };
    return;
  }
  const join = labels === '' ? '' : `${labels},`;
  let count = 0;
  for (let bucket = 0; bucket < bucketCount; bucket++) {
    count += counts[slot + 1 + bucket] as number;
    yield { suffix: '_bucket', labels: `${join}le="${istioBuckets[bucket] ?? '+Inf'}"`, value: count };
  }
  yield { suffix: '_sum', labels, value };
  yield { suffix: '_count', labels, value: count };
}
