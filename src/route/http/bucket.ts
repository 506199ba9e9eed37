// Entries of one path. Those that want an exact value of a header are found by that value, so that a thousand rules for
// a thousand users cost one look-up; the others are tried in order.
import type { MatchInput } from './match-input.ts';
import { entryMatches, type EntryOrder, type RouteEntry } from './route-entry.ts';

function insert(list: RouteEntry[], entry: RouteEntry, compare: EntryOrder): void {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (compare(list[middle] as RouteEntry, entry) <= 0) low = middle + 1;
    else high = middle;
  }
  list.splice(low, 0, entry);
}

/** The first of a sorted list that matches, if it comes before `best`. */
function better(
  list: readonly RouteEntry[],
  best: RouteEntry | undefined,
  input: MatchInput,
  compare: EntryOrder,
): RouteEntry | undefined {
  for (let i = 0; i < list.length; i++) {
    const entry = list[i] as RouteEntry;
    if (best !== undefined && compare(entry, best) >= 0) return best;
    if (entryMatches(entry, input)) return entry;
  }
  return best;
}

interface HeaderIndex {
  readonly name: string;
  readonly values: Map<string, RouteEntry[]>;
}

export class Bucket {
  readonly #compare: EntryOrder;
  readonly #others: RouteEntry[] = [];
  readonly #byHeader: HeaderIndex[] = [];
  size = 0;

  constructor(compare: EntryOrder) {
    this.#compare = compare;
  }

  add(entry: RouteEntry): void {
    this.size++;
    const { headerKey } = entry;
    if (headerKey === undefined) {
      insert(this.#others, entry, this.#compare);
      return;
    }
    let index = this.#byHeader.find(({ name }) => name === headerKey.name);
    if (index === undefined) this.#byHeader.push((index = { name: headerKey.name, values: new Map() }));
    let list = index.values.get(headerKey.value);
    if (list === undefined) index.values.set(headerKey.value, (list = []));
    insert(list, entry, this.#compare);
  }

  remove(entry: RouteEntry): void {
    const { headerKey } = entry;
    const index = headerKey && this.#byHeader.find(({ name }) => name === headerKey.name);
    const list = headerKey === undefined ? this.#others : index?.values.get(headerKey.value);
    const at = list?.indexOf(entry) ?? -1;
    if (list === undefined || at < 0) return;
    list.splice(at, 1);
    this.size--;
    if (headerKey === undefined || index === undefined || list.length > 0) return;
    index.values.delete(headerKey.value);
    if (index.values.size === 0) this.#byHeader.splice(this.#byHeader.indexOf(index), 1);
  }

  /** The first of this bucket that matches, if it comes before `best`; else `best`. */
  better(best: RouteEntry | undefined, input: MatchInput): RouteEntry | undefined {
    let found = best;
    for (let i = 0; i < this.#byHeader.length; i++) {
      const { name, values } = this.#byHeader[i] as HeaderIndex;
      const value = input.header(name);
      const list = value === undefined ? undefined : values.get(value);
      if (list !== undefined) found = better(list, found, input, this.#compare);
    }
    return better(this.#others, found, input, this.#compare);
  }
}
