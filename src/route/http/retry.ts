// Whether a try that failed is repeated, and after how long. Conditions have Envoy's names and meanings.
// As upstream, the method does not matter: `connect-failure` and `refused-stream` mean that nobody saw the request;
// whoever writes `reset` or `5xx` says that the requests of the route may be repeated. What was partly sent and is not
// kept any more cannot be repeated (`replayable`).
import type { Retry } from '#/model/index.ts';
import { compileText } from './http-match.ts';
import type { TextTest } from './regex.ts';

export const retryConditions = [
  '5xx',
  'gateway-error',
  'reset',
  'reset-before-request',
  'connect-failure',
  'refused-stream',
  'retriable-4xx',
  'retriable-status-codes',
  'retriable-headers',
  'envoy-ratelimited',
  'cancelled',
  'deadline-exceeded',
  'internal',
  'resource-exhausted',
  'unavailable',
] as const;
export type RetryCondition = (typeof retryConditions)[number];

export interface RetryPolicy {
  readonly attempts: number;
  readonly on: ReadonlySet<RetryCondition>;
  readonly statuses: ReadonlySet<number>;
  readonly grpcStatuses: ReadonlySet<number>;
  readonly headers: readonly { readonly name: string; readonly test: TextTest }[];
  /** Milliseconds. */
  readonly backoffMs: number;
  readonly perTryTimeoutMs?: number;
  readonly avoidPrevious: boolean;
}

/** How a try ended. `response` is told by its head; statuses of gRPC count only there (a response without a body). */
export type TryOutcome =
  | {
      readonly kind: 'response';
      readonly status: number;
      readonly grpcStatus?: number;
      readonly header?: (name: string) => string | undefined;
    }
  /** No connection could be made. */
  | { readonly kind: 'connect-failure' }
  /** The other side says that it has not looked at the request (REFUSED_STREAM, or beyond a GOAWAY). */
  | { readonly kind: 'refused' }
  /** Reset or closed before a response; `requestStarted`: something of the request may have been sent. */
  | { readonly kind: 'reset'; readonly requestStarted: boolean }
  /** The try's own deadline has passed. */
  | { readonly kind: 'try-timeout' }
  /** A limit of ours refused the try: never repeated. */
  | { readonly kind: 'overflow' };

/** Upstream's default. */
export const defaultRetry: Retry = {
  attempts: 2,
  on: ['connect-failure', 'refused-stream', 'unavailable', 'cancelled', 'retriable-status-codes'],
  statuses: [],
  avoidPrevious: true,
};

const grpcConditions = {
  cancelled: 1,
  'deadline-exceeded': 4,
  'resource-exhausted': 8,
  internal: 13,
  unavailable: 14,
} as const;

const isCondition = (name: string): name is RetryCondition =>
  (retryConditions as readonly string[]).includes(name);

/** Envoy's base; the longest is ten times the base. */
const defaultBackoffMs = 25;

/** Names that are no condition are passed over, as Envoy does; a number among them is a status, as VirtualService has it. */
export function compileRetry(retry: Retry): RetryPolicy {
  const on = new Set<RetryCondition>();
  const statuses = new Set(retry.statuses);
  for (const name of retry.on)
    if (isCondition(name)) on.add(name);
    else if (/^[1-5][0-9][0-9]$/.test(name)) statuses.add(Number(name));
  const grpcStatuses = new Set<number>();
  for (const [name, status] of Object.entries(grpcConditions))
    if (on.has(name as RetryCondition)) grpcStatuses.add(status);
  const headers = (retry.headers ?? []).flatMap(({ name, match }) => {
    const test = compileText(match);
    return test === undefined ? [] : [{ name: name.toLowerCase(), test }];
  });
  return {
    attempts: Math.max(0, Math.floor(retry.attempts)),
    on,
    statuses,
    grpcStatuses,
    headers,
    backoffMs: retry.backoffMs !== undefined && retry.backoffMs > 0 ? retry.backoffMs : defaultBackoffMs,
    ...(retry.perTryTimeoutMs !== undefined &&
      retry.perTryTimeoutMs > 0 && { perTryTimeoutMs: retry.perTryTimeoutMs }),
    avoidPrevious: retry.avoidPrevious,
  };
}

/** Whether the outcome is one that the policy repeats, whatever the number of tries. */
export function isRetriable(policy: RetryPolicy, outcome: TryOutcome): boolean {
  const { on } = policy;
  const anyFailure = on.has('5xx') || on.has('gateway-error') || on.has('reset');
  switch (outcome.kind) {
    case 'overflow':
      return false;
    case 'connect-failure':
      return anyFailure || on.has('connect-failure') || on.has('reset-before-request');
    case 'refused':
      return anyFailure || on.has('refused-stream') || on.has('reset-before-request');
    case 'reset':
      return anyFailure || (on.has('reset-before-request') && !outcome.requestStarted);
    case 'try-timeout':
      return anyFailure;
    case 'response':
      return isRetriableResponse(policy, outcome);
  }
}

function isRetriableResponse(
  { on, statuses, grpcStatuses, headers }: RetryPolicy,
  { status, grpcStatus, header }: Extract<TryOutcome, { kind: 'response' }>,
): boolean {
  // The rate limiter of the next proxy has spoken: trying again would only add to the load.
  if (header?.('x-envoy-ratelimited') !== undefined) return on.has('envoy-ratelimited');
  if (status >= 500 && status <= 599 && on.has('5xx')) return true;
  if (status >= 502 && status <= 504 && on.has('gateway-error')) return true;
  if (status === 409 && on.has('retriable-4xx')) return true;
  if (statuses.has(status)) return true;
  if (grpcStatus !== undefined && grpcStatuses.has(grpcStatus)) return true;
  if (header === undefined || !on.has('retriable-headers')) return false;
  for (const { name, test } of headers) {
    const value = header(name);
    if (value !== undefined && test(value)) return true;
  }
  return false;
}

export interface RetryState {
  /** Retries that were made for this request. */
  readonly retries: number;
  /** False once a part of the request was sent that is not kept. */
  readonly replayable: boolean;
  /** The head of a response has gone to the client. */
  readonly responseStarted: boolean;
  /** Of the whole request; undefined: no deadline. */
  readonly remainingMs?: number;
}

export type RetryDecision =
  | { readonly retry: true; readonly delayMs: number }
  /** `limit`: the tries are used up; the log flags the request URX. */
  | {
      readonly retry: false;
      readonly because: 'not-retriable' | 'limit' | 'not-replayable' | 'response-started' | 'deadline';
    };

const no = (because: Extract<RetryDecision, { retry: false }>['because']): RetryDecision => ({
  retry: false,
  because,
});
const refusals = {
  notRetriable: no('not-retriable'),
  limit: no('limit'),
  notReplayable: no('not-replayable'),
  responseStarted: no('response-started'),
  deadline: no('deadline'),
};

/** Whether to try again, and when. The budget of the destination is asked apart: see RetryBudget in circuit.ts. */
export function decideRetry(
  policy: RetryPolicy,
  outcome: TryOutcome,
  state: RetryState,
  random: () => number,
): RetryDecision {
  if (state.responseStarted) return refusals.responseStarted;
  if (!isRetriable(policy, outcome)) return refusals.notRetriable;
  if (state.retries >= policy.attempts) return refusals.limit;
  if (!state.replayable) return refusals.notReplayable;
  const delayMs = retryBackoff(policy.backoffMs, state.retries, random);
  if (state.remainingMs !== undefined && delayMs >= state.remainingMs) return refusals.deadline;
  return { retry: true, delayMs };
}

/** Before retry `n + 1`: anywhere between 0 and base × 2ⁿ, at most base × 10 (Envoy's fully jittered back-off). */
export function retryBackoff(baseMs: number, n: number, random: () => number): number {
  return Math.floor(random() * Math.min(baseMs * 2 ** Math.min(n, 30), baseMs * 10));
}
