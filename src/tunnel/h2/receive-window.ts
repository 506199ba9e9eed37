// What a peer may still send, on a stream or on the whole connection. Credit is given back in large steps, so that
// a stream of small frames does not cost a WINDOW_UPDATE each.

export class ReceiveWindow {
  #left: number;
  readonly #step: number;
  #uncredited = 0;

  /** @param left what the peer may use now; `size`: the window as it is meant to be */
  constructor(left: number, size: number) {
    this.#left = left;
    this.#step = Math.max(1, size >> 1);
  }

  /** Bytes have come. False: more than the peer was allowed. */
  take(bytes: number): boolean {
    this.#left -= bytes;
    return this.#left >= 0;
  }

  /** Bytes have gone on. Returns the increment to announce now, or 0. */
  credit(bytes: number): number {
    this.#uncredited += bytes;
    // While stalled streams hold much of a connection's window, the rest may never add up to a whole step: the
    // others would wait for credit, and the credit for their bytes.
    if (this.#uncredited < this.#step && this.#uncredited < this.#left) return 0;
    const increment = this.#uncredited;
    this.#left += increment;
    this.#uncredited = 0;
    return increment;
  }
}
