import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '../../../test/mesh-records.ts';
import {
  compileRetry,
  decideRetry,
  defaultRetry,
  isRetriable,
  retryBackoff,
  type TryOutcome,
} from './retry.ts';

const answer = (status: number, grpcStatus?: number, headers: Record<string, string> = {}): TryOutcome => ({
  kind: 'response',
  status,
  ...(grpcStatus !== undefined && { grpcStatus }),
  header: (name) => headers[name],
});
const outcomes = {
  connect: { kind: 'connect-failure' },
  refused: { kind: 'refused' },
  'reset before': { kind: 'reset', requestStarted: false },
  'reset after': { kind: 'reset', requestStarted: true },
  timeout: { kind: 'try-timeout' },
  overflow: { kind: 'overflow' },
  200: answer(200),
  409: answer(409),
  500: answer(500),
  502: answer(502),
  503: answer(503),
  504: answer(504),
  'grpc 1': answer(200, 1),
  'grpc 4': answer(200, 4),
  'grpc 8': answer(200, 8),
  'grpc 13': answer(200, 13),
  'grpc 14': answer(200, 14),
  limited: answer(503, undefined, { 'x-envoy-ratelimited': 'true' }),
  header: answer(200, undefined, { 'x-again': 'yes' }),
} satisfies Record<string, TryOutcome>;

test('each condition and what it repeats', () => {
  const failures = ['connect', 'refused', 'reset before', 'reset after', 'timeout'];
  const rows: readonly [string, readonly string[]][] = [
    ['5xx', [...failures, '500', '502', '503', '504']],
    ['gateway-error', [...failures, '502', '503', '504']],
    ['reset', failures],
    ['reset-before-request', ['connect', 'refused', 'reset before']],
    ['connect-failure', ['connect']],
    ['refused-stream', ['refused']],
    ['retriable-4xx', ['409']],
    ['retriable-status-codes', []],
    ['503', ['503']],
    ['cancelled', ['grpc 1']],
    ['deadline-exceeded', ['grpc 4']],
    ['resource-exhausted', ['grpc 8']],
    ['internal', ['grpc 13']],
    ['unavailable', ['grpc 14']],
    ['envoy-ratelimited', ['limited']],
    ['retriable-headers', ['header']],
    ['nonsense', []],
  ];
  for (const [condition, wanted] of rows) {
    const policy = compileRetry({
      attempts: 1,
      on: [condition],
      statuses: [],
      headers: [{ name: 'X-Again', match: { kind: 'exact', value: 'yes' } }],
      avoidPrevious: false,
    });
    const repeated = Object.entries(outcomes).flatMap(([name, outcome]) =>
      isRetriable(policy, outcome) ? [name] : [],
    );
    assert.deepEqual(repeated.toSorted(), [...wanted].toSorted(), condition);
  }
});

test("upstream's default: two more tries, not for 503", () => {
  const policy = compileRetry(defaultRetry);
  const repeated = Object.entries(outcomes).flatMap(([name, outcome]) =>
    isRetriable(policy, outcome) ? [name] : [],
  );
  assert.deepEqual(repeated.toSorted(), ['connect', 'grpc 1', 'grpc 14', 'refused']);
  assert.equal(policy.attempts, 2);
  assert.equal(policy.avoidPrevious, true);
  assert.equal(policy.backoffMs, 25);
});

test('what stops a retry', () => {
  const policy = compileRetry({ ...defaultRetry, statuses: [503] });
  const state = { retries: 0, replayable: true, responseStarted: false };
  const decide = (more: object, outcome: TryOutcome = outcomes[503]) => {
    const decision = decideRetry(policy, outcome, { ...state, ...more }, () => 0.5);
    return decision.retry ? decision.delayMs : decision.because;
  };
  assert.equal(decide({}), 12);
  assert.equal(decide({ retries: 1 }), 25);
  assert.equal(decide({ retries: 2 }), 'limit');
  assert.equal(decide({ replayable: false }), 'not-replayable');
  assert.equal(decide({ responseStarted: true }), 'response-started');
  assert.equal(decide({ remainingMs: 12 }), 'deadline');
  assert.equal(decide({ remainingMs: 13 }), 12);
  assert.equal(decide({}, outcomes[200]), 'not-retriable');
});

test('delays grow up to ten times the base', () => {
  const longest = [0, 1, 2, 3, 4, 5, 1000].map((n) => retryBackoff(25, n, () => 0.999_999));
  assert.deepEqual(longest, [24, 49, 99, 199, 249, 249, 249]);
  const random = seededRandom(1);
  for (let i = 0; i < 1000; i++) {
    const delay = retryBackoff(100, 2, random);
    assert.ok(delay >= 0 && delay < 400);
  }
});
