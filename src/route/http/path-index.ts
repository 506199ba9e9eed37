// The entries of one table, found by path. Prefixes are looked up only at the lengths that some prefix has, so that a
// look-up costs as much as the path is long, however many rules there are. Changed in place, entry by entry.
import { Bucket } from './bucket.ts';
import type { MatchInput } from './match-input.ts';
import { compareListed, compareSpecific, type EntryOrder, type RouteEntry } from './route-entry.ts';

/** Prefixes of one kind, by their text, and how many there are of each length. */
class Prefixes {
  readonly buckets = new Map<string, Bucket>();
  readonly lengths: number[] = [];
  longest = 0;

  changed(length: number, by: 1 | -1): void {
    while (this.lengths.length <= length) this.lengths.push(0);
    this.lengths[length] = (this.lengths[length] as number) + by;
    this.longest = this.lengths.length - 1;
    while (this.longest > 0 && this.lengths[this.longest] === 0) this.longest--;
  }
}

const slash = 47;

export class PathIndex {
  readonly #listed: boolean;
  readonly #compare: EntryOrder;
  readonly #exact = new Map<string, Bucket>();
  readonly #elements = new Prefixes();
  readonly #prefixes = new Prefixes();
  /** Regular expressions, by the text that they begin with. */
  readonly #starts = new Prefixes();
  /** Found by trying each: other regular expressions, suffixes, paths without regard to case. */
  readonly #others: Bucket;
  readonly #every: Bucket;
  size = 0;

  constructor(precedence: 'specificity' | 'listed') {
    this.#listed = precedence === 'listed';
    this.#compare = this.#listed ? compareListed : compareSpecific;
    this.#others = new Bucket(this.#compare);
    this.#every = new Bucket(this.#compare);
  }

  add(entry: RouteEntry): void {
    this.#bucket(entry, true)?.add(entry);
    this.size++;
  }

  remove(entry: RouteEntry): void {
    const bucket = this.#bucket(entry, false);
    if (bucket === undefined) return;
    const before = bucket.size;
    bucket.remove(entry);
    this.size -= before - bucket.size;
    const { path } = entry;
    if (bucket.size > 0 || bucket === this.#every || bucket === this.#others || path.kind === 'every') return;
    const text = path.kind === 'other' ? path.start : path.value;
    const prefixes = this.#prefixesFor(path.kind);
    (prefixes?.buckets ?? this.#exact).delete(text);
    prefixes?.changed(text.length, -1);
  }

  #bucket({ path }: RouteEntry, make: boolean): Bucket | undefined {
    if (path.kind === 'every') return this.#every;
    if (path.kind === 'other' && path.start === '') return this.#others;
    const text = path.kind === 'other' ? path.start : path.value;
    const prefixes = this.#prefixesFor(path.kind);
    let bucket = (prefixes?.buckets ?? this.#exact).get(text);
    if (bucket === undefined && make) {
      bucket = new Bucket(this.#compare);
      (prefixes?.buckets ?? this.#exact).set(text, bucket);
      prefixes?.changed(text.length, 1);
    }
    return bucket;
  }

  #prefixesFor(kind: 'exact' | 'elements' | 'prefix' | 'other'): Prefixes | undefined {
    switch (kind) {
      case 'exact':
        return undefined;
      case 'elements':
        return this.#elements;
      case 'prefix':
        return this.#prefixes;
      case 'other':
        return this.#starts;
    }
  }

  find(input: MatchInput): RouteEntry | undefined {
    const { path } = input.request;
    let best = this.#exact.get(path)?.better(undefined, input);
    if (best !== undefined && !this.#listed) return best;
    const elements = this.#elements;
    const prefixes = this.#prefixes;
    let length = Math.min(path.length, Math.max(elements.longest, prefixes.longest));
    for (; length > 0; length--) {
      const whole =
        length <= elements.longest &&
        (elements.lengths[length] as number) > 0 &&
        (length === path.length || path.charCodeAt(length) === slash);
      const part = length <= prefixes.longest && (prefixes.lengths[length] as number) > 0;
      if (!whole && !part) continue;
      const text = path.slice(0, length);
      if (whole) best = elements.buckets.get(text)?.better(best, input) ?? best;
      if (part) best = prefixes.buckets.get(text)?.better(best, input) ?? best;
      if (best !== undefined && !this.#listed) return best;
    }
    best = this.#others.better(best, input);
    const starts = this.#starts;
    for (length = Math.min(path.length, starts.longest); length > 0; length--)
      if ((starts.lengths[length] as number) > 0)
        best = starts.buckets.get(path.slice(0, length))?.better(best, input) ?? best;
    if (best !== undefined && !this.#listed) return best;
    return this.#every.better(best, input);
  }
}
