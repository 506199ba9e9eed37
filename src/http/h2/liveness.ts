// What time does to a connection: headers that do not come to their end, idleness, answers that nobody takes, and a
// peer that is silent. Looked at in steps of half the shortest limit, so that no frame sets a timer.
import { h2Error, type H2Session, type H2Stream } from '#/tunnel/index.ts';
import type { ResolvedOptions } from './options.ts';

interface Waiting {
  readonly bytes: number;
  readonly since: number;
}

export class Liveness implements Disposable {
  readonly #session: H2Session;
  readonly #options: ResolvedOptions;
  readonly #abort: () => void;
  readonly #stepMs: number;
  #watch: Disposable | undefined;
  #keepalive: Disposable | undefined;
  /** Bytes have come since this was set to false. */
  heard = false;

  #owed: number | undefined;
  #owedSince = 0;
  #lastStream = -1;
  #idleSince = 0;
  /** Streams that end behind bytes that wait: how many waited, and since when. */
  #waiting = new Map<H2Stream, Waiting>();

  /** @param abort ends the transport of a session that was closed without a word */
  constructor(session: H2Session, options: ResolvedOptions, abort: () => void) {
    this.#session = session;
    this.#options = options;
    this.#abort = abort;
    const { headTimeoutMs, idleTimeoutMs } = options.limits;
    this.#stepMs = Math.max(1, Math.min(headTimeoutMs, idleTimeoutMs, options.flushTimeoutMs) >> 1);
    this.#owedSince = this.#idleSince = options.clock.now();
    this.#owed = session.owed;
    this.#next();
    if (options.keepalive !== undefined) this.#listen(options.keepalive);
  }

  [Symbol.dispose](): void {
    this.#watch?.[Symbol.dispose]();
    this.#keepalive?.[Symbol.dispose]();
    this.#waiting.clear();
  }

  #next(): void {
    this.#watch = this.#options.clock.after(this.#stepMs, () => {
      const now = this.#options.clock.now();
      this.#checkOwed(now);
      this.#checkWaiting(now);
      this.#checkIdle(now);
      if (!this.#session.closed) this.#next();
    });
  }

  #checkOwed(now: number): void {
    const { owed, settingsSeen } = this.#session;
    if (owed !== this.#owed) {
      this.#owed = owed;
      this.#owedSince = now;
    }
    if (owed === undefined || now - this.#owedSince < this.#options.limits.headTimeoutMs) return;
    if (settingsSeen) this.#session.close(h2Error.enhanceYourCalm, 'a header block does not come to its end');
    else this.#session.close(h2Error.settingsTimeout, 'the peer has not sent its SETTINGS');
  }

  #checkWaiting(now: number): void {
    const waiting = new Map<H2Stream, Waiting>();
    for (const stream of this.#session.streams.values()) {
      if (!stream.endPending) continue;
      const before = this.#waiting.get(stream);
      const since = before?.bytes === stream.pendingBytes ? before.since : now;
      if (now - since >= this.#options.flushTimeoutMs)
        this.#session.fault(stream, h2Error.cancel, 'the peer does not take the rest of the answer');
      else waiting.set(stream, { bytes: stream.pendingBytes, since });
    }
    this.#waiting = waiting;
  }

  #checkIdle(now: number): void {
    const { streams, numbers } = this.#session;
    const last = numbers.next + numbers.lastPeer;
    if (streams.size > 0 || last !== this.#lastStream) {
      this.#lastStream = last;
      this.#idleSince = now;
    } else if (now - this.#idleSince >= this.#options.limits.idleTimeoutMs) this.#session.drain();
  }

  #listen(keepalive: NonNullable<ResolvedOptions['keepalive']>): void {
    this.heard = false;
    this.#keepalive = this.#options.clock.after(keepalive.intervalMs, () => {
      if (this.heard) this.#listen(keepalive);
      else this.#probe(keepalive);
    });
  }

  #probe(keepalive: NonNullable<ResolvedOptions['keepalive']>): void {
    this.#session.ping();
    this.#keepalive = this.#options.clock.after(keepalive.timeoutMs, () => {
      if (this.heard) {
        this.#listen(keepalive);
        return;
      }
      this.#session.close(h2Error.internalError, 'the peer does not answer', false);
      this.#abort();
    });
  }
}
