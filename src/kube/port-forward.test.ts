import assert from 'node:assert/strict';
import { duplexPair, type Duplex } from 'node:stream';
import { test } from 'node:test';
import { forwardedStream } from './port-forward.ts';
import { WebSocketFrames } from './web-socket-frames.ts';

/** A frame as a server sends it: not masked. */
function frame(opcode: number, data: Buffer): Buffer {
  const { length } = data;
  const head = Buffer.alloc(length < 126 ? 2 : 4);
  head[0] = 0x80 | opcode;
  if (length < 126) head[1] = length;
  else {
    head[1] = 126;
    head.writeUInt16BE(length, 2);
  }
  return Buffer.concat([head, data]);
}

const binary = (...parts: readonly (number | string)[]): Buffer =>
  frame(
    2,
    Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : Buffer.from([part])))),
  );

function pair(): { readonly server: Duplex; readonly stream: Duplex } {
  const [client, server] = duplexPair();
  return { server, stream: forwardedStream(client, Buffer.alloc(0), 'port 80 of pod a/b') };
}

test('data goes both ways, without the messages that tell the port, however the bytes are cut', async () => {
  const { server, stream } = pair();
  const bytes = Buffer.concat([
    binary(0, 80, 0),
    binary(1, 80, 0),
    binary(0, 'hello '),
    binary(0, 'x'.repeat(300)),
  ]);
  for (const byte of bytes) server.write(Buffer.from([byte]));
  let text = '';
  for await (const chunk of stream) {
    text += String(chunk);
    if (text.length === 306) break;
  }
  assert.equal(text, `hello ${'x'.repeat(300)}`);
});

test('what is written is a masked frame on the data channel', async () => {
  const { server, stream } = pair();
  stream.write('GET');
  const [sent] = (await new Promise<Buffer[]>((resolve) => {
    server.once('data', (chunk: Buffer) => resolve([chunk]));
  })) as [Buffer];
  assert.deepEqual(sent, Buffer.from([0x82, 0x84, 0, 0, 0, 0, 0, 0x47, 0x45, 0x54]));
  stream.destroy();
});

test('a reason on the error channel is the error of the stream, and a close is its end', async () => {
  const failing = pair();
  failing.server.write(Buffer.concat([binary(0, 80, 0), binary(1, 80, 0), binary(1, 'connection refused')]));
  const error = await new Promise<Error>((resolve) => failing.stream.once('error', resolve));
  assert.equal(error.message, 'port 80 of pod a/b: connection refused');
  const closing = pair();
  closing.server.write(frame(8, Buffer.from([3, 232])));
  closing.stream.resume();
  await new Promise((resolve) => closing.stream.once('end', resolve));
});

test('a frame that is too large or masked ends the connection', () => {
  const frames = new WebSocketFrames({ message: () => {}, ping: () => {}, close: () => {} });
  assert.throws(() => frames.read(Buffer.from([0x82, 127, 0, 0, 0, 1, 0, 0, 0, 0])), /too large/);
  const masked = new WebSocketFrames({ message: () => {}, ping: () => {}, close: () => {} });
  assert.throws(() => masked.read(Buffer.from([0x82, 0x81, 0, 0, 0, 0, 1])), /masked/);
});
