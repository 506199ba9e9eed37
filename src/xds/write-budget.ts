// Bounds the bytes that are on their way to all clients together. A push of a whole mesh is tens of megabytes, and
// hundreds of clients come back at once when a server restarts: they take turns.

export class WriteBudget {
  readonly #limit: number;
  #used = 0;
  readonly #waiting = new Set<() => void>();

  constructor(limit: number) {
    this.#limit = limit;
  }

  get used(): number {
    return this.#used;
  }

  /** True if there is room; else `retry` is called, once, when there is. One message may go over the limit. */
  hasRoom(retry: () => void): boolean {
    if (this.#used < this.#limit) return true;
    this.#waiting.add(retry);
    return false;
  }

  /** Counts bytes until disposal (which may be called twice). */
  take(bytes: number): Disposable {
    this.#used += bytes;
    let held = true;
    return {
      [Symbol.dispose]: () => {
        if (!held) return;
        held = false;
        this.#used -= bytes;
        for (const retry of this.#waiting) {
          if (this.#used >= this.#limit) break;
          this.#waiting.delete(retry);
          retry();
        }
      },
    };
  }

  forget(retry: () => void): void {
    this.#waiting.delete(retry);
  }
}
