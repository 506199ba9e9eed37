// The last changes of one collection, from which watches are served: a bounded ring. A reader that has fallen
// behind its oldest entry must list again; nothing is kept for a reader that does not read.
import type { Stored } from './collection.ts';

export interface Change {
  readonly rv: number;
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  /** The object after the change; for DELETED its last state, with the revision of the removal. */
  readonly now: Stored;
  readonly before: Stored | undefined;
}

export interface EventLogLimits {
  readonly entries: number;
  /** Characters of JSON. */
  readonly size: number;
}

export class EventLog {
  readonly #limits: EventLogLimits;
  /** A ring: entry `n` (counted from the start of the process) is at `n % capacity`. */
  #ring: (Change | undefined)[] = [];
  #first = 0;
  #next = 0;
  #size = 0;
  /** The revision after which everything is here. */
  #floor: number;

  constructor(floor: number, limits: EventLogLimits) {
    this.#floor = floor;
    this.#limits = limits;
  }

  get floor(): number {
    return this.#floor;
  }

  /** The number of the oldest entry, and one more than that of the newest. */
  get first(): number {
    return this.#first;
  }

  get next(): number {
    return this.#next;
  }

  push(change: Change): void {
    if (this.#next - this.#first >= this.#limits.entries) this.#drop();
    if (this.#next - this.#first >= this.#ring.length) this.#grow();
    this.#ring[this.#next % this.#ring.length] = change;
    this.#next++;
    this.#size += change.now.json.length;
    while (this.#size > this.#limits.size && this.#next - this.#first > 1) this.#drop();
  }

  at(n: number): Change | undefined {
    return n < this.#first || n >= this.#next ? undefined : this.#ring[n % this.#ring.length];
  }

  /** The number of the first change after revision `rv`; undefined if some of them are no longer here. */
  after(rv: number): number | undefined {
    if (rv < this.#floor) return undefined;
    let low = this.#first;
    let high = this.#next;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.at(middle) as Change).rv <= rv) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Forgets everything: what is older than `rv` can no longer be read. */
  clear(rv: number): void {
    this.#ring = [];
    this.#first = this.#next;
    this.#size = 0;
    this.#floor = rv;
  }

  #drop(): void {
    const index = this.#first % this.#ring.length;
    const oldest = this.#ring[index] as Change;
    this.#ring[index] = undefined;
    this.#first++;
    this.#size -= oldest.now.json.length;
    this.#floor = oldest.rv;
  }

  #grow(): void {
    const length = Math.max(64, this.#ring.length * 2);
    const ring: (Change | undefined)[] = Array.from({ length });
    for (let n = this.#first; n < this.#next; n++) ring[n % length] = this.at(n);
    this.#ring = ring;
  }
}
