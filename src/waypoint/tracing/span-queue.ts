// Spans on their way out: a queue with a limit, sent in batches, one at a time. A request only ever adds to an array;
// a collector that is slow or dead costs spans, which are counted, and nothing else.
import { errorText } from '#/errors/index.ts';
import type { Clock, Logger } from '#/kit/index.ts';
import type { FinishedSpan, SpanExporter } from './span.ts';

export interface SpanQueueOptions {
  readonly exporter: SpanExporter;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Spans that wait. Default 4096. */
  readonly limit?: number;
  /** Default 512. */
  readonly batchSize?: number;
  /** A batch that is not full waits this long. Default 1000. */
  readonly intervalMs?: number;
}

export interface SpanCounts {
  readonly exported: number;
  /** The queue was full, or closed. */
  readonly dropped: number;
  /** The collector did not take them. */
  readonly failed: number;
}

const quietMs = 60_000;

export class SpanQueue {
  readonly #options: Required<SpanQueueOptions>;
  #waiting: FinishedSpan[] = [];
  #timer: Disposable | undefined;
  #sending: Promise<void> | undefined;
  #closed = false;
  #exported = 0;
  #dropped = 0;
  #failed = 0;
  #toldAt = Number.NEGATIVE_INFINITY;

  constructor(options: SpanQueueOptions) {
    this.#options = { limit: 4096, batchSize: 512, intervalMs: 1000, ...options };
  }

  get counts(): SpanCounts {
    return { exported: this.#exported, dropped: this.#dropped, failed: this.#failed };
  }

  /** Never waits, never throws. */
  add(span: FinishedSpan): void {
    if (this.#closed || this.#waiting.length >= this.#options.limit) {
      this.#dropped++;
      return;
    }
    this.#waiting.push(span);
    this.#plan();
  }

  /** Sends what waits, for at most `deadlineMs`; what is left is counted as dropped. */
  async close(deadlineMs: number): Promise<void> {
    this.#closed = true;
    this.#timer?.[Symbol.dispose]();
    const { clock, exporter } = this.#options;
    const deadline = new AbortController();
    const late = clock.after(deadlineMs, () => deadline.abort());
    const over = new Promise<void>((resolve) => {
      deadline.signal.addEventListener('abort', () => resolve(), { once: true });
    });
    while (!deadline.signal.aborted && (this.#sending !== undefined || this.#waiting.length > 0))
      await Promise.race([this.#sending ?? this.#send(), over]);
    this.#dropped += this.#waiting.length;
    this.#waiting = [];
    await Promise.race([exporter.close().catch(() => undefined), over]);
    late[Symbol.dispose]();
  }

  #plan(): void {
    const { batchSize, clock, intervalMs } = this.#options;
    if (this.#sending !== undefined || this.#closed) return;
    if (this.#waiting.length >= batchSize) {
      this.#timer?.[Symbol.dispose]();
      this.#timer = undefined;
      void this.#send();
    } else
      this.#timer ??= clock.after(intervalMs, () => {
        this.#timer = undefined;
        if (this.#sending === undefined) void this.#send();
      });
  }

  /** Does not reject. */
  #send(): Promise<void> {
    const batch = this.#waiting.splice(0, this.#options.batchSize);
    if (batch.length === 0) return Promise.resolve();
    this.#sending = this.#export(batch).finally(() => {
      this.#sending = undefined;
      if (this.#waiting.length > 0) this.#plan();
    });
    return this.#sending;
  }

  async #export(batch: readonly FinishedSpan[]): Promise<void> {
    const { clock, exporter, logger } = this.#options;
    try {
      await exporter.export(batch);
      this.#exported += batch.length;
    } catch (error) {
      this.#failed += batch.length;
      // A dead collector is told of once a minute, not once a batch.
      if (clock.now() - this.#toldAt < quietMs) return;
      this.#toldAt = clock.now();
      logger.warn('spans could not be exported', { spans: this.#failed, error: errorText(error) });
    }
  }
}
