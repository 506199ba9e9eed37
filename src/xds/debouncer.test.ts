import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { ManualClock } from '#/kit/index.ts';
import { Debouncer } from './debouncer.ts';

function harness() {
  const clock = new ManualClock();
  const runs: number[] = [];
  const debouncer = new Debouncer({ afterMs: 100, maxMs: 1000 }, clock, () => runs.push(clock.now()));
  return { clock, runs, debouncer };
}

suite('a burst of events', () => {
  test('runs once, when it has been quiet long enough', () => {
    const { clock, runs, debouncer } = harness();
    debouncer.touch();
    clock.advance(60);
    debouncer.touch();
    clock.advance(60);
    debouncer.touch();
    clock.advance(99);
    assert.deepEqual(runs, []);
    clock.advance(1);
    assert.deepEqual(runs, [220]);
    clock.advance(5000);
    assert.deepEqual(runs, [220]);
  });

  test('that does not end runs at the longest wait, again and again', () => {
    const { clock, runs, debouncer } = harness();
    for (let i = 0; i < 250; i++) {
      debouncer.touch();
      clock.advance(10);
    }
    assert.deepEqual(runs, [1000, 2000]);
  });

  test('can be let go at once, and is then not run again', () => {
    const { clock, runs, debouncer } = harness();
    debouncer.flush();
    assert.deepEqual(runs, []);
    debouncer.touch();
    debouncer.flush();
    assert.deepEqual(runs, [0]);
    clock.advance(1000);
    assert.deepEqual(runs, [0]);
  });

  test('is dropped by disposal', () => {
    const { clock, runs, debouncer } = harness();
    debouncer.touch();
    debouncer[Symbol.dispose]();
    clock.advance(1000);
    assert.deepEqual(runs, []);
  });

  test('after a time of quiet its first event runs soon, the rest together', () => {
    const clock = new ManualClock();
    const runs: number[] = [];
    const options = { afterMs: 100, maxMs: 1000, firstMs: 10 };
    const debouncer = new Debouncer(options, clock, () => runs.push(clock.now()));
    debouncer.touch();
    clock.advance(5);
    debouncer.touch();
    clock.advance(5);
    assert.deepEqual(runs, [10], 'with what came meanwhile');
    debouncer.touch();
    clock.advance(60);
    debouncer.touch();
    clock.advance(99);
    assert.deepEqual(runs, [10]);
    clock.advance(1);
    assert.deepEqual(runs, [10, 170]);
    clock.advance(100);
    debouncer.touch();
    clock.advance(10);
    assert.deepEqual(runs, [10, 170, 280]);
  });
});
