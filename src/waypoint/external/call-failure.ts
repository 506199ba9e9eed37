// Why an external service gave no answer, and how often.

export class CallFailure extends Error {
  readonly kind: 'timeout' | 'unreachable' | 'overloaded' | 'protocol' | 'cancelled';

  constructor(kind: CallFailure['kind'], message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'CallFailure';
    this.kind = kind;
  }
}

export const callFailure = (error: unknown): CallFailure =>
  error instanceof CallFailure
    ? error
    : new CallFailure('protocol', error instanceof Error ? error.message : String(error), { cause: error });

/** Of one kind of service. Every call counts once as ok, denied or failed. */
export interface CallCounters {
  ok: number;
  denied: number;
  failed: number;
  /** Of those that failed: let through, since the configuration says so. */
  failedOpen: number;
  timeouts: number;
  /** Refused before they were sent: too many under way. */
  overloaded: number;
}

export const emptyCallCounters = (): CallCounters => ({
  ok: 0,
  denied: 0,
  failed: 0,
  failedOpen: 0,
  timeouts: 0,
  overloaded: 0,
});

export function countFailure(counters: CallCounters, failure: CallFailure, failOpen: boolean): void {
  counters.failed++;
  if (failOpen) counters.failedOpen++;
  if (failure.kind === 'timeout') counters.timeouts++;
  if (failure.kind === 'overloaded') counters.overloaded++;
}
