import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '#/kit/index.ts';
import { WorkQueue } from './work-queue.ts';

const byText = (a: string, b: string) => (a < b ? -1 : 1);
const turn = () => new Promise((resolve) => setImmediate(resolve));

test('a key waits once, is done again if it is added meanwhile, and is tried again when it fails', async () => {
  const clock = new ManualClock();
  const done: string[] = [];
  const errors: string[] = [];
  let fail = 2;
  const queue = new WorkQueue({
    work: async (key) => {
      await turn();
      if (key === 'bad' && fail-- > 0) throw new Error('not yet');
      done.push(key);
    },
    onError: (key) => errors.push(key),
    concurrency: 2,
    clock,
  });
  for (const key of ['a', 'a', 'b', 'c', 'bad']) queue.add(key);
  assert.deepEqual(done, []);
  const stop = new AbortController();
  queue.start(stop.signal);
  queue.add('a');
  for (let i = 0; i < 10; i++) await turn();
  assert.deepEqual(done.toSorted(byText), ['a', 'a', 'b', 'c']);
  assert.deepEqual(errors, ['bad']);
  for (let i = 0; i < 3; i++) {
    clock.advance(1000);
    for (let j = 0; j < 5; j++) await turn();
  }
  assert.deepEqual(errors, ['bad', 'bad']);
  assert.equal(done.at(-1), 'bad');
  stop.abort();
  queue.add('late');
  await turn();
  assert.equal(queue.size, 1);
});
