import assert from 'node:assert/strict';
import { duplexPair } from 'node:stream';
import { test } from 'node:test';
import { acceptKey, WebSocket } from './websocket.ts';

/** A client's frame: masked, as RFC 6455 asks. */
function frame(opcode: number, data: Buffer | string, final = true, masked = true): Buffer {
  const body = Buffer.from(data);
  const mask = Buffer.from([1, 2, 3, 4]);
  const length =
    body.length < 126 ? Buffer.from([body.length]) : Buffer.from([126, body.length >> 8, body.length & 0xff]);
  length[0] = (length[0] as number) | (masked ? 0x80 : 0);
  const coded = Buffer.from(body.map((byte, i) => byte ^ (mask[i & 3] as number)));
  return Buffer.concat([
    Buffer.from([(final ? 0x80 : 0) | opcode]),
    length,
    ...(masked ? [mask, coded] : [body]),
  ]);
}

function pair(): {
  client: ReturnType<typeof duplexPair>[0];
  messages: string[];
  ended: Promise<void>;
  web: WebSocket;
} {
  const [client, server] = duplexPair();
  const messages: string[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  const web = new WebSocket(server, Buffer.alloc(0), {
    onMessage: (data) => messages.push(data.toString()),
    onClose: resolve,
  });
  return { client, messages, ended: promise, web };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('the accept key of RFC 6455, section 1.3', () => {
  assert.equal(acceptKey('dGhlIHNhbXBsZSBub25jZQ=='), 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=');
});

test('messages arrive whole, however they are cut', async () => {
  const { client, messages } = pair();
  const bytes = Buffer.concat([
    frame(2, 'one'),
    frame(2, 'tw', false),
    frame(0, 'o'),
    frame(2, 'x'.repeat(300)),
  ]);
  for (let i = 0; i < bytes.length; i += 7) client.write(bytes.subarray(i, i + 7));
  await turn();
  await turn();
  assert.deepEqual(messages, ['one', 'two', 'x'.repeat(300)]);
});

test('a ping is answered with its own words', async () => {
  const { client } = pair();
  client.write(frame(9, 'hi'));
  await turn();
  assert.deepEqual([...((client.read() as Buffer | null) ?? [])], [0x8a, 2, ...Buffer.from('hi')]);
});

test('long messages to the client have long lengths', async () => {
  const { client, web } = pair();
  web.send(Buffer.alloc(70_000, 1));
  await turn();
  const head = (client.read() as Buffer).subarray(0, 10);
  assert.deepEqual([head[0], head[1], head.readBigUInt64BE(2)], [0x82, 127, 70_000n]);
});

for (const [title, bytes] of [
  ['an unmasked frame', frame(2, 'x', true, false)],
  ['a reserved bit', Buffer.concat([Buffer.from([0xc2]), frame(2, 'x').subarray(1)])],
  ['an unknown opcode', frame(5, 'x')],
  ['a frame over the limit', Buffer.from([0x82, 0xff, 0, 0, 0, 1, 0, 0, 0, 0])],
  ['the client’s close', frame(8, Buffer.from([3, 232]))],
] as const)
  test(`${title} ends the connection`, async () => {
    const { client, ended, messages } = pair();
    client.write(bytes);
    await ended;
    assert.deepEqual(messages, []);
  });
