import assert from 'node:assert/strict';
import { test } from 'node:test';
import { largeSlab, smallSlab } from '../slabs.ts';
import { flag, FrameWriter, frameType, h2Error, h2ErrorName, type Piece } from './frames.ts';
import { describeFrame, frame, lay, parseFrames, u32, drained } from './scripted-peer.ts';

const written = (write: (writer: FrameWriter) => void): Buffer => {
  const writer = new FrameWriter();
  write(writer);
  const size = writer.size;
  const bytes = drained(writer);
  assert.equal(bytes.length, size);
  return bytes;
};

const layouts: readonly [name: string, write: (writer: FrameWriter) => void, expected: Buffer][] = [
  ['DATA', (w) => w.data(5, Buffer.from('xabcx'), 1, 4), frame(frameType.data, 0, 5, Buffer.from('abc'))],
  ['end of a stream', (w) => w.endStream(0x7fffffff), frame(frameType.data, flag.endStream, 0x7fffffff)],
  ['HEADERS', (w) => w.headers(1, Buffer.from('hh'), false, 16384), lay.headers(1, Buffer.from('hh'))],
  [
    'HEADERS that end the stream',
    (w) => w.headers(1, Buffer.from('hh'), true, 16384),
    lay.headers(1, Buffer.from('hh'), flag.endHeaders | flag.endStream),
  ],
  ['an empty block', (w) => w.headers(1, Buffer.alloc(0), false, 16384), lay.headers(1, Buffer.alloc(0))],
  [
    'a block of three frames',
    (w) => w.headers(3, Buffer.from('aabbc'), true, 2),
    Buffer.concat([
      lay.headers(3, Buffer.from('aa'), flag.endStream),
      lay.continuation(3, Buffer.from('bb'), 0),
      lay.continuation(3, Buffer.from('c')),
    ]),
  ],
  ['RST_STREAM', (w) => w.rstStream(9, h2Error.cancel), lay.reset(9, h2Error.cancel)],
  ['WINDOW_UPDATE', (w) => w.windowUpdate(0, 0x7fffffff), lay.credit(0, 0x7fffffff)],
  [
    'SETTINGS',
    (w) =>
      w.settings([
        [4, 0xffffffff],
        [1, 0],
      ]),
    lay.settings([4, 0xffffffff], [1, 0]),
  ],
  ['SETTINGS ack', (w) => w.settingsAck(), lay.settingsAck()],
  ['PING', (w) => w.ping(Buffer.from('01234567'), false), lay.ping()],
  ['PING ack', (w) => w.ping(Buffer.from('01234567'), true), lay.ping(true)],
  [
    'GOAWAY',
    (w) => w.goaway(7, h2Error.protocolError, 'why'),
    frame(frameType.goaway, 0, 0, Buffer.concat([u32(7, 1), Buffer.from('why')])),
  ],
];

for (const [name, write, expected] of layouts) {
  test(`layout: ${name}`, () => assert.deepEqual(written(write), expected));
}

test('frames come out in order, whatever their size', () => {
  const writer = new FrameWriter();
  const expected: string[] = [];
  for (let i = 1; i < 400; i++) {
    const payload = Buffer.alloc((i * 7919) % 20_000, i);
    writer.data(i, payload, 0, payload.length);
    expected.push(describeFrame({ type: 0, flags: 0, stream: i, payload }));
  }
  const frames = parseFrames(drained(writer));
  assert.deepEqual(frames.map(describeFrame), expected);
  for (const { stream, payload } of frames) assert.ok(payload.every((byte) => byte === (stream & 0xff)));
});

test('a payload larger than any slab', () => {
  const payload = Buffer.alloc(1024 * 1024, 7);
  const bytes = written((w) => {
    w.settingsAck();
    w.data(1, payload, 0, payload.length);
    w.settingsAck();
  });
  assert.deepEqual(
    parseFrames(bytes).map((f) => f.payload.length),
    [0, payload.length, 0],
  );
});

test('bytes that were taken stay as they are', () => {
  const writer = new FrameWriter();
  writer.data(1, Buffer.alloc(100, 1), 0, 100);
  const taken = writer.next() as Piece;
  const copy = Buffer.from(taken.bytes);
  assert.equal(writer.next(), undefined, 'nothing is taken twice');
  writer.data(5, Buffer.alloc(3000, 2), 0, 3000);
  assert.deepEqual(taken.bytes, copy);
  assert.equal(parseFrames(drained(writer))[0]?.stream, 5);
});

test('a few frames take a small slab, much data large ones', () => {
  const writer = new FrameWriter();
  writer.settingsAck();
  assert.equal(writer.next()?.slab.length, smallSlab);
  for (let i = 0; i < 3; i++) writer.data(1, Buffer.alloc(65_536), 0, 65_536);
  for (let i = 0; i < 3; i++) assert.equal(writer.next()?.slab.length, largeSlab);
  assert.equal(writer.next(), undefined);
  assert.equal(writer.size, 0);
});

test('names of error codes', () => {
  assert.equal(h2ErrorName(7), 'refusedStream');
  assert.equal(h2ErrorName(0xdead), 'error 57005');
});
