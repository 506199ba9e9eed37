// A map with a limit: the entry that was used longest ago leaves first.

export class Lru<K, V> {
  #map = new Map<K, V>();
  /** How many entries have left because of the limit. */
  evicted = 0;
  readonly limit: number;
  readonly #onEvict: ((key: K, value: V) => void) | undefined;

  constructor(limit: number, onEvict?: (key: K, value: V) => void) {
    this.limit = limit;
    this.#onEvict = onEvict;
  }

  get(key: K): V | undefined {
    const value = this.#map.get(key);
    if (value !== undefined) {
      this.#map.delete(key);
      this.#map.set(key, value);
    }
    return value;
  }

  peek(key: K): V | undefined {
    return this.#map.get(key);
  }

  set(key: K, value: V): void {
    this.#map.delete(key);
    this.#map.set(key, value);
    if (this.#map.size > this.limit) {
      const [oldest, gone] = this.#map.entries().next().value as [K, V];
      this.#map.delete(oldest);
      this.evicted++;
      this.#onEvict?.(oldest, gone);
    }
  }

  delete(key: K): boolean {
    return this.#map.delete(key);
  }

  get size(): number {
    return this.#map.size;
  }

  keys(): MapIterator<K> {
    return this.#map.keys();
  }
}
