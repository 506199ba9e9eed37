import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ReceiveWindow } from './receive-window.ts';
import { frameType, h2Error } from './frames.ts';
import { lay, type RecordingSink, ScriptedPeer } from './scripted-peer.ts';
import type { SessionSettings } from './session-interface.ts';

test('credit comes in steps of half the window', () => {
  const window = new ReceiveWindow(1000, 1000);
  assert.equal(window.take(600), true);
  assert.equal(window.credit(399), 0);
  assert.equal(window.credit(101), 500);
  assert.equal(window.take(900), true);
  assert.equal(window.take(1), false);
});

test('credit comes earlier when the peer has little left, so that it never waits for good', () => {
  const window = new ReceiveWindow(1000, 1000);
  window.take(800); // of which 700 are held by someone
  assert.equal(window.credit(100), 0);
  window.take(200);
  assert.equal(window.credit(1), 101);
  window.take(101);
  assert.equal(window.credit(101), 101);
});

test('whatever is held, the rest keeps going: credit and use balance', () => {
  for (const held of [0, 1, 499, 500, 501, 900, 999]) {
    const window = new ReceiveWindow(1000, 1000);
    window.take(held);
    let room = 1000 - held;
    for (let i = 0; i < 1000; i++) {
      const part = Math.min(room, 1 + (i % 50));
      assert.ok(part > 0, `stuck with ${held} held`);
      assert.equal(window.take(part), true);
      room += window.credit(part) - part;
    }
  }
});

/** A session that counts what it credits to the connection, and the stream 1 whose bytes are held. */
function counted(settings: Partial<SessionSettings> = {}): {
  peer: ScriptedPeer;
  sink: RecordingSink;
  credited: () => number;
} {
  const peer = new ScriptedPeer('server', { settings });
  let total = 0;
  const { session } = peer;
  const credit = session.creditConnection.bind(session);
  session.creditConnection = (bytes) => {
    total += bytes;
    credit(bytes);
  };
  peer.hold = true;
  const sink = peer.ask(1);
  const credited = (): number => {
    const since = total;
    total = 0;
    return since;
  };
  return { peer, sink, credited };
}

/** Credit in WINDOW_UPDATE frames of the stream. */
const announced = (peer: ScriptedPeer, id: number): number =>
  peer
    .frames()
    .filter(({ type, stream }) => type === frameType.windowUpdate && stream === id)
    .reduce((sum, { payload }) => sum + payload.readUInt32BE(0), 0);

/** Each byte that comes is credited to the connection exactly once, however its stream ends. */
const endings: readonly [name: string, end: (peer: ScriptedPeer, sink: RecordingSink) => void][] = [
  ['consumed', (_, sink) => sink.stream.consumed(sink.bytes)],
  [
    'reset here, then consumed',
    (_, sink) => {
      sink.stream.reset(h2Error.cancel);
      sink.stream.consumed(sink.bytes);
    },
  ],
  [
    'reset by the peer, then consumed',
    (peer, sink) => {
      peer.feed(lay.reset(1, h2Error.cancel));
      sink.stream.consumed(sink.bytes);
    },
  ],
  [
    'both ended, then consumed',
    (peer, sink) => {
      peer.feed(lay.data(1, '', true));
      sink.stream.respond([[':status', '200']], true);
      sink.stream.consumed(sink.bytes);
    },
  ],
];

for (const [name, end] of endings) {
  test(`each byte is credited once: ${name}`, () => {
    const { peer, sink, credited } = counted();
    peer.feed(
      lay.data(1, Buffer.alloc(5000)),
      lay.paddedData(1, 'abc', 100),
      lay.paddedData(1, '', 7),
      lay.data(1, ''),
    );
    assert.equal(sink.bytes, 5003);
    assert.equal(credited(), 101 + 8, 'padding goes at once');
    end(peer, sink);
    assert.equal(credited(), 5003);
  });
}

test('each byte is credited once: for streams that are gone, refused, or were never looked at', () => {
  const { peer, sink, credited } = counted({ maxConcurrentStreams: 1 });
  peer.feed(lay.headers(3, peer.block()), lay.data(3, Buffer.alloc(1000)));
  assert.equal(credited(), 1000);
  sink.stream.reset(h2Error.cancel);
  peer.feed(lay.data(1, Buffer.alloc(1000)), lay.paddedData(1, 'x', 9));
  assert.equal(credited(), 1011);
  peer.ask(5);
  peer.session.drain();
  peer.feed(lay.headers(7, peer.block()), lay.data(7, Buffer.alloc(1000)));
  assert.equal(credited(), 1000);
});

test('each byte is credited once: a frame that overruns the window of its stream', () => {
  const { peer, sink, credited } = counted({ streamWindow: 4 });
  for (let i = 0; i < 4; i++) peer.feed(lay.data(1, Buffer.alloc(16_383)));
  assert.equal(credited(), 0);
  peer.feed(lay.data(1, Buffer.alloc(16_384)));
  assert.deepEqual(sink.events, ['closed reset 3']);
  assert.equal(credited(), 16_384);
  sink.stream.consumed(sink.bytes);
  assert.equal(credited(), 4 * 16_383);
});

test('each byte is credited once: a stream without a sink', () => {
  const { peer, sink, credited } = counted({ streamWindow: 10 });
  sink.stream.sink = undefined;
  peer.feed(lay.data(1, Buffer.alloc(1000)), lay.paddedData(1, 'x', 9));
  assert.equal(credited(), 1011);
  assert.equal(announced(peer, 1), 1011);
});

test('a sink that resets its stream while it takes bytes: the padding is still credited', () => {
  const { peer, sink, credited } = counted();
  sink.data = (chunk) => {
    sink.stream.reset(h2Error.cancel);
    sink.stream.consumed(chunk.length);
  };
  peer.feed(lay.paddedData(1, 'abc', 100));
  assert.equal(credited(), 104);
});

test('a stream that has ended gets no credit of its own', () => {
  const { peer, sink, credited } = counted({ streamWindow: 10 });
  peer.feed(lay.data(1, Buffer.alloc(10_000), true));
  sink.stream.consumed(10_000);
  assert.equal(credited(), 10_000);
  assert.equal(announced(peer, 1), 0);
});
