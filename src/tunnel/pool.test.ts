import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { H2Connection } from './h2/connection.ts';
import { connectRequest, RecordingSink } from './h2/scripted-peer.ts';
import { missedPings } from './hbone.ts';
import { SessionPool, type PoolOptions } from './pool.ts';
import { settle, TunnelPair, until } from './tunnel-pair.ts';

/** A pool, and servers that are opened for it. Time moves by hand. */
class World implements Disposable {
  now = 0;
  readonly pairs: TunnelPair[] = [];
  readonly pool: SessionPool;
  opens = 0;
  /** What an `open` waits for. */
  gate: Promise<void> = Promise.resolve();
  /** Done to a new pair before the pool gets it. */
  prepare: (pair: TunnelPair) => unknown = () => {};

  constructor(options: Partial<PoolOptions> = {}) {
    this.pool = new SessionPool({
      maxStreams: 100,
      idleMs: 300_000,
      maxSessions: 50,
      now: () => this.now,
      ...options,
    });
  }

  readonly open = async (): Promise<H2Connection> => {
    this.opens++;
    await this.gate;
    const pair = new TunnelPair((stream) => {
      new RecordingSink(stream);
      stream.respond([[':status', '200']]);
    });
    this.pairs.push(pair);
    pair.onClientLeaves = () => this.pool.remove(pair.client);
    await this.prepare(pair);
    return pair.client;
  };

  /** Asks for a stream; resolves with its sink. */
  async stream(key = 'key'): Promise<RecordingSink> {
    let sink: RecordingSink | undefined;
    await this.pool.checkout(key, this.open, (connection) => {
      sink = new RecordingSink(connection.session.request(connectRequest));
    });
    return sink as RecordingSink;
  }

  [Symbol.dispose](): void {
    this.pool.destroy('the test is over');
    for (const pair of this.pairs) pair[Symbol.dispose]();
  }
}

const connections = (sinks: readonly RecordingSink[]): number =>
  new Set(sinks.map((sink) => sink.stream.session)).size;

test('connections are reused', async () => {
  using world = new World();
  const sinks = [await world.stream(), await world.stream(), await world.stream()];
  assert.equal(connections(sinks), 1);
  assert.equal(world.opens, 1);
  assert.equal(world.pool.size, 1);
  assert.equal(world.pool.take('key')?.session, sinks[0]?.stream.session);
});

test('a connection is reused after its streams have ended', async () => {
  using world = new World();
  const first = await world.stream();
  first.stream.reset(8);
  const second = await world.stream();
  assert.equal(connections([first, second]), 1);
});

test('unique keys have unique connections', async () => {
  using world = new World();
  const sinks = await Promise.all(['a', 'b', 'c', 'a'].map((key) => world.stream(key)));
  assert.equal(connections(sinks), 3);
  assert.equal(world.opens, 3);
  assert.equal(world.pool.take('d'), undefined);
});

test('a single open for many first requests', async () => {
  using world = new World();
  const { promise, resolve } = Promise.withResolvers<void>();
  world.gate = promise;
  const pending = Array.from({ length: 60 }, () => world.stream());
  await settle();
  assert.equal(world.opens, 1);
  resolve();
  assert.equal(connections(await Promise.all(pending)), 1);
  assert.equal(world.opens, 1);
});

test('connection limits: more streams than fit open more connections, one at a time', async () => {
  using world = new World({ maxStreams: 10 });
  let opening = 0;
  let most = 0;
  const { open } = world;
  const counted = async (): Promise<H2Connection> => {
    most = Math.max(most, ++opening);
    const connection = await open();
    opening--;
    return connection;
  };
  const sinks: RecordingSink[] = [];
  await Promise.all(
    Array.from({ length: 35 }, () =>
      world.pool.checkout('key', counted, (connection) => {
        sinks.push(new RecordingSink(connection.session.request(connectRequest)));
      }),
    ),
  );
  assert.equal(connections(sinks), 4);
  assert.equal(most, 1);
  for (const pair of world.pairs) assert.ok(pair.client.session.streams.size <= 10);
});

test("connection limits: the peer's own limit counts as well", async () => {
  using world = new World();
  world.prepare = async (pair) => {
    await until(() => pair.client.session.peerMaxConcurrent === 200);
    pair.client.session.peerMaxConcurrent = 2;
  };
  const sinks = [await world.stream(), await world.stream(), await world.stream()];
  assert.equal(connections(sinks), 2);
});

test('connection limits: one session more than the pool may hold is refused, also while others are opened', async () => {
  using world = new World({ maxSessions: 3 });
  await world.stream('a');
  const { promise, resolve } = Promise.withResolvers<void>();
  world.gate = promise;
  const pending = ['b', 'c'].map((key) => world.stream(key));
  await settle();
  await assert.rejects(world.stream('d'), { code: 'OVER_LIMIT' });
  resolve();
  await Promise.all(pending);
  await assert.rejects(world.stream('d'), { code: 'OVER_LIMIT' });
  await world.stream('a');
  assert.equal(world.opens, 3);
});

test('a failed open rejects all who wait, and the next one tries again', async () => {
  using world = new World();
  const { promise, reject } = Promise.withResolvers<void>();
  world.gate = promise;
  const pending = Array.from({ length: 10 }, () => world.stream());
  await settle();
  reject(new Error('no route'));
  const results = await Promise.allSettled(pending);
  assert.ok(
    results.every(
      (result) => result.status === 'rejected' && (result.reason as Error).message === 'no route',
    ),
  );
  assert.equal(world.pool.size, 0);
  world.gate = Promise.resolve();
  await world.stream();
  assert.equal(world.opens, 2);
});

test('an open that throws at once is a failed open', async () => {
  using world = new World();
  const broken = (): Promise<H2Connection> => {
    throw new Error('at once');
  };
  await assert.rejects(
    world.pool.checkout('key', broken, () => {}),
    /at once/,
  );
  await world.stream();
});

test('a session that is of no use when it is new is an error, not a loop', async () => {
  for (const spoil of [
    (pair: TunnelPair) => (pair.client.session.peerMaxConcurrent = 0),
    (pair: TunnelPair) => pair.client.destroy('lost at once'),
    async (pair: TunnelPair) => {
      const open = new RecordingSink(pair.client.session.request(connectRequest));
      await until(() => open.events.length > 0);
      pair.server.session.drain();
      await until(() => pair.client.session.goingAway);
    },
  ]) {
    using world = new World();
    world.prepare = spoil;
    const results = await Promise.allSettled([world.stream(), world.stream(), world.stream()]);
    for (const result of results) {
      assert.equal(result.status, 'rejected');
      assert.equal((result.reason as { code: string }).code, 'H2_FAILED');
    }
    assert.equal(world.opens, 1);
    assert.equal(world.pool.size, 0);
    assert.equal(world.pairs[0]?.client.transport.destroyed, true);
  }
});

test('goaway: no new streams, the open ones end, then it is forgotten', async () => {
  using world = new World();
  const first = await world.stream();
  await until(() => first.events.length > 0);
  const [pair] = world.pairs;
  pair?.server.session.drain();
  await until(() => pair?.client.session.goingAway === true);
  assert.equal(world.pool.take('key'), undefined);
  assert.equal(world.pool.size, 1, 'still under watch');
  const second = await world.stream();
  assert.equal(connections([first, second]), 2);
  first.stream.reset(8);
  await until(() => pair?.clientClosed.length === 1);
  await until(() => world.pool.size === 1);
  assert.equal(second.failure, undefined);
});

test('goaway: a session that only finishes its streams is still asked for life, and ended with the others', async () => {
  using world = new World();
  const sink = await world.stream();
  await until(() => sink.events.length > 0);
  const client = world.pairs[0]?.client as H2Connection;
  world.pairs[0]?.server.session.drain();
  await until(() => client.session.goingAway);
  const checks: number[] = [];
  client.checkAlive = (misses) => checks.push(misses);
  world.pool.tick();
  assert.deepEqual(checks, [missedPings]);
  world.pool.destroyWhere((connection) => connection === client, 'certificate revoked');
  assert.equal(client.transport.destroyed, true);
  assert.match(sink.events.at(-1) ?? '', /^closed session/);
});

test('a lost connection is not given out, and is forgotten', async () => {
  using world = new World();
  const first = await world.stream();
  world.pairs[0]?.client.transport.destroy();
  await until(() => first.events.some((event) => event.startsWith('closed')));
  const second = await world.stream();
  assert.equal(connections([first, second]), 2);
  await until(() => world.pool.size === 1);
});

test('a lost connection that nobody told the pool of is forgotten at the next tick', async () => {
  using world = new World();
  const pair = new TunnelPair();
  await world.pool.checkout(
    'key',
    () => Promise.resolve(pair.client),
    () => {},
  );
  pair.client.destroy('lost');
  assert.equal(world.pool.size, 1);
  world.pool.tick();
  assert.equal(world.pool.size, 0);
});

test('idle eviction: after the time without use, if no stream is open', async () => {
  using world = new World();
  const sink = await world.stream();
  await until(() => sink.events.length > 0);
  world.now = 300_001;
  world.pool.tick();
  assert.equal(world.pairs[0]?.client.session.goingAway, false, 'a stream is open');
  sink.stream.reset(8);
  const again = await world.stream();
  again.stream.reset(8);
  world.now += 300_000;
  world.pool.tick();
  assert.equal(world.pairs[0]?.client.session.goingAway, false, 'not yet');
  world.now += 1;
  world.pool.tick();
  await until(() => world.pool.size === 0);
  assert.deepEqual(world.pairs[0]?.clientClosed, [undefined]);
  const next = await world.stream();
  assert.equal(connections([sink, next]), 2);
});

test('tick: a peer that answers stays, one that does not is dropped and its streams fail', async () => {
  using world = new World();
  const alive = await world.stream('alive');
  const dead = await world.stream('dead');
  await until(() => alive.events.length > 0 && dead.events.length > 0);
  world.pairs[1]?.server.transport.pause();
  for (let i = 0; i < missedPings + 1; i++) {
    world.now += 10_000;
    world.pool.tick();
    await settle();
  }
  assert.match(dead.events.at(-1) ?? '', /^closed session/);
  assert.equal(alive.stream.gone, false);
  await until(() => world.pool.size === 1);
});

test('drain: no new requests, open streams may end', async () => {
  using world = new World();
  const sink = await world.stream();
  await until(() => sink.events.length > 0);
  world.pool.drain();
  await assert.rejects(world.stream(), { code: 'DRAINED' });
  assert.equal(sink.stream.gone, false);
  sink.stream.reset(8);
  await until(() => world.pool.size === 0);
});

test('destroy: all end, and an open that is under way is not used', async () => {
  using world = new World();
  const sink = await world.stream('a');
  const { promise, resolve } = Promise.withResolvers<void>();
  world.gate = promise;
  const late = world.stream('b');
  await settle();
  world.pool.destroy('the pod is gone');
  assert.equal(sink.stream.gone, true);
  resolve();
  await assert.rejects(late, { code: 'DRAINED' });
  assert.ok(world.pairs.every((pair) => pair.client.transport.destroyed));
  await until(() => world.pool.size === 0);
});

test('remove of a connection that is not there does nothing', async () => {
  using world = new World();
  await world.stream();
  using stranger = new TunnelPair();
  world.pool.remove(stranger.client);
  assert.equal(world.pool.size, 1);
});
