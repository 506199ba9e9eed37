import assert from 'node:assert/strict';
import { duplexPair, type Duplex } from 'node:stream';
import { test } from 'node:test';
import { HeaderReader, HeaderWriter, spdyDictionary } from './spdy-headers.ts';
import { SpdySession, type SpdyStream } from './spdy-session.ts';

function adler32(data: Uint8Array): number {
  let a = 1;
  let b = 0;
  for (const byte of data) {
    a = (a + byte) % 65521;
    b = (b + a) % 65521;
  }
  return ((b << 16) | a) >>> 0;
}

test('the dictionary is the protocol’s', () => {
  assert.equal(spdyDictionary.length, 1423);
  assert.equal(adler32(spdyDictionary).toString(16), 'e3c6a7c2');
});

test('header blocks of one connection share their context', async () => {
  const writer = new HeaderWriter();
  const reader = new HeaderReader();
  for (const headers of [{ streamtype: 'error' }, { streamtype: 'stdin', port: '80' }, {}])
    assert.deepEqual(await reader.read(writer.write(headers)), headers);
  reader.close();
});

test('a block that is none is refused', async () => {
  await assert.rejects(new HeaderReader().read(Buffer.from('garbage')));
});

function control(type: number, payload: Buffer, flags = 0): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt16BE(0x8003, 0);
  head.writeUInt16BE(type, 2);
  head.writeUInt32BE(((flags << 24) | payload.length) >>> 0, 4);
  return Buffer.concat([head, payload]);
}

const writer = (): ((id: number, headers: Record<string, string>) => Buffer) => {
  const headerWriter = new HeaderWriter();
  return (id, headers) => {
    const head = Buffer.alloc(10);
    head.writeUInt32BE(id, 0);
    return control(1, Buffer.concat([head, headerWriter.write(headers)]));
  };
};

function data(id: number, text: string, fin = false): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt32BE(id, 0);
  head.writeUInt32BE((((fin ? 1 : 0) << 24) | text.length) >>> 0, 4);
  return Buffer.concat([head, Buffer.from(text)]);
}

function session(): {
  client: Duplex;
  streams: SpdyStream[];
  said: string[];
  closed: Promise<void>;
  server: SpdySession;
} {
  const [client, socket] = duplexPair();
  const streams: SpdyStream[] = [];
  const said: string[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  const server = new SpdySession(socket, Buffer.alloc(0), {
    onStream: (stream) => {
      streams.push(stream);
      stream.onData = (chunk) => said.push(`${stream.id}:${chunk.toString()}`);
      stream.onEnd = () => said.push(`${stream.id}:end`);
      stream.onReset = () => said.push(`${stream.id}:reset`);
    },
    onClose: resolve,
  });
  return { client, streams, said, closed: promise, server };
}

const until = async (holds: () => boolean): Promise<void> => {
  for (let i = 0; i < 200 && !holds(); i++) await new Promise((resolve) => setTimeout(resolve, 2));
  assert.ok(holds());
};

test('streams are opened, fed, ended and answered, however the bytes are cut', async () => {
  const { client, streams, said } = session();
  let answer: Buffer = Buffer.alloc(0);
  client.on('data', (chunk: Buffer) => (answer = Buffer.concat([answer, chunk])));
  const syn = writer();
  const bytes = Buffer.concat([
    syn(1, { streamtype: 'error' }),
    syn(3, { streamtype: 'stdin' }),
    data(3, 'hello'),
    data(3, '', true),
    control(6, Buffer.from([0, 0, 0, 9])),
  ]);
  for (let i = 0; i < bytes.length; i += 5) client.write(bytes.subarray(i, i + 5));
  await until(() => said.includes('3:end'));
  assert.deepEqual(
    streams.map(({ id, headers }) => [id, headers['streamtype']]),
    [
      [1, 'error'],
      [3, 'stdin'],
    ],
  );
  assert.deepEqual(said, ['3:hello', '3:end']);
  streams[0]?.write(Buffer.from('no'));
  streams[0]?.end();
  await until(() => answer.includes(data(1, '', true)));
  assert.ok(answer.includes(data(1, 'no')));
  assert.ok(answer.includes(control(6, Buffer.from([0, 0, 0, 9]))), 'the ping is answered');
});

for (const [title, bytes] of [
  ['another version', Buffer.from([0x80, 2, 0, 1, 0, 0, 0, 0])],
  ['a frame over the limit', Buffer.from([0, 0, 0, 1, 0, 0xff, 0xff, 0xff])],
  ['a header block that is none', control(1, Buffer.alloc(40, 7))],
  ['a stream frame that is cut off', control(1, Buffer.alloc(2))],
] as const)
  test(`${title} ends the connection`, async () => {
    const { client, closed } = session();
    client.write(bytes);
    await closed;
  });

test('too many streams are refused one by one', async () => {
  const { client, streams } = session();
  const syn = writer();
  for (let i = 0; i < 300; i++) client.write(syn(2 * i + 1, { streamtype: 'data' }));
  await until(() => streams.length === 256);
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(streams.length, 256);
});

test('the end of the connection resets what is open', async () => {
  const { client, said, closed } = session();
  client.write(writer()(1, {}));
  await until(() => true);
  await new Promise((resolve) => setTimeout(resolve, 10));
  client.end();
  await closed;
  assert.deepEqual(said, ['1:reset']);
});
