// What has to be done before the program counts as ready. Ready again means: nothing is pending now.

export class Readiness {
  readonly #pending: Set<string>;

  constructor(tasks: readonly string[]) {
    this.#pending = new Set(tasks);
  }

  set(task: string, done: boolean): void {
    if (done) this.#pending.delete(task);
    else this.#pending.add(task);
  }

  /** Sorted; empty when ready. */
  get pending(): readonly string[] {
    return [...this.#pending].sort();
  }
}
