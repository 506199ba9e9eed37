// Bytes from one channel to the other, both ways, until both directions have ended: half-closes and back-pressure
// pass through, and what one side cut off is cut off on the other.
import type { ByteChannel, ByteSink } from '#/http/index.ts';
import { h2Error } from '#/tunnel/index.ts';

export interface JoinResult {
  /** Bytes from the first channel to the second, and back. */
  readonly forth: number;
  readonly back: number;
  /** Absent: both sides ended in order. `side` is the one that was cut off. */
  readonly failure?: { readonly side: 'first' | 'second'; readonly message: string };
}

export interface Joined {
  readonly forth: number;
  readonly back: number;
  /** Ends both sides at once. */
  abort(): void;
}

class Direction implements ByteSink {
  readonly #from: ByteChannel;
  readonly #to: ByteChannel;
  readonly #over: (message: string | undefined) => void;
  /** The other direction: it hears of our writer's readiness. */
  opposite: Direction | undefined;
  bytes = 0;
  done = false;
  #credit = 0;

  constructor(from: ByteChannel, to: ByteChannel, over: (message: string | undefined) => void) {
    this.#from = from;
    this.#to = to;
    this.#over = over;
  }

  data(chunk: Buffer): void {
    this.bytes += chunk.length;
    this.#credit += chunk.length;
    if (this.#to.write(chunk)) this.giveBack();
  }

  ended(): void {
    this.done = true;
    this.#to.end();
    if (this.opposite?.done === true) this.#over(undefined);
  }

  /** `from` takes bytes again: the opposite direction writes to it. */
  writable(): void {
    this.opposite?.giveBack();
  }

  closed(reason?: { readonly message: string }): void {
    // Nobody takes it any more; the window is also that of other channels on the connection.
    this.giveBack();
    this.opposite?.giveBack();
    if (reason === undefined && this.done && this.opposite?.done === true) return;
    this.#over(reason?.message ?? 'the connection was closed');
  }

  /** What was received has gone on. */
  giveBack(): void {
    const credit = this.#credit;
    this.#credit = 0;
    if (credit > 0) this.#from.consumed(credit);
  }
}

/** Takes over both channels; `finished` is called once. */
export function joinChannels(
  first: ByteChannel,
  second: ByteChannel,
  finished: (result: JoinResult) => void,
): Joined {
  let told = false;
  const finish = (failure: JoinResult['failure']): void => {
    if (told) return;
    told = true;
    finished({ forth: forth.bytes, back: back.bytes, ...(failure === undefined ? {} : { failure }) });
  };
  const forth: Direction = new Direction(first, second, (message) => {
    // Told before the other side hears of it, which would answer that it was the one.
    finish(message === undefined ? undefined : { side: 'first', message });
    if (message !== undefined) second.reset(h2Error.cancel);
  });
  const back: Direction = new Direction(second, first, (message) => {
    finish(message === undefined ? undefined : { side: 'second', message });
    if (message !== undefined) first.reset(h2Error.cancel);
  });
  forth.opposite = back;
  back.opposite = forth;
  first.sink = forth;
  second.sink = back;
  return {
    get forth() {
      return forth.bytes;
    },
    get back() {
      return back.bytes;
    },
    abort: () => {
      forth.giveBack();
      back.giveBack();
      finish({ side: 'first', message: 'the connection was ended' });
      first.reset(h2Error.cancel);
      second.reset(h2Error.cancel);
    },
  };
}
