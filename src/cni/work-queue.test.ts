import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '#/kit/index.ts';
import { WorkQueue } from './work-queue.ts';

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

test('a key is worked on by one worker at a time, and again if it changed meanwhile', async () => {
  const open: (() => void)[] = [];
  const begun: string[] = [];
  const queue = new WorkQueue({
    clock: new ManualClock(),
    workers: 2,
    work: (key) => {
      begun.push(key);
      return new Promise((resolve) => open.push(() => resolve(false)));
    },
  });
  queue.add('a');
  queue.add('a');
  queue.add('b');
  queue.add('c');
  assert.deepEqual(begun, ['a', 'b']);
  open.shift()?.();
  await turn();
  assert.deepEqual(begun, ['a', 'b', 'a'], 'a was added again before c');
  open.shift()?.();
  open.shift()?.();
  await turn();
  assert.deepEqual(begun, ['a', 'b', 'a', 'c']);
  open.shift()?.();
  await queue.idle();
  assert.equal(queue.size, 0);
});

test('failures come back later and later, and a change at once', async () => {
  const clock = new ManualClock();
  let runs = 0;
  let fails = true;
  const queue = new WorkQueue({ clock, workers: 1, work: async () => (runs++, fails) });
  queue.add('a');
  await queue.idle();
  for (const [delay, expected] of [
    [4, 1],
    [1, 2],
    [9, 2],
    [1, 3],
    [20, 4],
  ] as const) {
    clock.advance(delay);
    await turn();
    assert.equal(runs, expected);
  }
  for (let i = 0; i < 15; i++) {
    clock.advance(5000);
    await turn();
  }
  assert.equal(runs, 19, 'no delay is longer than five seconds');
  fails = false;
  queue.add('a');
  await queue.idle();
  assert.equal(runs, 20);
  clock.advance(60_000);
  await turn();
  assert.equal(runs, 20);
});

test('many failing keys share ten attempts a second', async () => {
  const clock = new ManualClock();
  let runs = 0;
  const queue = new WorkQueue({ clock, workers: 4, work: async () => (runs++, true) });
  for (let i = 0; i < 300; i++) queue.add(`k${i}`);
  await queue.idle();
  runs = 0;
  clock.advance(10);
  await turn();
  assert.ok(runs <= 110, `${runs} at once`);
  for (let i = 0; i < 10; i++) {
    clock.advance(1000);
    await turn();
  }
  assert.ok(runs < 330, `${runs} in ten seconds`);
  await queue.stop();
});

test('a stopped queue takes nothing, and waits for what is under way', async () => {
  let open = () => {};
  let runs = 0;
  const queue = new WorkQueue({
    clock: new ManualClock(),
    workers: 1,
    work: () => {
      runs++;
      return new Promise((resolve) => (open = () => resolve(true)));
    },
  });
  queue.add('a');
  queue.add('b');
  const stopped = queue.stop();
  queue.add('c');
  open();
  await stopped;
  assert.equal(runs, 1);
});
