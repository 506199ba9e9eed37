import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ByteSink } from '#/http/index.ts';
import { EarlyBytes } from './early-bytes.ts';
import { TestChannel } from './test-channel.ts';

function setUp() {
  const channel = new TestChannel();
  const seen: string[] = [];
  let gone = 0;
  const early = new EarlyBytes(channel, {
    more: (bytes, ended) => seen.push(`${bytes.toString('latin1')}${ended ? '.' : ''}`),
    gone: () => gone++,
  });
  const events: string[] = [];
  const next: ByteSink = {
    data: (chunk) => events.push(chunk.toString('latin1')),
    ended: () => events.push('end'),
    writable: () => events.push('writable'),
    closed: (reason) => events.push(`closed ${reason?.message ?? ''}`),
  };
  return { channel, early, seen, events, next, gone: () => gone };
}

test('what came early is shown as a whole each time, and handed over once', () => {
  const { channel, early, seen, events, next } = setUp();
  for (const part of ['a', 'bc', 'def']) channel.send(part);
  assert.deepEqual(seen, ['a', 'abc', 'abcdef']);
  assert.equal(channel.credited, 0, 'nothing is given back while it is held');
  early.handOver(() => (channel.sink = next));
  channel.send('g');
  assert.deepEqual(events, ['abcdef', 'g']);
  assert.equal(channel.credited, 0, 'the next one gives back');
});

test('an end that came early is told after the bytes', () => {
  const { channel, early, seen, events, next } = setUp();
  channel.send('a');
  channel.sendEnd();
  assert.deepEqual(seen, ['a', 'a.']);
  early.handOver(() => (channel.sink = next));
  assert.deepEqual(events, ['a', 'end']);
});

test('a channel that goes gives its window back', () => {
  const { channel, gone } = setUp();
  channel.send('abc');
  channel.close('lost');
  assert.equal(gone(), 1);
  assert.equal(channel.credited, channel.sent);
});

test('without anybody to take them, bytes are given back', () => {
  const { channel, early } = setUp();
  channel.send('abc');
  early.handOver(() => {});
  assert.equal(channel.credited, 3);
});

test('whoever still tells the first sink means the next', () => {
  const { channel, early, events, next, gone } = setUp();
  early.handOver(() => (channel.sink = next));
  early.data(Buffer.from('a'));
  early.writable();
  early.ended();
  early.closed({ message: 'lost' });
  assert.deepEqual(events, ['a', 'writable', 'end', 'closed lost']);
  assert.equal(gone(), 0);
});

test('a window of single bytes is not copied with each of them', () => {
  const channel = new TestChannel();
  let memory = new Set<ArrayBufferLike>();
  void new EarlyBytes(channel, { more: (bytes) => void memory.add(bytes.buffer), gone: () => {} });
  const byte = Buffer.from('a');
  // Below the size from which memory is a pool's.
  for (let i = 0; i < 8192; i++) channel.sink?.data(byte);
  memory = new Set();
  for (let i = 0; i < 200_000; i++) channel.sink?.data(byte);
  assert.ok(memory.size < 10, `${memory.size} times`);
});
