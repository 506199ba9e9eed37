// Delays between attempts. Pure: the caller holds the attempt's number and does the waiting.

export interface BackoffOptions {
  /** First delay, milliseconds. */
  readonly initial: number;
  /** Longest delay, milliseconds. */
  readonly max: number;
  readonly factor?: number;
  /** Share of the delay that varies, 0–1. 0.2 gives ±20 %. */
  readonly jitter?: number;
}

/** The delay before attempt `n + 1`, in milliseconds, after `n` failures in a row (n ≥ 0). */
export function backoffDelay(options: BackoffOptions, n: number, random: () => number = Math.random): number {
  const plain = Math.min(options.max, options.initial * (options.factor ?? 2) ** Math.min(n, 64));
  const jitter = options.jitter ?? 0;
  return Math.max(0, plain * (1 + jitter * (2 * random() - 1)));
}
