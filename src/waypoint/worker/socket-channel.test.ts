import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { test } from 'node:test';
import type { ByteSink } from '#/http/index.ts';
import { SocketChannel } from './socket-channel.ts';

class Sink implements ByteSink {
  text = '';
  bytes = 0;
  readonly events: string[] = [];
  readonly #changed: (() => void)[] = [];
  data(chunk: Buffer): void {
    this.bytes += chunk.length;
    if (this.bytes < 1000) this.text += chunk.toString('latin1');
    this.#tell();
  }
  ended(): void {
    this.events.push('ended');
    this.#tell();
  }
  writable(): void {
    this.events.push('writable');
    this.#tell();
  }
  closed(reason?: { readonly message: string }): void {
    this.events.push(reason === undefined ? 'closed' : 'cut');
    this.#tell();
  }
  #tell(): void {
    for (const tell of this.#changed.splice(0)) tell();
  }
  async until(condition: (sink: this) => boolean): Promise<void> {
    while (!condition(this)) await new Promise<void>((resolve) => this.#changed.push(resolve));
  }
}

async function pair(): Promise<{ channel: SocketChannel; sink: Sink; peer: Socket }> {
  const server = createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const socket = connect({
    port: (server.address() as AddressInfo).port,
    host: '127.0.0.1',
    allowHalfOpen: true,
  });
  const [peer] = (await once(server, 'connection')) as [Socket];
  server.close();
  peer.on('error', () => {});
  if (socket.connecting) await once(socket, 'connect');
  socket.pause();
  const channel = new SocketChannel(socket);
  const sink = new Sink();
  channel.sink = sink;
  return { channel, sink, peer };
}

test('bytes and ends go both ways', async () => {
  const { channel, sink, peer } = await pair();
  const lent = Buffer.from('hello');
  channel.write(lent);
  lent.fill(0);
  channel.end();
  let got = '';
  peer.on('data', (chunk: Buffer) => (got += chunk.toString()));
  await once(peer, 'end');
  assert.equal(got, 'hello');
  peer.end('world');
  await sink.until(({ events }) => events.includes('closed'));
  assert.equal(sink.text, 'world');
  assert.deepEqual(sink.events, ['ended', 'closed']);
});

test('a peer that cuts is told as a cut', async () => {
  const { sink, peer } = await pair();
  peer.resetAndDestroy();
  await sink.until(({ events }) => events.length > 0);
  assert.deepEqual(sink.events, ['cut']);
});

test('a reset of ours is seen by the peer, and nothing is told any more', async () => {
  const { channel, sink, peer } = await pair();
  const cut = new Promise<string | undefined>((resolve) => {
    peer.once('error', (error: NodeJS.ErrnoException) => resolve(error.code));
    peer.once('end', () => resolve('end'));
  });
  peer.resume();
  channel.reset(8);
  assert.equal(await cut, 'ECONNRESET');
  assert.deepEqual(sink.events, []);
});

test('a sink that takes nothing holds the peer back, and goes on when it does', async () => {
  const { channel, sink, peer } = await pair();
  const total = 16 << 20;
  peer.end(Buffer.alloc(total));
  await sink.until(({ bytes }) => bytes >= 256 * 1024);
  await new Promise((resolve) => setTimeout(resolve, 50));
  const held = sink.bytes;
  assert.ok(held < 1024 * 1024, `${held} bytes were read`);
  let given = 0;
  while (sink.bytes < total) {
    const fresh = sink.bytes - given;
    given += fresh;
    channel.consumed(fresh);
    await sink.until(({ bytes }) => bytes > given || bytes === total);
  }
  assert.equal(sink.bytes, total);
  channel.reset(0);
});

test('a peer that takes nothing: write says so, and when it may go on', async () => {
  const { channel, sink, peer } = await pair();
  const chunk = Buffer.alloc(64 * 1024);
  for (let i = 0; channel.write(chunk); i++) {
    assert.ok(i < 10_000);
    if (i % 2 === 1) await new Promise((resolve) => setImmediate(resolve));
  }
  assert.deepEqual(sink.events, []);
  peer.resume();
  await sink.until(({ events }) => events.includes('writable'));
  channel.reset(0);
});
