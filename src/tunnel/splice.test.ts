// The splice between a TCP connection on loopback and a stream of a tunnel in memory. `app` is the application's
// end of the TCP connection, `far` the stream's end at the peer.
import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { test } from 'node:test';
import { patternAt, PatternCheck, pump } from './h2/byte-pattern.ts';
import { h2Error } from './h2/frames.ts';
import type { RecordingSink } from './h2/scripted-peer.ts';
import { Splice, type SpliceResult } from './splice.ts';
import { countCredit, settle, SocketLog, socketPair, TunnelPair, until } from './tunnel-pair.ts';

const windows = { streamWindow: 200_000, connectionWindow: 800_000, maxFrameSize: 65_536 };

class Scene implements Disposable {
  readonly pair = new TunnelPair(undefined, windows);
  readonly results: SpliceResult[] = [];
  /** Bytes that the stream got when its splice was over. */
  cameLate: () => number = () => 0;
  readonly credited = countCredit(this.pair.client);
  far!: RecordingSink;
  near!: RecordingSink;
  app!: Socket;
  log!: SocketLog;
  socket!: Socket;
  splice!: Splice;

  /** @param read whether the application reads */
  async start(
    options: { read?: boolean; hold?: boolean; before?: (scene: Scene) => unknown } = {},
  ): Promise<this> {
    const { near, far } = await this.pair.open(options.hold);
    [this.socket, this.app] = await socketPair();
    this.far = far;
    this.near = near;
    this.log = new SocketLog(this.app, options.read ?? true);
    await options.before?.(this);
    this.splice = new Splice(this.socket, near.stream, (result) => this.results.push(result));
    assert.equal(this.results.length, 0, 'told later, not at once');
    return this;
  }

  /** The splice is over: told once, nothing is left, every byte is credited, also those that came after the end. */
  async over(): Promise<SpliceResult> {
    await until(() => this.results.length > 0 && this.socket.destroyed);
    await settle();
    const [result] = this.results;
    assert.equal(this.results.length, 1, 'told once');
    assert.equal(this.near.stream.gone, true);
    const late = this.cameLate();
    assert.equal(this.credited(), this.splice.toSocket + late, 'credited');
    return result as SpliceResult;
  }

  /** The application has seen the end, whatever it is, and all that came before. */
  appClosed(): Promise<void> {
    return until(() => this.log.events.includes('close'));
  }

  [Symbol.dispose](): void {
    this.app?.destroy();
    this.socket?.destroy();
    this.pair[Symbol.dispose]();
  }
}

test('bytes both ways, half-closes, and one result', async () => {
  using scene = await new Scene().start();
  const check = new PatternCheck();
  scene.far.data = (chunk) => {
    check.take(chunk);
    scene.far.stream.consumed(chunk.length);
  };
  const down = new PatternCheck();
  scene.app.on('data', (chunk: Buffer) => down.take(chunk));
  for (let at = 0; at < 3_000_000; at += 50_000) scene.app.write(patternAt(at, 50_000));
  scene.app.end();
  pump(scene.far.stream, scene.far, 2_000_000);
  const result = await scene.over();
  await scene.appClosed();
  await until(() => scene.far.events.includes('closed'));
  assert.deepEqual(result, { fromSocket: 3_000_000, toSocket: 2_000_000 });
  assert.equal(check.at, 3_000_000);
  assert.equal(down.at, 2_000_000);
  assert.deepEqual(
    scene.far.events.filter((event) => event !== 'writable'),
    ['ended', 'closed'],
  );
  assert.deepEqual(scene.log.events, ['end', 'close']);
});

test('the application ends first and still gets its answer', async () => {
  using scene = await new Scene().start();
  scene.app.end('question');
  await until(() => scene.far.events.includes('ended'));
  assert.deepEqual(scene.log.events, []);
  scene.far.stream.write(Buffer.from('answer'));
  await until(() => scene.log.text === 'answer');
  assert.deepEqual(scene.results, []);
  scene.far.stream.end();
  assert.deepEqual(await scene.over(), { fromSocket: 8, toSocket: 6 });
});

test('the peer ends first and still gets what the application says', async () => {
  using scene = await new Scene().start();
  scene.far.stream.write(Buffer.from('bye'));
  scene.far.stream.end();
  await until(() => scene.log.events.includes('end'));
  scene.app.write('one moment');
  await until(() => scene.far.text === 'one moment');
  assert.deepEqual(scene.results, []);
  scene.app.end();
  assert.deepEqual(await scene.over(), { fromSocket: 10, toSocket: 3 });
});

test('the application has ended, and reads late: it still gets all, and an end', async () => {
  for (const length of [100, 3_000_000]) {
    using scene = await new Scene().start({ read: false });
    scene.app.end('question');
    await until(() => scene.far.events.includes('ended'));
    pump(scene.far.stream, scene.far, length);
    await settle();
    scene.log.read();
    assert.deepEqual(await scene.over(), { fromSocket: 8, toSocket: length });
    await scene.appClosed();
    assert.equal(scene.log.bytes, length);
    assert.deepEqual(scene.log.events, ['end', 'close']);
  }
});

test('a socket that was made without half-open is made to allow it', async () => {
  using scene = await new Scene().start({ before: ({ socket }) => (socket.allowHalfOpen = false) });
  scene.app.end('question');
  await until(() => scene.far.events.includes('ended'));
  scene.far.stream.write(Buffer.from('answer'));
  scene.far.stream.end();
  await until(() => scene.log.text === 'answer');
  await scene.over();
});

/** Ways in which the peer cuts the tunnel. The application must see a reset, never an orderly end. */
const cuts: readonly [name: string, cut: (scene: Scene) => void, failure: boolean][] = [
  ['CANCEL, as when its own client went away', (s) => s.far.stream.reset(h2Error.cancel), false],
  ['NO_ERROR before its end', (s) => s.far.stream.reset(h2Error.noError), false],
  ['another reset', (s) => s.far.stream.reset(h2Error.internalError), true],
  ['the end of its connection', (s) => s.pair.server.destroy('gone'), true],
  ['the loss of the transport', (s) => s.pair.client.transport.destroy(), true],
];

for (const [name, cut, failure] of cuts) {
  for (const when of [
    'idle',
    'with bytes',
    'while the application does not read',
    'after the application ended',
  ] as const) {
    test(`cut by the peer: ${name}, ${when}`, async () => {
      using scene = await new Scene().start({ read: when !== 'while the application does not read' });
      if (when === 'with bytes') scene.far.stream.write(Buffer.alloc(5000));
      if (when === 'while the application does not read') {
        pump(scene.far.stream, scene.far, 10_000_000);
        await until(() => scene.socket.writableNeedDrain);
      }
      if (when === 'after the application ended') {
        scene.app.end('x');
        await until(() => scene.far.events.includes('ended'));
      }
      cut(scene);
      const result = await scene.over();
      assert.equal(result.failure?.side, failure ? 'tunnel' : undefined);
      if (when === 'while the application does not read') scene.log.read();
      await until(() => scene.log.events.includes('close'));
      assert.deepEqual(scene.log.events, ['ECONNRESET', 'close'], 'no orderly end');
    });
  }
}

test('bytes and a reset in one turn: the application sees the reset', async () => {
  using scene = await new Scene().start();
  // Straight to the sink, as when both frames come in one chunk.
  scene.splice.data(Buffer.from('never mind'));
  scene.near.stream.consumed(0);
  scene.splice.closed({ kind: 'reset', code: h2Error.internalError, message: 'cut' });
  await settle();
  scene.near.stream.reset(h2Error.cancel);
  await until(() => scene.results.length > 0 && scene.log.events.includes('close'));
  assert.equal(scene.results.length, 1);
  assert.equal(scene.results[0]?.failure?.message, 'cut');
  assert.equal(scene.log.events[0], 'ECONNRESET');
});

test('the application resets: ordinary, and the peer is told', async () => {
  for (const busy of [false, true]) {
    using scene = await new Scene().start({ read: !busy });
    if (busy) {
      pump(scene.far.stream, scene.far, 10_000_000);
      await until(() => scene.socket.writableNeedDrain);
    }
    scene.app.resetAndDestroy();
    assert.equal((await scene.over()).failure, undefined);
    await until(() => scene.far.failure !== undefined);
    assert.equal(scene.far.failure?.code, h2Error.cancel);
  }
});

test('the application closes while the peer still sends', async () => {
  using scene = await new Scene().start();
  scene.app.destroy();
  await until(() => scene.far.events.includes('ended'));
  pump(scene.far.stream, scene.far, 10_000_000);
  // Frames that were on their way when we reset the stream.
  scene.cameLate = () => scene.credited() - scene.splice.toSocket;
  assert.equal((await scene.over()).failure, undefined);
  await until(() => scene.far.failure !== undefined);
  assert.equal(scene.far.failure?.code, h2Error.cancel);
  assert.ok(scene.cameLate() >= 0);
});

test('an error of the socket that is no ordinary end is the failure', async () => {
  using scene = await new Scene().start();
  scene.socket.destroy(Object.assign(new Error('read ETIMEDOUT'), { code: 'ETIMEDOUT' }));
  assert.deepEqual((await scene.over()).failure, { side: 'socket', message: 'read ETIMEDOUT' });
  await until(() => scene.far.failure !== undefined);
});

test('an application that does not read holds the peer back, and gets everything once it does', async () => {
  using scene = await new Scene().start({ read: false });
  pump(scene.far.stream, scene.far, 12_000_000);
  await until(() => scene.socket.writableNeedDrain && scene.far.stream.waiting);
  await settle();
  const held = scene.splice.toSocket - scene.credited();
  assert.ok(held <= windows.streamWindow, `${held} bytes are held`);
  assert.ok(scene.socket.writableLength <= windows.streamWindow + 65_536);
  scene.log.read();
  scene.app.end();
  assert.equal((await scene.over()).toSocket, 12_000_000);
  await scene.appClosed();
  assert.equal(scene.log.bytes, 12_000_000);
});

test('a peer that does not read holds the application back', async () => {
  using scene = await new Scene().start({ hold: true });
  let blocked = false;
  for (let i = 0; i < 400 && !blocked; i++) {
    blocked = !scene.app.write(Buffer.alloc(50_000));
    await settle();
  }
  assert.equal(blocked, true);
  assert.equal(scene.far.bytes, windows.streamWindow);
  assert.ok(scene.near.stream.pendingBytes <= 2 * 65_536, `${scene.near.stream.pendingBytes} bytes wait`);
  scene.far.hold = false;
  scene.far.stream.consumed(scene.far.bytes);
  scene.app.end();
  scene.far.stream.end();
  const { fromSocket } = await scene.over();
  await until(() => scene.far.events.includes('closed'));
  assert.equal(scene.far.bytes, fromSocket);
});

test('small frames to an application that does not read cost few writes', async () => {
  using scene = await new Scene().start({ read: false });
  const writes: number[] = [];
  const { socket } = scene;
  pump(scene.far.stream, scene.far, 12_000_000);
  await until(() => socket.writableNeedDrain && scene.far.stream.waiting);
  const write = socket.write.bind(socket) as (chunk: Buffer, done?: () => void) => boolean;
  socket.write = ((chunk: Buffer, done?: () => void) => {
    writes.push(chunk.length);
    return write(chunk, done);
  }) as typeof socket.write;
  // The rest comes byte by byte, each in a turn of its own.
  for (let i = 0; i < 2000; i++) {
    scene.splice.data(Buffer.from('x'));
    if (i % 10 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  assert.ok(writes.length < 20, `${writes.length} writes`);
});

test('the application has ended while its last bytes wait for the window: they arrive', async () => {
  using scene = await new Scene().start({ hold: true });
  scene.far.stream.end();
  await until(() => scene.log.events.includes('end'));
  scene.app.end(Buffer.alloc(windows.streamWindow + 100_000));
  await until(() => scene.far.bytes === windows.streamWindow && scene.near.stream.pendingBytes > 0);
  await settle();
  assert.deepEqual(scene.results, [], 'not over while bytes wait');
  scene.far.hold = false;
  scene.far.stream.consumed(scene.far.bytes);
  const result = await scene.over();
  await until(() => scene.far.events.includes('closed'));
  assert.equal(scene.far.bytes, windows.streamWindow + 100_000);
  assert.equal(result.failure, undefined);
  assert.equal(scene.far.failure, undefined);
});

test('both have ended while the application has not read all: it gets the rest', async () => {
  using scene = await new Scene().start({ read: false });
  scene.app.end('x');
  pump(scene.far.stream, scene.far, 6_000_000);
  await until(() => scene.near.stream.sink === scene.splice && scene.socket.writableNeedDrain);
  await settle();
  assert.deepEqual(scene.results, []);
  scene.log.read();
  assert.equal((await scene.over()).toSocket, 6_000_000);
  await scene.appClosed();
  assert.equal(scene.log.bytes, 6_000_000);
  assert.deepEqual(scene.log.events, ['end', 'close']);
});

test('the peer wants no more after its end: the application learns it, and the end is told once', async () => {
  using scene = await new Scene().start();
  scene.far.stream.write(Buffer.from('all I say'));
  scene.far.stream.end();
  scene.far.stream.reset(h2Error.noError);
  const result = await scene.over();
  assert.equal(result.failure, undefined);
  await until(() => scene.log.events.length > 0);
  assert.equal(scene.log.text, 'all I say');
  assert.equal(scene.log.events[0], 'end');
  scene.app.write('nobody');
  await settle();
  scene.app.write('listens');
  await until(() => scene.app.destroyed);
});

test('abort ends both sides at once', async () => {
  for (const busy of [false, true]) {
    using scene = await new Scene().start({ read: !busy });
    if (busy) {
      pump(scene.far.stream, scene.far, 10_000_000);
      await until(() => scene.socket.writableNeedDrain);
    }
    scene.splice.abort();
    scene.splice.abort();
    assert.equal((await scene.over()).failure, undefined);
    await until(() => scene.far.failure !== undefined);
    assert.equal(scene.far.failure?.code, h2Error.cancel);
    if (busy) scene.log.read();
    await scene.appClosed();
    assert.equal(scene.log.events[0], 'ECONNRESET');
  }
});

test('abort after the end changes nothing', async () => {
  using scene = await new Scene().start();
  scene.app.end();
  scene.far.stream.end();
  await scene.over();
  scene.splice.abort();
  await scene.appClosed();
  assert.equal(scene.results.length, 1);
  assert.deepEqual(scene.log.events, ['end', 'close']);
});

test('a stream that is over before the splice: the application is reset', async () => {
  using scene = await new Scene().start({
    before: async ({ near, far }) => {
      far.stream.reset(h2Error.cancel);
      await until(() => near.stream.gone);
    },
  });
  await until(() => scene.results.length > 0 && scene.log.events.includes('close'));
  assert.equal(scene.log.events[0], 'ECONNRESET');
});

test('a socket that is over before the splice: the stream is reset', async () => {
  for (const end of [
    (socket: Socket) => socket.destroy(),
    (socket: Socket) => {
      socket.on('error', () => {});
      socket.destroy(Object.assign(new Error('read EIO'), { code: 'EIO' }));
    },
  ]) {
    using scene = await new Scene().start({
      before: async ({ socket }) => {
        end(socket);
        await settle();
      },
    });
    await scene.over();
    await until(() => scene.far.failure !== undefined);
  }
});

test('an application that had ended before the splice', async () => {
  using scene = await new Scene().start({
    before: async ({ app, socket }) => {
      app.end();
      socket.resume();
      await until(() => socket.readableEnded);
    },
  });
  await until(() => scene.far.events.includes('ended'));
  scene.far.stream.write(Buffer.from('still'));
  scene.far.stream.end();
  await scene.over();
  await scene.appClosed();
  assert.equal(scene.log.text, 'still');
});

test('bytes for a socket that is gone are credited', async () => {
  using scene = await new Scene().start();
  scene.socket.destroy();
  scene.splice.data(Buffer.alloc(1000));
  await until(() => scene.results.length > 0);
  scene.splice.data(Buffer.alloc(500));
  await settle();
  assert.equal(scene.credited(), 1500);
});
