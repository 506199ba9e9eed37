import assert from 'node:assert/strict';
import { test } from 'node:test';
import { preciseTime } from './precise-time.ts';

test('as fine as the steady clock, and follows the system when it is set', () => {
  let steady = 0.125;
  let wall = 1000;
  const now = preciseTime(
    () => wall,
    () => steady,
  );
  assert.equal(now(), 1000);
  steady += 0.5;
  assert.equal(now(), 1000.5, 'finer than the system tells');
  steady += 10;
  wall += 11;
  assert.equal(now(), 1010.5);
  wall += 3_600_000;
  assert.equal(now(), wall, 'set forward');
  steady += 1;
  wall += 1;
  assert.equal(now(), wall);
  wall -= 7_200_000;
  assert.equal(now(), wall, 'set back');
});
