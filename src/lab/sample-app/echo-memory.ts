// What an echo remembers between requests, for tests of retries and mirrors. Bounded: the oldest is forgotten first.

/** How a request fails on demand: with a status, with a connection that is cut, or without any answer. */
export type Failure = number | 'reset' | 'hang';

const mostKeys = 1000;
const mostOfOneKey = 2000;

function oldestOut(map: Map<string, unknown>): void {
  if (map.size < mostKeys) return;
  for (const key of map.keys()) {
    map.delete(key);
    return;
  }
}

export class EchoMemory {
  readonly #failures = new Map<string, number>();
  readonly #reports = new Map<string, unknown[]>();

  /** `key times status|reset|hang`: the first `times` requests with the key fail. Undefined: this one does not. */
  failure(wish: string | undefined): Failure | undefined {
    if (wish === undefined) return undefined;
    const [key = '', times = '', how = ''] = wish.split(' ');
    const failed = this.#failures.get(key) ?? 0;
    if (failed >= Number(times)) return undefined;
    if (failed === 0) oldestOut(this.#failures);
    this.#failures.set(key, failed + 1);
    return how === 'reset' || how === 'hang' ? how : Number(how);
  }

  remember(key: string | undefined, report: unknown): void {
    if (key === undefined) return;
    let reports = this.#reports.get(key);
    if (reports === undefined) {
      oldestOut(this.#reports);
      this.#reports.set(key, (reports = []));
    }
    if (reports.length < mostOfOneKey) reports.push(report);
  }

  recall(key: string): readonly unknown[] {
    return this.#reports.get(key) ?? [];
  }
}
