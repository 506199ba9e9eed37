// Peers that flood, stall or trickle. What is asserted is memory: what we hold for them has a bound.
import assert from 'node:assert/strict';
import { Duplex } from 'node:stream';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { H2Connection } from './h2/connection.ts';
import { flag, h2Error, preface } from './h2/frames.ts';
import { HpackEncoder } from './h2/hpack.ts';
import { connectRequest, frame, lay, ScriptedPeer } from './h2/scripted-peer.ts';
import { H2Session } from './h2/session.ts';
import type { H2Stream } from './h2/stream.ts';
import { defaultWindows, HeldRequest, hboneServer } from './hbone.ts';
import { turn } from './tunnel-pair.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** Bytes in use by JavaScript and its buffers, after a collection. */
function memory(): number {
  // A collection first ends the sweep of buffers that the one before has begun.
  for (let i = 0; i < 3; i++) collect();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

const mib = 1024 * 1024;
const settings = { ...defaultWindows, maxHeaderListSize: 64 * 1024, maxConcurrentStreams: 200 };

/** A server's session whose requests are held, as while the node proxy judges them. */
function heldServer(): { session: H2Session; held: HeldRequest[]; gone: () => number; output: () => number } {
  const held: HeldRequest[] = [];
  let gone = 0;
  const session = new H2Session('server', settings, {
    flush() {},
    request: (stream: H2Stream) => held.push(new HeldRequest(stream, () => gone++)),
    closed() {},
  });
  session.receive(preface);
  session.receive(lay.settings());
  const output = (): number => {
    let bytes = 0;
    for (let piece = session.output.next(); piece !== undefined; piece = session.output.next())
      bytes += piece.bytes.length;
    return bytes;
  };
  output();
  return { session, held, gone: () => gone, output };
}

test('rapid reset: requests that are reset at once leave nothing behind, and end nobody else', () => {
  const { session, held, gone, output } = heldServer();
  const encoder = new HpackEncoder();
  const neighbour = Buffer.from(encoder.encode(connectRequest));
  session.receive(lay.headers(1, neighbour));
  const before = memory();
  for (let id = 3; id < 100_000; id += 2) {
    session.receive(
      Buffer.concat([lay.headers(id, encoder.encode(connectRequest)), lay.reset(id, h2Error.cancel)]),
    );
    held.length = 1;
    if (id % 1000 === 1) output();
  }
  assert.equal(session.streams.size, 1);
  assert.equal(gone(), 49_999);
  assert.ok(memory() - before < mib);
  assert.equal(session.closed, false);
  held[0]?.refuse(503);
  assert.ok(output() > 0);
});

test('requests over the limit: nothing is kept, each is refused', () => {
  const { session, held, output } = heldServer();
  const encoder = new HpackEncoder();
  const block = (): Buffer => Buffer.from(encoder.encode(connectRequest));
  for (let i = 0; i < 200; i++) session.receive(lay.headers(2 * i + 1, block()));
  output();
  const before = memory();
  for (let i = 200; i < 20_200; i++) {
    session.receive(lay.headers(2 * i + 1, block()));
    if (i % 1000 === 0) output();
  }
  assert.equal(session.streams.size, 200);
  assert.equal(held.length, 200);
  assert.ok(memory() - before < mib);
});

test('single bytes that are held cost about their bytes', () => {
  const { session, held } = heldServer();
  const encoder = new HpackEncoder();
  for (let i = 0; i < 4; i++) session.receive(lay.headers(2 * i + 1, encoder.encode(connectRequest)));
  const before = memory();
  const flood = Buffer.concat(Array.from({ length: 1000 }, (_, i) => lay.data(2 * (i % 4) + 1, 'x')));
  for (let i = 0; i < 1000; i++) session.receive(Buffer.from(flood));
  const used = memory() - before;
  assert.ok(used < 3 * mib, `${used} bytes for a million`);
  assert.equal(held.length, 4);
});

test('a client that fills every window while nobody takes its bytes costs the windows', () => {
  const { session } = heldServer();
  const encoder = new HpackEncoder();
  const before = memory();
  const chunk = Buffer.alloc(mib);
  let sent = 0;
  for (let i = 0; i < 4; i++) {
    session.receive(lay.headers(2 * i + 1, encoder.encode(connectRequest)));
    for (let part = 0; part < 4; part++) {
      const bytes = lay.data(2 * i + 1, chunk);
      for (let at = 0; at < bytes.length; at += 16_384)
        session.receive(Buffer.from(bytes.subarray(at, at + 16_384)));
      sent += chunk.length;
    }
  }
  assert.equal(sent, defaultWindows.connectionWindow);
  assert.equal(session.closed, false);
  const used = memory() - before;
  assert.ok(used < sent + 3 * mib, `${used} bytes`);
  session.receive(lay.data(1, 'x'));
  assert.equal(session.closed, true);
  const left = memory() - before;
  assert.ok(left < sent / 2, `${left} bytes: what is left is the slabs that are kept`);
});

test('empty DATA, unknown frames, PRIORITY and WINDOW_UPDATE keep nothing', () => {
  const { session, output } = heldServer();
  session.receive(lay.headers(1, new HpackEncoder().encode(connectRequest)));
  output();
  const flood = Buffer.concat(
    Array.from({ length: 250 }, () => [
      lay.data(1, ''),
      frame(0xaa, 0, 1, Buffer.alloc(100)),
      frame(2, 0, 1, Buffer.alloc(5)),
      lay.credit(1, 1),
      lay.credit(0, 1),
    ]).flat(),
  );
  const before = memory();
  for (let i = 0; i < 200; i++) session.receive(flood);
  assert.equal(output(), 0);
  assert.ok(memory() - before < mib);
  assert.equal(session.closed, false);
});

test('credit byte by byte sends byte by byte, and holds only what waits', () => {
  const peer = new ScriptedPeer('server');
  const sinks = Array.from({ length: 10 }, (_, i) => peer.ask(2 * i + 1));
  for (const sink of sinks) sink.stream.respond([[':status', '200']]);
  peer.feed(lay.settings([4, 0]));
  for (const sink of sinks) sink.stream.write(Buffer.alloc(65_536));
  peer.frames();
  const before = memory();
  let laid = 0;
  for (let i = 0; i < 20_000; i++) {
    const id = 2 * (i % 10) + 1;
    peer.feed(lay.credit(id, 1));
    if (i % 100 === 99) laid += peer.frames().length;
  }
  assert.equal(laid, 20_000);
  assert.ok(sinks.every((sink) => sink.stream.pending.length === 1));
  assert.ok(memory() - before < mib);
});

test('a header block costs no more than its limit, however it is cut', () => {
  const { session } = heldServer();
  const before = memory();
  const parts = [lay.headers(1, Buffer.alloc(1000, 0x40), 0)];
  for (let i = 0; i < 60; i++) parts.push(lay.continuation(1, Buffer.alloc(1000, 0x40), 0));
  // Each part in a chunk of its own that is much larger.
  for (const part of parts) {
    const chunk = Buffer.alloc(65_536);
    part.copy(chunk);
    session.receive(chunk.subarray(0, part.length));
  }
  assert.equal(session.closed, false);
  assert.ok(memory() - before < mib);
  session.receive(lay.continuation(1, Buffer.alloc(10_000), 0));
  assert.equal(session.closed, true);
});

test('many large header lists in turn: the table is all that is kept', () => {
  const { session, output, held } = heldServer();
  const before = memory();
  for (let i = 0; i < 500; i++) {
    const large = Buffer.from(new HpackEncoder().encode([...connectRequest, ['x', `${i}`.repeat(3000)]]));
    session.receive(lay.headers(2 * i + 1, large, flag.endHeaders | flag.endStream));
    held.at(-1)?.refuse(400);
    held.length = 0;
    output();
  }
  assert.equal(session.closed, false);
  assert.ok(memory() - before < mib);
});

/** A transport that is written to and never finishes writing. */
class Stuck extends Duplex {
  taken = 0;

  override _read(): void {}

  override _write(chunk: Buffer): void {
    this.taken += chunk.length;
  }
}

const floods: readonly [name: string, bytes: (id: number, encoder: HpackEncoder) => Buffer][] = [
  ['PING', () => lay.ping()],
  ['SETTINGS', () => lay.settings()],
  [
    'requests that are reset',
    (id, encoder) => Buffer.concat([lay.headers(id, encoder.encode(connectRequest)), lay.reset(id, 8)]),
  ],
  ['malformed requests', (id, encoder) => lay.headers(id, encoder.encode([[':path', '/']]))],
  [
    'requests that are refused with a status',
    (id, encoder) => lay.headers(id, encoder.encode(connectRequest)),
  ],
];

for (const [name, bytes] of floods) {
  test(`a peer that floods with ${name} and never reads is not read from any more`, async (t) => {
    const transport = new Stuck();
    t.after(() => transport.destroy());
    const connection: H2Connection = hboneServer(transport, defaultWindows, {
      request: (stream) => new HeldRequest(stream, () => {}).refuse(400),
      closed() {},
    });
    transport.push(Buffer.concat([preface, lay.settings()]));
    await turn();
    const before = memory();
    const encoder = new HpackEncoder();
    let id = 1;
    let read = 0;
    for (let i = 0; i < 3000 && !transport.isPaused(); i++) {
      const flood: Buffer[] = [];
      for (let n = 0; n < 200; n++, id += 2) flood.push(bytes(id, encoder));
      const chunk = Buffer.concat(flood);
      transport.push(chunk);
      read += chunk.length;
      await turn();
    }
    if (name !== 'requests that are reset')
      assert.equal(transport.isPaused(), true, `${read} bytes were read`);
    const used = memory() - before;
    assert.ok(used < 3 * mib, `${used} bytes are held`);
    connection.destroy('the test is over');
  });
}

test('a peer that opens its windows wide and never reads: the streams wait', async (t) => {
  const transport = new Stuck();
  t.after(() => transport.destroy());
  const streams: H2Stream[] = [];
  const connection = hboneServer(transport, defaultWindows, {
    request: (stream) => {
      stream.respond([[':status', '200']]);
      stream.sink = { data() {}, ended() {}, writable() {}, closed() {} };
      streams.push(stream);
    },
    closed() {},
  });
  const encoder = new HpackEncoder();
  transport.push(Buffer.concat([preface, lay.settings([4, 0x7fffffff]), lay.credit(0, 0x7fffffff - 65_535)]));
  for (let i = 0; i < 100; i++) transport.push(lay.headers(2 * i + 1, encoder.encode(connectRequest)));
  await turn();
  await turn();
  const before = memory();
  const chunk = Buffer.alloc(65_536);
  for (let round = 0; round < 50; round++) {
    for (const stream of streams) while (!stream.waiting && stream.write(chunk));
    await turn();
  }
  assert.equal(streams.length, 100);
  assert.ok(streams.every((stream) => stream.waiting));
  const used = memory() - before;
  // The output, and one chunk for each stream.
  assert.ok(used < 100 * 65_536 + 3 * mib, `${used} bytes`);
  connection.destroy('the test is over');
});
