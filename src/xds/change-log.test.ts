import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { ChangeLog } from './change-log.ts';

suite('a reader of the log', () => {
  test('sees each name once, however often it has changed since', () => {
    const log = new ChangeLog(100);
    log.append(['a', 'b']);
    const place = log.head;
    log.append(['c']);
    log.append(['a', 'c']);
    assert.deepEqual(log.since(0), ['b', 'a', 'c']);
    assert.deepEqual(log.since(place), ['a', 'c']);
    assert.deepEqual(log.since(log.head), []);
  });

  test('that everyone has overtaken must start over', () => {
    const log = new ChangeLog(100);
    log.append(['a']);
    log.append(['b']);
    log.trim(1);
    assert.equal(log.since(0), undefined);
    assert.deepEqual(log.since(1), ['b']);
    assert.equal(log.size, 1);
  });

  test('that is too far behind must start over; the others need not', () => {
    const log = new ChangeLog(10);
    for (let i = 0; i < 30; i++) log.append([`n${i}`]);
    assert.equal(log.since(0), undefined);
    assert.deepEqual(log.since(28), ['n28', 'n29']);
    assert.ok(log.size <= 10);
  });
});

test('a name that changes for ever takes no more room', () => {
  const log = new ChangeLog(10);
  log.append(['quiet']);
  for (let i = 0; i < 10_000; i++) log.append(['busy']);
  assert.equal(log.size, 2);
  assert.deepEqual(log.since(0), ['quiet', 'busy']);
});

test('a batch larger than the limit leaves nothing to catch up with', () => {
  const log = new ChangeLog(10);
  log.append(Array.from({ length: 50 }, (_, i) => `n${i}`));
  assert.equal(log.since(0), undefined);
  assert.deepEqual(log.since(log.head), []);
});
