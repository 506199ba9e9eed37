import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AnswerCache } from './answer-cache.ts';
import { addressAnswer, anAnswer, aQuery } from './test-answers.ts';

const query = aQuery('example.com');

test('an answer is given while it lives, with its age', () => {
  const cache = new AnswerCache();
  const answer = addressAnswer(query, '192.0.2.1', 60);
  cache.put('a', answer, 1000);
  assert.deepEqual(cache.get('a', 1000), { answer, ageSeconds: 0 });
  assert.deepEqual(cache.get('a', 60_999), { answer, ageSeconds: 59 });
  assert.equal(cache.get('b', 1000), undefined);
  assert.equal(cache.get('a', 61_000), undefined);
  assert.deepEqual(cache.size, { entries: 0, bytes: 0 });
});

test('a clock that is set back ends lives', () => {
  const cache = new AnswerCache();
  cache.put('a', addressAnswer(query, '192.0.2.1', 60), 1000);
  assert.equal(cache.get('a', 999), undefined);
});

test('nothing lives longer than an hour, and what has no life is not kept', () => {
  const cache = new AnswerCache();
  cache.put('a', addressAnswer(query, '192.0.2.1', 86_400), 0);
  assert.ok(cache.get('a', 3_599_999));
  assert.equal(cache.get('a', 3_600_000), undefined);
  cache.put('b', addressAnswer(query, '192.0.2.1', 0), 0);
  cache.put('c', anAnswer(query, {}, 2), 0);
  assert.equal(cache.size.entries, 0);
});

test('a newer answer takes the place of an older one, also one that is not kept', () => {
  const cache = new AnswerCache();
  cache.put('a', addressAnswer(query, '192.0.2.1'), 0);
  const { bytes } = cache.size;
  const newer = addressAnswer(query, '192.0.2.2');
  cache.put('a', newer, 0);
  assert.deepEqual([cache.get('a', 0)?.answer, cache.size.bytes], [newer, bytes]);
  cache.put('a', addressAnswer(query, '192.0.2.3', 0), 0);
  assert.deepEqual(cache.size, { entries: 0, bytes: 0 });
});

test('bounded in entries and in bytes: the one used longest ago leaves', () => {
  const answer = addressAnswer(query, '192.0.2.1');
  const few = new AnswerCache({ entries: 2, bytes: 1e6 });
  for (const key of ['a', 'b']) few.put(key, answer, 0);
  few.get('a', 0);
  few.put('c', answer, 0);
  assert.deepEqual(
    ['a', 'b', 'c'].map((key) => few.get(key, 0) !== undefined),
    [true, false, true],
  );
  const one = few.size.bytes / 2;
  const small = new AnswerCache({ entries: 100, bytes: 2.5 * one });
  for (const key of ['a', 'b', 'c']) small.put(key, answer, 0);
  assert.deepEqual(small.size, { entries: 2, bytes: 2 * one });
  const text = {
    name: 'x',
    type: 'TXT' as const,
    ttl: 60,
    data: Array.from({ length: 40 }, () => 'x'.repeat(250)),
  };
  small.put('large', anAnswer(query, { answers: [text] }), 0);
  assert.equal(small.get('large', 0), undefined);
});
