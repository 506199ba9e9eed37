import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock, silentLogger } from '#/kit/index.ts';
import { SpanQueue, type FinishedSpan, type SpanExporter } from './index.ts';

const span = (spanId: string): FinishedSpan => ({
  traceId: 'a'.repeat(32),
  spanId,
  parentSpanId: undefined,
  state: undefined,
  name: 'n',
  startedAt: 0,
  durationMs: 1,
  error: false,
  tags: {},
});

/** Batches wait until they are let go. */
function heldExporter() {
  const batches: { readonly ids: string[]; readonly done: (error?: Error) => void }[] = [];
  let closed = 0;
  const exporter: SpanExporter = {
    export: (batch) =>
      new Promise((resolve, reject) => {
        batches.push({
          ids: batch.map(({ spanId }) => spanId),
          done: (error) => (error === undefined ? resolve() : reject(error)),
        });
      }),
    close: () => {
      closed++;
      return Promise.resolve();
    },
  };
  return { exporter, batches, closed: () => closed };
}

const settled = () => new Promise<void>((resolve) => setImmediate(resolve));

function queueOf(held: ReturnType<typeof heldExporter>, warnings: unknown[] = []) {
  const clock = new ManualClock();
  const logger = { ...silentLogger, warn: (message: string) => warnings.push(message) };
  const queue = new SpanQueue({
    exporter: held.exporter,
    clock,
    logger,
    limit: 5,
    batchSize: 2,
    intervalMs: 100,
  });
  return { queue, clock };
}

test('a batch goes when it is full or has waited, one at a time', async () => {
  const held = heldExporter();
  const { queue, clock } = queueOf(held);
  queue.add(span('1'));
  assert.equal(held.batches.length, 0);
  clock.advance(100);
  assert.deepEqual(
    held.batches.map(({ ids }) => ids),
    [['1']],
  );
  for (const id of ['2', '3', '4']) queue.add(span(id));
  clock.advance(1000);
  assert.equal(held.batches.length, 1);
  held.batches[0]?.done();
  await settled();
  assert.deepEqual(
    held.batches.map(({ ids }) => ids),
    [['1'], ['2', '3']],
  );
  held.batches[1]?.done();
  await settled();
  assert.equal(held.batches.length, 2);
  clock.advance(100);
  assert.deepEqual(held.batches[2]?.ids, ['4']);
  held.batches[2]?.done();
  await settled();
  assert.deepEqual(queue.counts, { exported: 4, dropped: 0, failed: 0 });
});

test('a slow collector costs spans, which are counted', async () => {
  const held = heldExporter();
  const { queue } = queueOf(held);
  for (let i = 0; i < 20; i++) queue.add(span(String(i)));
  assert.deepEqual(queue.counts, { exported: 0, dropped: 13, failed: 0 });
  held.batches[0]?.done();
  await settled();
  assert.deepEqual(
    held.batches.map(({ ids }) => ids),
    [
      ['0', '1'],
      ['2', '3'],
    ],
  );
});

test('a dead collector is told of once a minute', async () => {
  const warnings: unknown[] = [];
  const held = heldExporter();
  const { queue, clock } = queueOf(held, warnings);
  for (let i = 0; i < 4; i++) {
    queue.add(span('x'));
    clock.advance(100);
    held.batches[i]?.done(new Error('refused'));
    await settled();
  }
  assert.equal(warnings.length, 1);
  clock.advance(60_000);
  queue.add(span('x'));
  clock.advance(100);
  held.batches[4]?.done(new Error('refused'));
  await settled();
  assert.equal(warnings.length, 2);
  assert.deepEqual(queue.counts, { exported: 0, dropped: 0, failed: 5 });
});

test('closing sends what waits', async () => {
  const held = heldExporter();
  const { queue } = queueOf(held);
  for (const id of ['1', '2', '3']) queue.add(span(id));
  const closing = queue.close(1000);
  held.batches[0]?.done();
  await settled();
  held.batches[1]?.done();
  await closing;
  queue.add(span('4'));
  assert.deepEqual(queue.counts, { exported: 3, dropped: 1, failed: 0 });
  assert.equal(held.closed(), 1);
});

test('closing has a deadline', async () => {
  const held = heldExporter();
  const { queue, clock } = queueOf(held);
  for (const id of ['1', '2', '3']) queue.add(span(id));
  const closing = queue.close(1000);
  clock.advance(1000);
  await closing;
  assert.deepEqual(queue.counts, { exported: 0, dropped: 1, failed: 0 });
});
