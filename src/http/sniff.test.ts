import assert from 'node:assert/strict';
import { Duplex } from 'node:stream';
import { test } from 'node:test';
import tls from 'node:tls';
import { readClientHello } from './client-hello.ts';
import { sniff, sniffMaxBytes, type Sniffed } from './sniff.ts';

const kind = (text: string): string => sniff(Buffer.from(text, 'latin1')).kind;

const table: readonly (readonly [bytes: string, kind: Sniffed['kind']])[] = [
  ['', 'need-more'],
  ['G', 'need-more'],
  ['GET ', 'need-more'],
  ['GET /', 'http1'],
  ['get \\', 'http1'],
  ['GET  /', 'http1'],
  ['GET htt', 'need-more'],
  ['GET http://h/', 'http1'],
  ['OPTIONS *', 'need-more'],
  ['OPTIONS * ', 'http1'],
  ['get hello\r\n', 'tcp'],
  ['\r\nGET /', 'http1'],
  ['\n\nGET /', 'http1'],
  ['P', 'need-more'],
  ['PR', 'need-more'],
  ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r', 'need-more'],
  ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'http2'],
  ['PRI * HTTP/2.0\r\n\r\nXX', 'http1'],
  ['PRI /x', 'http1'],
  ['\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'http1'],
  ['CUSTOM /a', 'need-more'],
  ['CUSTOM /a HTTP/1.1\r\n', 'http1'],
  ['CUSTOM x HTTP/1.1\n', 'http1'],
  ['SET foo bar\r\n', 'tcp'],
  ['*3\r\n$3\r\nSET', 'tcp'],
  ['PING\r\n', 'tcp'],
  ['EHLO example.com\r\n', 'tcp'],
  ['SSH-2.0-OpenSSH_9.6\r\n', 'tcp'],
  ['\0\0\0\x08\x04\xd2\x16\x2f', 'tcp'],
  ['A'.repeat(40), 'tcp'],
  ['\x16\x03\x01', 'need-more'],
  ['\x16\x09', 'tcp'],
  [`X ${'a'.repeat(9000)}`, 'tcp'],
];

for (const [bytes, expected] of table)
  test(`${JSON.stringify(bytes.slice(0, 40))} is ${expected}`, () => assert.equal(kind(bytes), expected));

test('an answer stays the answer when more comes', () => {
  for (const [bytes] of table) {
    let seen: string | undefined;
    for (let length = 0; length <= bytes.length; length++) {
      const now = kind(bytes.slice(0, length));
      if (seen !== undefined) assert.equal(now, seen, `${bytes.slice(0, 40)} at ${length}`);
      if (now !== 'need-more') seen = now;
    }
  }
});

/** What a real client sends first. */
function realHello(options: tls.ConnectionOptions): Promise<Buffer> {
  return new Promise((resolve) => {
    const wire = new Duplex({
      read: () => {},
      write: (chunk: Buffer, _encoding, done) => {
        resolve(chunk);
        done();
      },
    });
    const socket = tls.connect({ socket: wire, ...options });
    socket.on('error', () => {});
  });
}

test('a hello of a real client, whole and cut', async () => {
  const hello = await realHello({ servername: 'Reviews.example', ALPNProtocols: ['h2', 'http/1.1'] });
  const expected = { kind: 'tls', sni: 'reviews.example', alpn: ['h2', 'http/1.1'] };
  assert.deepEqual(sniff(hello), expected);
  for (let length = 0; length < hello.length; length++)
    assert.equal(sniff(hello.subarray(0, length)).kind, 'need-more', `${length}`);
  const cut = Buffer.concat([...inRecords(hello.subarray(5), 100)]);
  assert.deepEqual(sniff(cut), expected);
  assert.deepEqual(sniff(Buffer.concat([...inRecords(hello.subarray(5), 1)])), expected);
});

test('a hello without a name', async () => {
  assert.deepEqual(sniff(await realHello({})), { kind: 'tls', sni: undefined, alpn: [] });
});

function* inRecords(message: Buffer, size: number): Generator<Buffer> {
  for (let at = 0; at < message.length; at += size) {
    const piece = message.subarray(at, at + size);
    yield Buffer.from([0x16, 3, 1, piece.length >> 8, piece.length & 255]);
    yield piece;
  }
}

const u16 = (n: number): number[] => [n >> 8, n & 255];
const extension = (type: number, body: readonly number[]): number[] => [
  ...u16(type),
  ...u16(body.length),
  ...body,
];
const name = (text: string): number[] => {
  const entry = [0, ...u16(text.length), ...Buffer.from(text, 'latin1')];
  return extension(0, [...u16(entry.length), ...entry]);
};
function hello(extensions: readonly number[]): Buffer {
  const body = [
    3,
    3,
    ...Array<number>(32).fill(7),
    0,
    ...u16(2),
    0x13,
    1,
    1,
    0,
    ...u16(extensions.length),
    ...extensions,
  ];
  return Buffer.concat([...inRecords(Buffer.from([1, 0, ...u16(body.length), ...body]), 16_000)]);
}

test('names that are none, and hellos that say things twice', () => {
  const sni = (extensions: readonly number[]): string | undefined => {
    const found = readClientHello(hello(extensions));
    return typeof found === 'string' ? found : `sni ${found.sni}`;
  };
  assert.equal(sni([]), 'sni undefined');
  assert.equal(sni(name('a.b')), 'sni a.b');
  for (const text of ['', 'a..b', '.a', 'a.', 'a b', 'a\0b', '\xe9', 'a/b'])
    assert.equal(sni(name(text)), 'sni undefined');
  assert.equal(sni([...name('a'), ...name('b')]), 'malformed');
  assert.equal(sni(extension(0, [0, 9, 0, 0, 1, 97])), 'malformed');
  assert.equal(sni(extension(16, [0, 1, 0])), 'malformed');
  assert.equal(sni([0, 0, 0, 9]), 'malformed');
});

test('what is too long is not waited for', () => {
  const endless = Buffer.concat([...inRecords(Buffer.from([1, 0, 0x3f, 0xff, ...Buffer.alloc(6000)]), 1)]);
  assert.ok(endless.length > sniffMaxBytes);
  assert.deepEqual(sniff(endless), { kind: 'tls', sni: undefined, alpn: [] });
  assert.deepEqual(sniff(Buffer.from([0x16, 3, 1, 0, 4, 1, 0x10, 0, 0])), {
    kind: 'tls',
    sni: undefined,
    alpn: [],
  });
  assert.equal(sniff(Buffer.alloc(sniffMaxBytes, 0x0d)).kind, 'tcp');
});
