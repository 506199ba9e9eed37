import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { OutlierDetection } from '#/model/index.ts';
import { OutlierDetector, type HostOutcome } from './outliers.ts';

const settings: OutlierDetection = {
  consecutive5xx: 3,
  intervalMs: 10_000,
  baseEjectionMs: 30_000,
  maxEjectionPercent: 50,
  minHealthPercent: 0,
};
const says = (status: number): HostOutcome => ({ kind: 'response', status });
const unreachable: HostOutcome = { kind: 'local', timeout: false };
const late: HostOutcome = { kind: 'local', timeout: true };

function detector(more: Partial<OutlierDetection> = {}, hosts = 4): OutlierDetector {
  const made = new OutlierDetector({ ...settings, ...more });
  made.setHosts(Array.from({ length: hosts }, (_, i) => `h${i}`));
  return made;
}

test('what ejects a host, outcome by outcome', () => {
  const gateway = { consecutive5xx: 0, consecutiveGatewayErrors: 2 };
  const split = { consecutive5xx: 2, splitLocalOriginErrors: true, consecutiveLocalOriginFailures: 3 };
  const rows: readonly [Partial<OutlierDetection>, readonly HostOutcome[], string | undefined][] = [
    [{}, [says(500), says(500)], undefined],
    [{}, [says(500), says(502), says(599)], 'consecutive-5xx'],
    [{}, [says(500), says(500), says(404), says(500)], undefined],
    [{}, [unreachable, late, says(500)], 'consecutive-5xx'],
    [{ consecutive5xx: 0 }, [says(500), says(500), says(500), says(500)], undefined],
    [gateway, [says(500), says(500), says(500)], undefined],
    [gateway, [says(502), says(500), says(503)], undefined],
    [gateway, [says(502), says(504)], 'consecutive-gateway-failure'],
    [gateway, [unreachable, late], 'consecutive-gateway-failure'],
    [split, [unreachable, unreachable], undefined],
    [split, [unreachable, unreachable, late], 'consecutive-local-origin-failure'],
    [split, [unreachable, unreachable, says(200), unreachable], undefined],
    [split, [says(500), says(500)], 'consecutive-5xx'],
    [{ errorCodes: [429] }, [says(500), says(500), says(500)], undefined],
    [{ errorCodes: [429] }, [says(429), says(429), says(429)], 'consecutive-5xx'],
    [{ errorCodes: [429] }, [unreachable, says(429), late], 'consecutive-5xx'],
  ];
  for (const [more, outcomes, wanted] of rows) {
    const made = detector(more);
    let last: string | undefined;
    for (const outcome of outcomes) last = made.record('h0', outcome, 0)?.reason;
    assert.equal(last, wanted, JSON.stringify([more, outcomes]));
    assert.equal(made.isEjected('h0'), wanted !== undefined);
  }
});

const fail = (made: OutlierDetector, host: string, now: number) => {
  made.record(host, says(500), now);
  made.record(host, says(500), now);
  return made.record(host, says(500), now);
};

test('an ejection lasts longer each time, and is forgiven step by step', () => {
  const made = detector();
  made.check(0);
  assert.equal(fail(made, 'h0', 1000)?.untilMs, 31_000);
  assert.deepEqual(made.check(5000), [], 'not due');
  assert.deepEqual(made.check(30_000), []);
  assert.deepEqual(made.check(40_000), ['h0']);
  assert.equal(made.isEjected('h0'), false);
  assert.equal(fail(made, 'h0', 40_000)?.untilMs, 100_000, 'twice as long');
  assert.deepEqual(made.check(100_000), ['h0']);
  made.check(110_000);
  made.check(120_000);
  assert.equal(fail(made, 'h0', 120_000)?.untilMs, 150_000, 'two good intervals');
});

test('at most five minutes, or the base', () => {
  const made = detector({ baseEjectionMs: 200_000 });
  made.check(0);
  fail(made, 'h0', 0);
  made.check(200_000);
  assert.equal(fail(made, 'h0', 200_000)?.untilMs, 500_000);
  const slow = detector({ baseEjectionMs: 400_000 });
  assert.equal(fail(slow, 'h0', 0)?.untilMs, 400_000);
});

test('a share of the hosts at most, but always one', () => {
  const half = detector();
  for (const host of ['h0', 'h1', 'h2', 'h3']) fail(half, host, 0);
  assert.equal(half.ejectedCount, 2);
  const tenth = detector({ maxEjectionPercent: 10 });
  for (const host of ['h0', 'h1']) fail(tenth, host, 0);
  assert.equal(tenth.ejectedCount, 1);
  const nobody = detector({ maxEjectionPercent: 0 });
  fail(nobody, 'h0', 0);
  assert.equal(nobody.ejectedCount, 1);
});

test('hosts that come and go', () => {
  const made = detector();
  fail(made, 'h0', 0);
  made.setHosts(['h1', 'h2']);
  assert.equal(made.ejectedCount, 0);
  made.addHost('h0');
  assert.equal(made.isEjected('h0'), false);
  assert.equal(fail(made, 'gone', 0), undefined);
});
