import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FrameReader } from './frame-reader.ts';
import { flag, frameType, h2Error, preface } from './frames.ts';
import { frame, lay, u32 } from './scripted-peer.ts';

/** Reads the bytes in the given pieces; a line per event, the DATA of a frame joined. */
function read(pieces: readonly Buffer[], expectPreface = false): string[] {
  const events: string[] = [];
  let data: Buffer[] = [];
  let used = 0;
  const reader: FrameReader = new FrameReader(expectPreface, 16384, {
    dataHead: (stream, length) => {
      data = [];
      used = 0;
      events.push(`head ${stream} ${length}`);
    },
    dataBytes: (_stream, bytes, part) => {
      data.push(Buffer.from(bytes));
      used += part;
    },
    dataEnd: (stream, ended) => {
      events.push(
        `data ${stream} ${JSON.stringify(Buffer.concat(data).toString('latin1'))} used ${used} ${ended}`,
      );
    },
    headerBlock: (stream, block, ended) =>
      events.push(`headers ${stream} ${JSON.stringify(block.toString('latin1'))} ${ended}`),
    control: (type, flags, stream, payload) =>
      events.push(`control ${type} ${flags} ${stream} ${payload.toString('hex')}`),
    malformed: (code, message) => {
      events.push(`malformed ${code} ${message}`);
      reader.stop();
    },
  });
  for (const piece of pieces) reader.read(piece);
  return events;
}

const text = (value: string): Buffer => Buffer.from(value, 'latin1');

/** One of each, with what makes each of them hard to read. */
const conversation: readonly [bytes: Buffer, events: readonly string[]][] = [
  [lay.settings([3, 100]), ['control 4 0 0 000300000064']],
  [lay.settingsAck(), ['control 4 1 0 ']],
  [lay.headers(1, text('whole')), ['headers 1 "whole" false']],
  [lay.headers(3, text('end'), flag.endHeaders | flag.endStream), ['headers 3 "end" true']],
  [lay.headers(5, Buffer.alloc(0)), ['headers 5 "" false']],
  [
    frame(frameType.headers, flag.endHeaders | flag.padded | flag.priority, 7, [
      2,
      0,
      0,
      0,
      0,
      9,
      ...text('pp'),
      0,
      0,
    ]),
    ['headers 7 "pp" false'],
  ],
  [frame(frameType.headers, flag.endHeaders | flag.padded, 9, [0]), ['headers 9 "" false']],
  [lay.headers(11, text('a'), flag.endStream), []],
  [lay.continuation(11, text('b'), 0), []],
  [lay.continuation(11, text(''), 0), []],
  [lay.continuation(11, text('c')), ['headers 11 "abc" true']],
  [lay.data(1, 'hello'), ['head 1 5', 'data 1 "hello" used 5 false']],
  [lay.data(1, ''), ['head 1 0', 'data 1 "" used 0 false']],
  [lay.data(1, '', true), ['head 1 0', 'data 1 "" used 0 true']],
  [lay.paddedData(1, 'padded', 3, true), ['head 1 10', 'data 1 "padded" used 10 true']],
  [lay.paddedData(1, '', 0), ['head 1 1', 'data 1 "" used 1 false']],
  [lay.paddedData(1, '', 5), ['head 1 6', 'data 1 "" used 6 false']],
  [lay.paddedData(1, 'x', 0), ['head 1 2', 'data 1 "x" used 2 false']],
  [lay.credit(0, 77), ['control 8 0 0 0000004d']],
  [lay.credit(1, 77), ['control 8 0 1 0000004d']],
  [lay.reset(1, 8), ['control 3 0 1 00000008']],
  [lay.ping(), ['control 6 0 0 3031323334353637']],
  [lay.goaway(5, 0), ['control 7 0 0 0000000500000000']],
  [frame(frameType.priority, 0, 1, [0, 0, 0, 0, 1]), []],
  [frame(0xfe, 0xff, 99, text('something of tomorrow')), []],
  [frame(0x0a, 0, 0), []],
  // The first bit of a stream's number is reserved.
  [frame(frameType.data, 0, 0x80000001 >>> 0, text('r')), ['head 1 1', 'data 1 "r" used 1 false']],
];

const bytes = Buffer.concat([preface, ...conversation.map(([part]) => part)]);
const expected = conversation.flatMap(([, events]) => events);

test('every kind of frame, in one piece', () => assert.deepEqual(read([bytes], true), expected));

test('every kind of frame, cut in two at every byte', () => {
  for (let at = 0; at <= bytes.length; at++)
    assert.deepEqual(read([bytes.subarray(0, at), bytes.subarray(at)], true), expected, `cut at ${at}`);
});

test('every kind of frame, in pieces of any one size', () => {
  for (let size = 1; size < 40; size++) {
    const pieces: Buffer[] = [];
    for (let at = 0; at < bytes.length; at += size) pieces.push(bytes.subarray(at, at + size));
    assert.deepEqual(read(pieces, true), expected, `pieces of ${size}`);
  }
});

const { protocolError, frameSizeError, enhanceYourCalm } = h2Error;
const settings = lay.settings();

const malformed: readonly [name: string, bytes: readonly Buffer[], code: number][] = [
  ['another first frame', [lay.ping()], protocolError],
  ['a SETTINGS ack first', [lay.settingsAck()], protocolError],
  ['a frame over the limit', [settings, frame(frameType.data, 0, 1, Buffer.alloc(16385))], frameSizeError],
  ['DATA on stream 0', [settings, frame(frameType.data, 0, 0, [1])], protocolError],
  ['padded DATA without its length', [settings, frame(frameType.data, flag.padded, 1)], frameSizeError],
  [
    'DATA with only padding and one byte more',
    [settings, frame(frameType.data, flag.padded, 1, [1])],
    protocolError,
  ],
  ['DATA with too much padding', [settings, frame(frameType.data, flag.padded, 1, [9, 1, 2])], protocolError],
  ['HEADERS on stream 0', [settings, frame(frameType.headers, 4, 0, [0x82])], protocolError],
  ['HEADERS with too much padding', [settings, frame(frameType.headers, 12, 1, [3, 0, 0])], protocolError],
  ['padded HEADERS without its length', [settings, frame(frameType.headers, 12, 1)], protocolError],
  [
    'HEADERS too short for its priority',
    [settings, frame(frameType.headers, 0x24, 1, [0, 0, 0])],
    protocolError,
  ],
  ['CONTINUATION without HEADERS', [settings, lay.continuation(1, text('x'))], protocolError],
  [
    'CONTINUATION after the end of a block',
    [settings, lay.headers(1, text('x')), lay.continuation(1, text('x'))],
    protocolError,
  ],
  [
    'CONTINUATION of another stream',
    [settings, lay.headers(1, text('x'), 0), lay.continuation(3, text('x'))],
    protocolError,
  ],
  ['DATA inside a block', [settings, lay.headers(1, text('x'), 0), lay.data(1, 'x')], protocolError],
  ['PING inside a block', [settings, lay.headers(1, text('x'), 0), lay.ping()], protocolError],
  [
    'an unknown frame inside a block',
    [settings, lay.headers(1, text('x'), 0), frame(0xfe, 0, 1)],
    protocolError,
  ],
  ['SETTINGS on a stream', [frame(frameType.settings, 0, 1)], protocolError],
  ['SETTINGS cut short', [frame(frameType.settings, 0, 0, [0, 1, 2])], frameSizeError],
  [
    'SETTINGS ack with settings',
    [settings, frame(frameType.settings, 1, 0, [0, 1, 0, 0, 0, 0])],
    frameSizeError,
  ],
  ['SETTINGS without end', [frame(frameType.settings, 0, 0, Buffer.alloc(65 * 6))], enhanceYourCalm],
  ['PING of 7 bytes', [settings, frame(frameType.ping, 0, 0, Buffer.alloc(7))], frameSizeError],
  ['PING on a stream', [settings, frame(frameType.ping, 0, 1, Buffer.alloc(8))], protocolError],
  ['RST_STREAM of 3 bytes', [settings, frame(frameType.rstStream, 0, 1, [0, 0, 0])], frameSizeError],
  ['RST_STREAM on stream 0', [settings, frame(frameType.rstStream, 0, 0, u32(0))], protocolError],
  [
    'WINDOW_UPDATE of 5 bytes',
    [settings, frame(frameType.windowUpdate, 0, 1, [0, 0, 0, 0, 1])],
    frameSizeError,
  ],
  ['GOAWAY of 7 bytes', [settings, frame(frameType.goaway, 0, 0, Buffer.alloc(7))], frameSizeError],
  ['GOAWAY on a stream', [settings, frame(frameType.goaway, 0, 1, Buffer.alloc(8))], protocolError],
  ['PUSH_PROMISE', [settings, frame(frameType.pushPromise, 4, 1, u32(2))], protocolError],
  [
    'a block of too many frames',
    [
      settings,
      lay.headers(1, text(''), 0),
      ...Array.from({ length: 65 }, () => lay.continuation(1, text(''), 0)),
    ],
    enhanceYourCalm,
  ],
  [
    'a block of too many bytes',
    [
      settings,
      lay.headers(1, Buffer.alloc(16384), 0),
      ...Array.from({ length: 4 }, () => lay.continuation(1, Buffer.alloc(16384), 0)),
    ],
    enhanceYourCalm,
  ],
];

for (const [name, frames, code] of malformed) {
  test(`malformed: ${name}`, () => {
    // What follows is not read.
    const all = Buffer.concat([...frames, lay.data(1, 'after')]);
    for (const pieces of [[all], Array.from(all, (byte) => Buffer.from([byte]))]) {
      const events = read(pieces);
      assert.match(events.at(-1) ?? '', new RegExp(`^malformed ${code} `));
      assert.equal(events.filter((event) => event.startsWith('malformed')).length, 1);
    }
  });
}

test('a peer that does not speak HTTP/2', () => {
  for (const start of ['GET / HTTP/1.1\r\n', '\x16\x03\x01', 'PRI * HTTP/2.0\r\n\r\nXX']) {
    assert.match(read([text(start)], true)[0] ?? '', /does not speak HTTP\/2/);
    const events = read(
      Array.from(text(start), (byte) => Buffer.from([byte])),
      true,
    );
    assert.equal(events.length, 1);
  }
});

test('a frame that means nothing is dropped as it comes, however long', () => {
  const reader = new FrameReader(false, 16 * 1024 * 1024, {
    dataHead() {},
    dataBytes() {},
    dataEnd() {},
    headerBlock() {},
    control() {},
    malformed: (_code, message) => assert.fail(message),
  });
  reader.read(settings);
  const head = frame(0x77, 0, 0);
  head.writeUIntBE(10_000_000, 0, 3);
  reader.read(head);
  const before = process.memoryUsage().arrayBuffers;
  const piece = Buffer.alloc(100_000);
  for (let i = 0; i < 100; i++) reader.read(piece);
  assert.ok(process.memoryUsage().arrayBuffers - before < 2_000_000);
});
