import assert from 'node:assert/strict';
import { test } from 'node:test';
import { atEndOfTurn } from './turn.ts';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('what was asked in one turn is done at its end, in order', async () => {
  const done: number[] = [];
  for (let i = 0; i < 3; i++) atEndOfTurn({ endOfTurn: () => done.push(i) });
  assert.deepEqual(done, []);
  await turn();
  assert.deepEqual(done, [0, 1, 2]);
});

test('what is asked meanwhile is for the next turn', async () => {
  let count = 0;
  const task = {
    endOfTurn: (): void => {
      if (++count < 3) atEndOfTurn(task);
    },
  };
  atEndOfTurn(task);
  await turn();
  assert.equal(count, 1);
  await turn();
  await turn();
  assert.equal(count, 3);
});

test('a task that throws does not take the turn of the others', async () => {
  const done: string[] = [];
  const thrown = new Promise((resolve) => {
    const old = process.listeners('uncaughtException');
    process.removeAllListeners('uncaughtException');
    process.once('uncaughtException', (error) => {
      for (const listener of old) process.on('uncaughtException', listener);
      resolve(error.message);
    });
  });
  atEndOfTurn({ endOfTurn: () => done.push('first') });
  atEndOfTurn({
    endOfTurn() {
      throw new Error('on purpose');
    },
  });
  atEndOfTurn({ endOfTurn: () => done.push('last') });
  assert.equal(await thrown, 'on purpose');
  await turn();
  await turn();
  assert.deepEqual(done, ['first', 'last']);
});
