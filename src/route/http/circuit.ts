// Circuit breakers of a destination: what is open, against its limits. Counters only; the engine calls `admit` before
// it opens something and `release` when that is over. Upstream's limits are unlimited unless a DestinationRule sets them.
import type { ConnectionLimits, TrafficSettings } from '#/model/index.ts';

export const circuitKinds = ['connections', 'pending', 'requests', 'retries'] as const;
export type CircuitKind = (typeof circuitKinds)[number];

/** What the client gets when a limit is reached, as from Envoy. */
export const overflowResponse = {
  status: 503,
  flag: 'UO',
  body: 'upstream connect error or disconnect/reset before headers. reset reason: overflow',
  headers: [{ name: 'x-envoy-overloaded', value: 'true' }],
} as const;

/** Envoy's default of a retry budget, where one is set. */
const budgetMinimum = 3;

const unlimited = Number.POSITIVE_INFINITY;

const limitsOf = (limits: ConnectionLimits | undefined): Readonly<Record<CircuitKind, number>> => ({
  connections: limits?.maxConnections ?? unlimited,
  pending: limits?.maxPendingRequests ?? unlimited,
  requests: limits?.maxRequests ?? unlimited,
  retries: limits?.maxRetries ?? unlimited,
});

export class Circuit {
  #limits: Readonly<Record<CircuitKind, number>>;
  #budget: TrafficSettings['retryBudget'];
  readonly #open: Record<CircuitKind, number> = { connections: 0, pending: 0, requests: 0, retries: 0 };
  readonly #overflows: Record<CircuitKind, number> = { connections: 0, pending: 0, requests: 0, retries: 0 };

  constructor(settings: TrafficSettings = {}) {
    this.#limits = limitsOf(settings.limits);
    this.#budget = settings.retryBudget;
  }

  /** New limits hold from the next admission; what is open stays. */
  configure(settings: TrafficSettings): void {
    this.#limits = limitsOf(settings.limits);
    this.#budget = settings.retryBudget;
  }

  /** Counts one more, or says that the limit is reached: then nothing was counted, and there is nothing to release. */
  admit(kind: CircuitKind): boolean {
    if (this.#open[kind] >= this.#limit(kind)) {
      this.#overflows[kind]++;
      return false;
    }
    this.#open[kind]++;
    return true;
  }

  release(kind: CircuitKind): void {
    if (this.#open[kind] > 0) this.#open[kind]--;
  }

  open(kind: CircuitKind): number {
    return this.#open[kind];
  }

  /** How often the limit refused. */
  overflows(kind: CircuitKind): number {
    return this.#overflows[kind];
  }

  /** A budget takes the place of the fixed limit: a share of what is active and pending, and at least a few. */
  #limit(kind: CircuitKind): number {
    if (kind !== 'retries' || this.#budget === undefined) return this.#limits[kind];
    const active = this.#open.requests + this.#open.pending;
    const least = this.#budget.minRetryConcurrency > 0 ? this.#budget.minRetryConcurrency : budgetMinimum;
    return Math.max(least, Math.floor((active * this.#budget.percent) / 100));
  }
}
