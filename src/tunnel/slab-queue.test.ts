import assert from 'node:assert/strict';
import { test } from 'node:test';
import { releaseSlabs, SlabQueue } from './slab-queue.ts';

function drain(queue: SlabQueue): Buffer {
  const { slabs, last } = queue.take();
  const bytes = Buffer.concat(
    slabs.map((slab, i) => (i === slabs.length - 1 ? slab.subarray(0, last) : slab)),
  );
  releaseSlabs(slabs);
  return bytes;
}

test('bytes come out as they went in, whatever their division', () => {
  const queue = new SlabQueue();
  const all: Buffer[] = [];
  let seed = 3;
  for (let i = 0; i < 200; i++) {
    seed = (seed * 1103515245 + 12345) & 0x7fffffff;
    const chunk = Buffer.alloc(seed % (i % 10 === 0 ? 150_000 : 700), i);
    all.push(chunk);
    queue.push(chunk);
    assert.equal(queue.size, Buffer.concat(all).length);
    if (i % 17 !== 0) continue;
    assert.deepEqual(drain(queue), Buffer.concat(all.splice(0)));
    assert.equal(queue.size, 0);
  }
  assert.deepEqual(drain(queue), Buffer.concat(all));
});

test('what was pushed may be overwritten by its owner', () => {
  const queue = new SlabQueue();
  const lent = Buffer.from('abc');
  queue.push(lent);
  lent.fill(0);
  assert.equal(drain(queue).toString(), 'abc');
});

test('a slab is used again once it is released, and not before', () => {
  const queue = new SlabQueue();
  queue.push(Buffer.from('a'));
  const first = queue.take();
  queue.push(Buffer.from('b'));
  const second = queue.take();
  assert.notEqual(second.slabs[0], first.slabs[0]);
  releaseSlabs(first.slabs);
  queue.push(Buffer.from('c'));
  assert.equal(queue.take().slabs[0], first.slabs[0]);
});

test('a few bytes take a small slab, many take large ones', () => {
  const queue = new SlabQueue();
  queue.push(Buffer.alloc(10));
  assert.deepEqual(
    queue.take().slabs.map((slab) => slab.length),
    [4096],
  );
  queue.push(Buffer.alloc(100_000));
  assert.deepEqual(
    queue.take().slabs.map((slab) => slab.length),
    [65600, 65600],
  );
});
