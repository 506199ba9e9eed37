// client — [near, | ,far] — server: the splice is in the middle of two TCP connections on loopback.
import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { test } from 'node:test';
import { patternAt, PatternCheck } from './h2/byte-pattern.ts';
import { PlainSplice } from './plain-splice.ts';
import type { SpliceResult } from './splice.ts';
import { settle, SocketLog, socketPair, until } from './tunnel-pair.ts';

class Scene implements Disposable {
  readonly results: SpliceResult[] = [];
  client!: SocketLog;
  server!: SocketLog;
  near!: Socket;
  far!: Socket;
  splice!: PlainSplice;

  async start(options: { read?: boolean; before?: (scene: Scene) => unknown } = {}): Promise<this> {
    const [near, client] = await socketPair();
    const [far, server] = await socketPair();
    this.client = new SocketLog(client);
    this.server = new SocketLog(server, options.read ?? true);
    this.near = near;
    this.far = far;
    await options.before?.(this);
    this.splice = new PlainSplice(near, far, (result) => this.results.push(result));
    return this;
  }

  /** @param seenBy who is to see the end as well. One whose connection was destroyed beside it may go on half-open. */
  async over(seenBy: readonly ('client' | 'server')[] = ['client', 'server']): Promise<SpliceResult> {
    await until(() => this.results.length > 0 && this.near.destroyed && this.far.destroyed);
    await settle();
    assert.equal(this.results.length, 1);
    await until(() => seenBy.every((who) => this[who].events.includes('close')));
    return this.results[0] as SpliceResult;
  }

  [Symbol.dispose](): void {
    for (const socket of [this.near, this.far, this.client?.socket, this.server?.socket]) socket?.destroy();
  }
}

test('bytes both ways, half-closes, and one result', async () => {
  using scene = await new Scene().start();
  const up = new PatternCheck();
  scene.server.socket.on('data', (chunk: Buffer) => up.take(chunk));
  for (let at = 0; at < 3_000_000; at += 50_000) scene.client.socket.write(patternAt(at, 50_000));
  scene.client.socket.end();
  await until(() => scene.server.events.includes('end'));
  assert.deepEqual(scene.client.events, []);
  scene.server.socket.end('answer');
  assert.deepEqual(await scene.over(), { fromSocket: 3_000_000, toSocket: 6 });
  assert.equal(up.at, 3_000_000);
  assert.equal(scene.client.text, 'answer');
  assert.deepEqual(
    [scene.client.events, scene.server.events],
    [
      ['end', 'close'],
      ['end', 'close'],
    ],
  );
});

test('what one side cuts is cut on the other', async () => {
  for (const who of ['client', 'server'] as const) {
    using scene = await new Scene().start();
    scene[who].socket.resetAndDestroy();
    assert.equal((await scene.over()).failure, undefined);
    const other = scene[who === 'client' ? 'server' : 'client'];
    assert.deepEqual(other.events, ['ECONNRESET', 'close']);
  }
});

test('an error that is no ordinary end is the failure', async () => {
  using scene = await new Scene().start();
  scene.far.destroy(Object.assign(new Error('read ETIMEDOUT'), { code: 'ETIMEDOUT' }));
  assert.deepEqual((await scene.over(['client'])).failure, { side: 'socket', message: 'read ETIMEDOUT' });
  assert.equal(scene.client.events[0], 'ECONNRESET');
});

test('a server that does not read holds the client back, and gets all, also after the client has closed', async () => {
  using scene = await new Scene().start({ read: false });
  scene.server.socket.end();
  await until(() => scene.client.events.includes('end'));
  const total = 12_000_000;
  scene.client.socket.end(Buffer.alloc(total));
  await until(() => scene.far.writableNeedDrain);
  await settle();
  assert.ok(scene.far.writableLength < 1_000_000);
  assert.deepEqual(scene.results, []);
  scene.server.read();
  assert.deepEqual(await scene.over(), { fromSocket: total, toSocket: 0 });
  assert.equal(scene.server.bytes, total);
  assert.deepEqual(scene.server.events, ['end', 'close']);
});

test('abort resets both', async () => {
  using scene = await new Scene().start();
  scene.splice.abort();
  scene.splice.abort();
  await scene.over();
  assert.deepEqual([scene.client.events[0], scene.server.events[0]], ['ECONNRESET', 'ECONNRESET']);
});

test('a side that was over, or had ended, before the splice', async () => {
  {
    using scene = await new Scene().start({
      before: async ({ near }) => {
        near.destroy();
        await settle();
      },
    });
    await scene.over(['server']);
    assert.equal(scene.server.events[0], 'ECONNRESET');
  }
  using scene = await new Scene().start({
    before: async ({ near, client }) => {
      client.socket.end();
      near.resume();
      await until(() => near.readableEnded);
    },
  });
  await until(() => scene.server.events.includes('end'));
  scene.server.socket.end('answer');
  await scene.over();
  assert.equal(scene.client.text, 'answer');
});
