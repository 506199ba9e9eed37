import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '#/kit/index.ts';
import type { ConnectionLimits } from '#/model/index.ts';
import { watchFlow } from './flow-watch.ts';

function watched(limits: ConnectionLimits) {
  const clock = new ManualClock();
  const flow = { forth: 0, back: 0 };
  const ends: string[] = [];
  const watch = watchFlow(clock, flow, limits, (why) => ends.push(why));
  return { clock, flow, ends, watch };
}

test('a connection that says nothing is ended, one that speaks is not', () => {
  const { clock, flow, ends } = watched({ tcpIdleTimeoutMs: 1000 });
  clock.advance(900);
  flow.back += 1;
  clock.advance(1000);
  assert.deepEqual(ends, []);
  clock.advance(100);
  assert.deepEqual(ends, ['idle_timeout']);
  clock.advance(10_000);
  assert.equal(ends.length, 1, 'once');
});

test('an hour without a byte is too long where nothing is said', () => {
  const { clock, ends } = watched({});
  clock.advance(3_599_999);
  assert.deepEqual(ends, []);
  clock.advance(1);
  assert.deepEqual(ends, ['idle_timeout']);
});

test('a connection lasts no longer than it may, and 0 idle time means for ever', () => {
  const { clock, flow, ends } = watched({ tcpIdleTimeoutMs: 0, maxConnectionDurationMs: 5000 });
  clock.advance(4999);
  flow.forth += 1;
  assert.deepEqual(ends, []);
  clock.advance(1);
  assert.deepEqual(ends, ['max_connection_duration_reached']);
});

test('what is disposed is not ended', () => {
  const { clock, ends, watch } = watched({ maxConnectionDurationMs: 1 });
  watch[Symbol.dispose]();
  clock.advance(10_000_000);
  assert.deepEqual(ends, []);
});
