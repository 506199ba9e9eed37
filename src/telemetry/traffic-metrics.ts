// The TCP metrics. A connection finds its series once and then only adds to numbers. Workers count for themselves;
// what they counted is drained as plain data and merged into the main thread's.
import type { ResponseFlag } from '#/errors/index.ts';
import { families, type MetricFamily } from './families.ts';
import type { CollectedFamily, Sample } from './open-metrics.ts';
import { labelsWithFlag, trafficLabels, type Reporter, type TrafficLabels } from './traffic-labels.ts';

/** The numbers of one set of labels. A user adds to them directly. */
export interface TrafficCounts {
  opened: number;
  closed: number;
  failed: number;
  /** Client to server, whoever reports. */
  received: number;
  /** Server to client, whoever reports. */
  sent: number;
}

interface Series extends TrafficCounts {
  readonly labels: string;
  /** Connections that hold on to it. */
  users: number;
  /** No longer in the table. */
  dropped: boolean;
}

/** A series that a connection holds on to until it is disposed. */
export interface TrafficSeries extends Disposable {
  readonly counts: TrafficCounts;
}

export interface TrafficDelta {
  readonly series: readonly ({ readonly labels: string } & Readonly<TrafficCounts>)[];
  /** Differences. */
  readonly socketsOpen: Readonly<Record<Reporter, number>>;
  readonly overflowed: number;
}

export interface TrafficMetricsOptions {
  /** Sets of labels that are counted apart; those beyond it are counted as unknown. Default 10 000. */
  readonly limit?: number;
}

const countOf: readonly (readonly [MetricFamily, keyof TrafficCounts, keyof TrafficCounts])[] = [
  [families.connectionsOpened, 'opened', 'opened'],
  [families.connectionsClosed, 'closed', 'closed'],
  // Printed, though nothing may have been sent, for each series that connections were opened under.
  [families.receivedBytes, 'received', 'opened'],
  [families.sentBytes, 'sent', 'opened'],
  [families.connectionsFailed, 'failed', 'failed'],
];

const isIdle = (series: Series): boolean =>
  series.opened === 0 &&
  series.closed === 0 &&
  series.failed === 0 &&
  series.received === 0 &&
  series.sent === 0;

export class TrafficMetrics {
  readonly #series = new Map<string, Series>();
  // By the labels' own object, so that a long text is not hashed for every connection.
  #unflagged = new WeakMap<TrafficLabels, Series>();
  readonly #socketsOpen: Record<Reporter, number> = { source: 0, destination: 0 };
  readonly #socketsSeen = new Set<Reporter>();
  readonly #limit: number;
  /** Times that labels were given up for unknown ones because of the limit. */
  overflowed = 0;

  constructor(options: TrafficMetricsOptions = {}) {
    this.#limit = options.limit ?? 10_000;
  }

  get size(): number {
    return this.#series.size;
  }

  /** The series of a connection that is open. */
  hold(labels: TrafficLabels): TrafficSeries {
    let series = this.#unflagged.get(labels);
    if (series === undefined || series.dropped) {
      series = this.#at(labelsWithFlag(labels, '-'), labels.reporter);
      this.#unflagged.set(labels, series);
    }
    const held = series;
    held.users++;
    let done = false;
    return {
      counts: held,
      [Symbol.dispose]: () => {
        if (!done) held.users--;
        done = true;
      },
    };
  }

  /** The numbers under a flag; for one addition, not to be kept. */
  flagged(labels: TrafficLabels, flag: ResponseFlag): TrafficCounts {
    return this.#at(labelsWithFlag(labels, flag), labels.reporter);
  }

  /** Counts a socket as open until the result is disposed. */
  socketOpened(reporter: Reporter): Disposable {
    this.#socketsSeen.add(reporter);
    this.#socketsOpen[reporter]++;
    let open = true;
    return {
      [Symbol.dispose]: () => {
        if (open) this.#socketsOpen[reporter]--;
        open = false;
      },
    };
  }

  /** What was counted since the last drain. Series that no connection holds leave the table. */
  drain(): TrafficDelta {
    const drained: TrafficDelta['series'][number][] = [];
    for (const [key, series] of this.#series) {
      if (!isIdle(series)) {
        const { labels, opened, closed, failed, received, sent } = series;
        drained.push({ labels, opened, closed, failed, received, sent });
        series.opened = series.closed = series.failed = series.received = series.sent = 0;
      }
      if (series.users > 0) continue;
      series.dropped = true;
      this.#series.delete(key);
    }
    const delta = { series: drained, socketsOpen: { ...this.#socketsOpen }, overflowed: this.overflowed };
    this.#socketsOpen.source = this.#socketsOpen.destination = 0;
    this.overflowed = 0;
    return delta;
  }

  /** Adds what another has drained. */
  merge(delta: TrafficDelta): void {
    for (const { labels, opened, closed, failed, received, sent } of delta.series) {
      const reporter: Reporter = labels.startsWith('reporter="source"') ? 'source' : 'destination';
      const series = this.#at(labels, reporter);
      series.opened += opened;
      series.closed += closed;
      series.failed += failed;
      series.received += received;
      series.sent += sent;
      this.#socketsSeen.add(reporter);
    }
    for (const reporter of ['source', 'destination'] as const) {
      if (delta.socketsOpen[reporter] !== 0) this.#socketsSeen.add(reporter);
      this.#socketsOpen[reporter] += delta.socketsOpen[reporter];
    }
    this.overflowed += delta.overflowed;
  }

  *collect(): IterableIterator<CollectedFamily> {
    for (const [family, count, shown] of countOf) yield { family, samples: this.#samples(count, shown) };
    yield { family: families.socketsOpen, samples: this.#sockets() };
    if (this.overflowed > 0)
      yield {
        family: families.seriesOverflow,
        samples: [{ suffix: '_total', labels: '', value: this.overflowed }],
      };
  }

  *#samples(count: keyof TrafficCounts, shown: keyof TrafficCounts): IterableIterator<Sample> {
    for (const series of this.#series.values())
      if (series[shown] > 0) yield { suffix: '_total', labels: series.labels, value: series[count] };
  }

  *#sockets(): IterableIterator<Sample> {
    for (const reporter of this.#socketsSeen)
      yield { suffix: '', labels: `reporter="${reporter}"`, value: this.#socketsOpen[reporter] };
  }

  #at(labels: string, reporter: Reporter): Series {
    const found = this.#series.get(labels);
    if (found !== undefined) return found;
    let key = labels;
    if (this.#series.size >= this.#limit) {
      this.overflowed++;
      key = labelsWithFlag(trafficLabels({ reporter, mutualTls: false }), '-');
      const rest = this.#series.get(key);
      if (rest !== undefined) return rest;
    }
    const made = {
      labels: key,
      opened: 0,
      closed: 0,
      failed: 0,
      received: 0,
      sent: 0,
      users: 0,
      dropped: false,
    };
    this.#series.set(key, made);
    return made;
  }
}
