import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  HeaderMap,
  type ByteChannel,
  type ClientConnection,
  type RequestHead,
  type ResponseReceiver,
} from '#/http/index.ts';
import { ManualClock } from '#/kit/index.ts';
import { Circuit } from '#/route/index.ts';
import { TestChannel, turn } from '../test-channel.ts';
import { HttpPool, type ConnectionTerms, type PoolFailure } from './http-pool.ts';
import type { ChannelFailure } from './open-channel.ts';

const head: RequestHead = {
  version: '1.1',
  method: 'GET',
  scheme: 'http',
  authority: 'a',
  path: '/',
  query: undefined,
  headers: new HeaderMap(),
  upgrade: undefined,
  contentLength: 0,
  expectsContinue: false,
};
const nobody: ResponseReceiver = {
  inform: () => {},
  head: () => {},
  data: () => {},
  end: () => {},
  failed: () => {},
  writable: () => {},
};
const limits = {
  maxHeadBytes: 10_000,
  maxHeaders: 100,
  maxTrailers: 100,
  maxConcurrentStreams: 100,
  headTimeoutMs: 1000,
  idleTimeoutMs: 100_000,
};
const close = 'HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n';
const keep = 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n';

type Outcome = ClientConnection | PoolFailure;

class Setup {
  readonly clock = new ManualClock();
  readonly circuit: Circuit;
  readonly pool: HttpPool;
  /** Openings that have not come to anything yet. */
  readonly opening: ((channel: ByteChannel | undefined, failure?: ChannelFailure) => void)[] = [];
  readonly channels: TestChannel[] = [];

  constructor(
    maxConnections?: number,
    maxPendingRequests?: number,
    protocol: 'http1' | 'http2' = 'http1',
    terms: ConnectionTerms = {},
  ) {
    this.circuit = new Circuit({
      limits: {
        ...(maxConnections !== undefined && { maxConnections }),
        ...(maxPendingRequests !== undefined && { maxPendingRequests }),
      },
    });
    this.pool = new HttpPool({
      protocol,
      limits,
      clock: this.clock,
      circuit: this.circuit,
      terms,
      open: (_timeoutMs, done) => {
        this.opening.push(done);
        return { [Symbol.dispose]: () => {} };
      },
    });
  }

  take(): { outcomes: Outcome[]; giveUp: Disposable | undefined } {
    const outcomes: Outcome[] = [];
    const giveUp = this.pool.take(1000, 0, (connection, failure) =>
      outcomes.push(connection ?? (failure as PoolFailure)),
    );
    return { outcomes, giveUp };
  }

  opened(): TestChannel {
    const channel = new TestChannel();
    this.channels.push(channel);
    this.opening.shift()?.(channel);
    return channel;
  }

  counts(): number[] {
    return [this.circuit.open('connections'), this.circuit.open('pending')];
  }
}

const isConnection = (outcome: Outcome | undefined): outcome is ClientConnection =>
  outcome !== undefined && 'request' in outcome;
function connectionOf({ outcomes }: { outcomes: readonly Outcome[] }): ClientConnection {
  const [first] = outcomes;
  assert.ok(isConnection(first), JSON.stringify(outcomes));
  assert.equal(outcomes.length, 1, 'told once');
  return first;
}
const failureOf = ({ outcomes }: { outcomes: readonly Outcome[] }): string => {
  const [first] = outcomes;
  assert.ok(first !== undefined && !isConnection(first));
  return `${first.kind}: ${first.message}`;
};

test('a connection is opened, served, kept and taken again', async () => {
  const setup = new Setup();
  const first = setup.take();
  assert.deepEqual(setup.counts(), [1, 1]);
  const channel = setup.opened();
  connectionOf(first).request(head, true, nobody);
  assert.deepEqual(setup.counts(), [1, 0]);
  await turn();
  channel.send(keep);
  const second = setup.take();
  assert.equal(connectionOf(second), connectionOf(first));
  assert.equal(setup.opening.length, 0);
});

test('whoever gives up before the connection is there leaves it to the next', () => {
  const setup = new Setup();
  const first = setup.take();
  first.giveUp?.[Symbol.dispose]();
  assert.deepEqual(setup.counts(), [1, 0]);
  setup.opened();
  assert.deepEqual(first.outcomes, []);
  const second = setup.take();
  connectionOf(second);
  assert.equal(setup.opening.length, 0, 'no second connection');
});

test('a connection that its waiter has no use for is free', () => {
  const setup = new Setup();
  let told = 0;
  setup.pool.take(1000, 0, () => told++);
  setup.opened();
  assert.equal(told, 1);
  connectionOf(setup.take());
});

test('a failed opening is told to the one that has waited longest, the last one to all', () => {
  const setup = new Setup();
  const waiters = [setup.take(), setup.take(), setup.take()];
  setup.opening.shift()?.(undefined, { kind: 'timeout', message: 'late' });
  assert.deepEqual(
    waiters.map(({ outcomes }) => outcomes.length),
    [1, 0, 0],
  );
  setup.opening.shift()?.(undefined, { kind: 'connect', message: 'refused' });
  setup.opening.shift()?.(undefined, { kind: 'connect', message: 'refused' });
  assert.deepEqual(waiters.map(failureOf), ['timeout: late', 'connect: refused', 'connect: refused']);
  assert.deepEqual(setup.counts(), [0, 0]);
});

test('limits: what cannot wait is refused, what waits gets the connection that is free', async () => {
  const setup = new Setup(1, 1);
  const first = setup.take();
  const channel = setup.opened();
  connectionOf(first).request(head, true, nobody);
  await turn();
  const second = setup.take();
  const third = setup.take();
  assert.equal(failureOf(third), 'overflow: a limit of connections or of waiting requests is reached');
  channel.send(keep);
  assert.equal(connectionOf(second), connectionOf(first));
  assert.deepEqual(setup.counts(), [1, 0]);
});

test('a server that ends its connection in order does not fail those who wait for it', async () => {
  const setup = new Setup(1);
  const first = setup.take();
  const channel = setup.opened();
  connectionOf(first).request(head, true, nobody);
  await turn();
  const second = setup.take();
  channel.send(close);
  assert.deepEqual(second.outcomes, []);
  assert.equal(setup.opening.length, 1, 'they get one of their own');
  setup.opened();
  connectionOf(second);
  assert.deepEqual(setup.counts(), [1, 0]);
});

test('a server that ends each connection before it serves is not asked for ever', () => {
  const setup = new Setup(undefined, undefined, 'http2');
  const waiter = setup.take();
  setup.opened().close('not today');
  assert.match(failureOf(waiter), /^connect: .*not today/);
  assert.equal(setup.opening.length, 0);
  assert.deepEqual(setup.counts(), [0, 0]);
});

test('an endpoint that is gone: those who wait are told, and what comes too late is cut', () => {
  const setup = new Setup();
  const waiter = setup.take();
  setup.pool.drain();
  assert.equal(failureOf(waiter), 'connect: the endpoint is gone');
  assert.deepEqual(setup.opened().resets, [8]);
  assert.deepEqual(setup.counts(), [0, 0]);
  assert.equal(failureOf(setup.take()), 'connect: the endpoint is gone');
});

test('a connection that has lasted as long as it may takes no more requests', async () => {
  const setup = new Setup(undefined, undefined, 'http1', { maxDurationMs: 1000 });
  const first = setup.take();
  const channel = setup.opened();
  connectionOf(first).request(head, true, nobody);
  await turn();
  channel.send(keep);
  setup.clock.advance(999);
  const second = setup.take();
  assert.equal(connectionOf(second), connectionOf(first));
  connectionOf(second).request(head, true, nobody);
  await turn();
  setup.clock.advance(1);
  channel.send(keep);
  await turn();
  const third = setup.take();
  assert.deepEqual(third.outcomes, []);
  assert.equal(setup.opening.length, 1, 'it gets a new one');
});
