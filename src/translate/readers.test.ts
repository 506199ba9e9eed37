import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Readers } from './readers.ts';

const of = (readers: Readers, question: string): number[] => {
  const found: number[] = [];
  readers.of(question, (reader) => found.push(reader));
  return found.sort((a, b) => a - b);
};

test('readers come and go, and a question without any is forgotten', () => {
  const readers = new Readers();
  const a = readers.id('a');
  readers.add(a, 1);
  readers.add(a, 1);
  assert.deepEqual(of(readers, 'a'), [1]);
  readers.add(a, 2);
  readers.add(a, 3);
  assert.deepEqual(of(readers, 'a'), [1, 2, 3]);
  readers.drop(a, 2);
  readers.drop(a, 1);
  readers.drop(a, 9);
  assert.deepEqual(of(readers, 'a'), [3]);
  readers.drop(a, 3);
  assert.deepEqual(of(readers, 'a'), []);
  assert.equal(readers.size, 0);
  // The number may be another question's now.
  const b = readers.id('b');
  readers.add(b, 5);
  assert.deepEqual(of(readers, 'a'), []);
  assert.deepEqual(of(readers, 'b'), [5]);
});
