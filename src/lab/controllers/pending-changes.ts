// What a controller has created or deleted and its cache does not show yet. Until it does, the controller must not
// count again, or it would make the same pod twice.
export class PendingChanges {
  readonly #pending = new Map<string, Map<string, number>>();
  readonly #limitMs: number;
  readonly #now: () => number;

  constructor(limitMs = 10_000, now: () => number = Date.now) {
    this.#limitMs = limitMs;
    this.#now = now;
  }

  expect(owner: string, object: string): void {
    const own = this.#pending.get(owner) ?? new Map<string, number>();
    own.set(object, this.#now());
    this.#pending.set(owner, own);
  }

  seen(owner: string, object: string): void {
    const own = this.#pending.get(owner);
    if (own?.delete(object) === true && own.size === 0) this.#pending.delete(owner);
  }

  /** False while something is awaited. What was not seen in time is given up. */
  settled(owner: string): boolean {
    const own = this.#pending.get(owner);
    if (own === undefined) return true;
    for (const [object, since] of own) if (this.#now() - since > this.#limitMs) own.delete(object);
    if (own.size > 0) return false;
    this.#pending.delete(owner);
    return true;
  }
}
