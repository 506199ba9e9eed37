import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { duplexPair, type Duplex } from 'node:stream';
import { suite, test } from 'node:test';
import { framed } from './exchange.ts';
import { DnsTcpClient } from './tcp-client.ts';

/** Both ends of a connection in memory, with what a socket has besides. */
class Line {
  readonly far: Duplex;
  readonly near: Socket;
  readonly client: DnsTcpClient;
  readonly asked: { text: string; reply: (text: string | undefined) => void }[] = [];
  silence: () => void = () => {};
  received = '';
  ended = false;
  closed = false;

  constructor() {
    const [near, far] = duplexPair({ allowHalfOpen: true });
    this.far = far;
    this.near = Object.assign(near, {
      setTimeout: (_ms: number, silence: () => void) => (this.silence = silence),
    }) as unknown as Socket;
    near.on('close', () => (this.closed = true));
    far.on('data', (chunk: Buffer) => (this.received += chunk.toString('latin1')));
    far.on('end', () => (this.ended = true));
    far.on('error', () => {});
    this.client = new DnsTcpClient(this.near, (message) => {
      const { promise, resolve } = Promise.withResolvers<Uint8Array | undefined>();
      const reply = (text: string | undefined): void =>
        resolve(text === undefined ? text : Buffer.from(text));
      this.asked.push({ text: Buffer.from(message).toString(), reply });
      return promise;
    });
  }

  async send(bytes: Uint8Array): Promise<void> {
    this.far.write(bytes);
    await turns();
  }

  async reply(index: number, text: string | undefined): Promise<void> {
    this.asked[index]?.reply(text);
    await turns();
  }

  get texts(): string[] {
    return this.asked.map(({ text }) => text);
  }
}

const turns = async (): Promise<void> => {
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
};
const message = (text: string): Buffer => framed(Buffer.from(text));

suite('questions over TCP', () => {
  test('in pieces, and several in one piece; answered as they become ready', async () => {
    const line = new Line();
    for (const byte of message('one')) await line.send(Buffer.of(byte));
    await line.send(Buffer.concat([message('two'), message('three').subarray(0, 4)]));
    assert.deepEqual(line.texts, ['one', 'two']);
    await line.send(message('three').subarray(4));
    await line.reply(2, 'III');
    await line.reply(0, 'I');
    assert.deepEqual([line.texts, line.received], [['one', 'two', 'three'], '\0\x03III\0\x01I']);
  });

  test('a client that has nothing more to ask still gets its answers', async () => {
    const line = new Line();
    line.far.end(Buffer.concat([message('one'), message('two')]));
    await turns();
    await line.reply(0, 'I');
    assert.equal(line.ended, false);
    await line.reply(1, 'II');
    assert.deepEqual([line.received, line.ended], ['\0\x01I\0\x02II', true]);
  });

  test('no more than 32 at a time', async () => {
    const line = new Line();
    await line.send(Buffer.concat(Array.from({ length: 40 }, (_, i) => message(`n${i}`))));
    assert.equal(line.asked.length, 32);
    for (let i = 0; i < 5; i++) await line.reply(i, 'x');
    assert.equal(line.asked.length, 37);
    for (let i = 5; i < 40; i++) await line.reply(i, 'x');
    assert.deepEqual([line.asked.length, line.received.length], [40, 40 * 3]);
  });

  test('the proxy closes: what was asked is answered first', async () => {
    const line = new Line();
    await line.send(message('one'));
    line.client.end();
    await turns();
    assert.equal(line.ended, false);
    await line.reply(0, 'I');
    assert.deepEqual([line.received, line.ended], ['\0\x01I', true]);
    const idle = new Line();
    idle.client.end();
    await turns();
    assert.equal(idle.ended, true);
  });

  test('silence closes, but not while an answer is awaited', async () => {
    const line = new Line();
    await line.send(message('one'));
    line.silence();
    await turns();
    assert.equal(line.closed, false);
    await line.reply(0, 'I');
    line.silence();
    await turns();
    assert.equal(line.closed, true);
  });

  test('what deserves no answer closes', async () => {
    const line = new Line();
    await line.send(Buffer.concat([message(''), message('one')]));
    await line.reply(0, undefined);
    assert.equal(line.closed, true);
    await line.reply(1, 'I');
    assert.equal(line.received, '');
  });

  test('a client that does not read is closed before its answers fill the memory', async () => {
    const line = new Line();
    line.far.pause();
    for (let i = 0; i < 60 && !line.closed; i++) {
      await line.send(message(`n${i}`));
      await line.reply(i, 'x'.repeat(60_000));
    }
    assert.equal(line.closed, true);
    assert.ok(line.asked.length < 40, String(line.asked.length));
  });
});
