// A map from a key to its values in order. Nearly every key has one value, which then costs no array.

export class OneOrMany<K, V extends object> {
  readonly #map = new Map<K, V | V[]>();
  readonly #compare: (a: V, b: V) => number;

  constructor(compare: (a: V, b: V) => number) {
    this.#compare = compare;
  }

  get size(): number {
    return this.#map.size;
  }

  first(key: K): V | undefined {
    const found = this.#map.get(key);
    return Array.isArray(found) ? found[0] : found;
  }

  /** The values in order; not to be kept. */
  all(key: K): readonly V[] {
    const found = this.#map.get(key);
    return found === undefined ? [] : Array.isArray(found) ? found : [found];
  }

  /** Adding a value again changes nothing. */
  add(key: K, value: V): void {
    const found = this.#map.get(key);
    if (found === undefined) this.#map.set(key, value);
    else if (Array.isArray(found)) {
      if (!found.includes(value)) insert(found, value, this.#compare);
    } else if (found !== value) this.#map.set(key, insert([found], value, this.#compare));
  }

  remove(key: K, value: V): void {
    const found = this.#map.get(key);
    if (found === value) this.#map.delete(key);
    else if (Array.isArray(found)) {
      const index = found.indexOf(value);
      if (index >= 0) found.splice(index, 1);
      if (found.length === 1) this.#map.set(key, found[0] as V);
    }
  }
}

function insert<V>(sorted: V[], value: V, compare: (a: V, b: V) => number): V[] {
  const index = sorted.findIndex((other) => compare(value, other) < 0);
  sorted.splice(index < 0 ? sorted.length : index, 0, value);
  return sorted;
}
