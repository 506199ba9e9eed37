// What a peer may make a session do for nothing: frames that carry nothing, and streams that are given up before they
// are answered. Each has an allowance, which grows back with time and with the work that was worth it, so that a peer
// that keeps to the protocol never meets it. A count is all that a frame costs; the rest is worked out at the limit.

export interface FloodLimits {
  /** PING, SETTINGS, PRIORITY, WINDOW_UPDATE, empty DATA and the like, beyond what streams and data account for. */
  readonly maxEmptyFrames: number;
  /** Streams that the peer resets, or breaks, before their answer is complete, beyond those that end in order. */
  readonly maxPrematureResets: number;
  /** By so many a second both allowances grow back. */
  readonly perSecond: number;
  /** Milliseconds. */
  now(): number;
}

class Allowance {
  readonly #limit: number;
  readonly #limits: FloodLimits;
  /** Things that were worth it, since the session began. */
  readonly #earned: () => number;
  #used = 0;
  #earnedAt = 0;
  #at: number;

  constructor(limit: number, limits: FloodLimits, earned: () => number) {
    this.#limit = limit;
    this.#limits = limits;
    this.#earned = earned;
    this.#at = limits.now();
  }

  /** False: there is none left. */
  take(): boolean {
    if (++this.#used <= this.#limit) return true;
    const now = this.#limits.now();
    const earned = this.#earned();
    const back = earned - this.#earnedAt + Math.floor(((now - this.#at) * this.#limits.perSecond) / 1000);
    if (back > 0) {
      this.#used = Math.max(0, this.#used - back);
      this.#earnedAt = earned;
      this.#at = now;
    }
    return this.#used <= this.#limit;
  }
}

/** What a session has done that was worth its frames, counted since it began. */
export interface Work {
  readonly streams: number;
  readonly endedInOrder: number;
  readonly dataLaid: number;
}

export class FloodGuard {
  readonly #frames: Allowance;
  readonly #resets: Allowance;
  readonly #end: (message: string) => void;

  /** @param end ends the session */
  constructor(limits: FloodLimits, work: () => Work, end: (message: string) => void) {
    // A peer may answer data with credit for stream and connection, and measure its way with a PING.
    const earnedFrames = (): number => {
      const { streams, dataLaid } = work();
      return 4 * dataLaid + 8 * streams;
    };
    this.#frames = new Allowance(limits.maxEmptyFrames, limits, earnedFrames);
    this.#resets = new Allowance(limits.maxPrematureResets, limits, () => work().endedInOrder);
    this.#end = end;
  }

  /** A frame that carries nothing. */
  emptyFrame(): void {
    if (!this.#frames.take()) this.#end('too many frames that carry nothing');
  }

  /** A stream given up. */
  givenUp(): void {
    if (!this.#resets.take()) this.#end('too many streams are given up before they are answered');
  }
}
