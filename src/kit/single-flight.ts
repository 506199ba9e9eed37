// Joins concurrent calls for one key into one.

export class SingleFlight<K, V> {
  #flying = new Map<K, Promise<V>>();

  /** Runs `fn` unless a call for `key` is under way, then its result is shared, error included. */
  do(key: K, fn: () => Promise<V>): Promise<V> {
    const flying = this.#flying.get(key);
    if (flying !== undefined) return flying;
    const started = fn().finally(() => this.#flying.delete(key));
    this.#flying.set(key, started);
    return started;
  }

  get size(): number {
    return this.#flying.size;
  }
}
