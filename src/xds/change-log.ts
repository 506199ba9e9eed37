// What has changed since when, shared by all connections: each keeps only its place in the log. A connection that
// reads slowly thus costs nothing but its place, and finds several changes of one name merged into one.

interface Entry {
  readonly seq: number;
  readonly name: string;
}

export class ChangeLog {
  /** In order of seq. Entries whose name has changed again since are stale and are passed over. */
  #entries: Entry[] = [];
  readonly #latest = new Map<string, number>();
  readonly #limit: number;
  #head = 0;
  /** Places below this one are gone. */
  #base = 0;

  /** `limit`: how many names are kept for the slowest reader. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** The place of a reader that has seen everything. */
  get head(): number {
    return this.#head;
  }

  /** How many names are kept. */
  get size(): number {
    return this.#latest.size;
  }

  append(names: Iterable<string>): void {
    const seq = ++this.#head;
    for (const name of names) {
      this.#latest.set(name, seq);
      this.#entries.push({ seq, name });
    }
    if (this.#latest.size > this.#limit) this.#forget(this.#limit);
    else if (this.#entries.length > 2 * this.#latest.size + 1024) this.#compact();
  }

  /** The names that have changed after `place`, each once; undefined if the log does not reach back that far. */
  since(place: number): readonly string[] | undefined {
    if (place < this.#base) return undefined;
    const names: string[] = [];
    for (let i = this.#after(place); i < this.#entries.length; i++) {
      const { seq, name } = this.#entries[i] as Entry;
      if (this.#latest.get(name) === seq) names.push(name);
    }
    return names;
  }

  /** Lets go of what every reader has seen. */
  trim(place: number): void {
    if (place <= this.#base) return;
    const end = this.#after(place);
    for (const { seq, name } of this.#entries.slice(0, end))
      if (this.#latest.get(name) === seq) this.#latest.delete(name);
    this.#entries = this.#entries.slice(end);
    this.#base = place;
  }

  /** Index of the first entry beyond `place`. */
  #after(place: number): number {
    let low = 0;
    let high = this.#entries.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#entries[middle] as Entry).seq <= place) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #compact(): void {
    this.#entries = this.#entries.filter(({ seq, name }) => this.#latest.get(name) === seq);
  }

  /** Drops the oldest batches until at most half of `keep` names are left: readers behind them have to start over. */
  #forget(keep: number): void {
    this.#compact();
    const cut = this.#entries[Math.max(0, this.#entries.length - Math.floor(keep / 2)) - 1];
    if (cut !== undefined) this.trim(cut.seq);
  }
}
