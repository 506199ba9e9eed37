import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '#/kit/index.ts';
import { Gate, RateLimit } from './limits.ts';

test('a gate lets so many in, lets as many wait in order, and refuses the rest', async () => {
  const gate = new Gate(1, 2);
  const order: string[] = [];
  const first = await gate.enter();
  const later = ['b', 'c'].map(async (name) => {
    using _pass = await gate.enter();
    order.push(name);
  });
  assert.equal(gate.waiting, 2);
  assert.equal(gate.enter(), undefined);
  assert.deepEqual(order, []);
  first?.[Symbol.dispose]();
  await Promise.all(later);
  assert.deepEqual(order, ['b', 'c']);
  assert.notEqual(gate.enter(), undefined);
});

test('a rate is per key, with a burst, and a clock that jumps back takes nothing', () => {
  const clock = new ManualClock(1_000_000);
  const rate = new RateLimit(2, clock);
  for (let i = 0; i < 20; i++) assert.ok(rate.take('a'));
  assert.ok(!rate.take('a'));
  assert.ok(rate.take('b'));
  clock.advance(500);
  assert.ok(rate.take('a'));
  assert.ok(!rate.take('a'));
  clock.advance(-100_000);
  assert.ok(!rate.take('a'));
  clock.advance(1000);
  assert.ok(rate.take('a'));
  assert.ok(new RateLimit(0).take('x'));
});
