// What a session may send: windows of the stream and of the connection, and the room in the output.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { patternAt, PatternCheck } from './byte-pattern.ts';
import { flag, frameType, h2Error } from './frames.ts';
import { lay, type RecordingSink, ScriptedPeer, drained } from './scripted-peer.ts';

/** A client with one open stream, and what it has laid so far taken away. */
function opened(options: ConstructorParameters<typeof ScriptedPeer>[1] = {}): {
  peer: ScriptedPeer;
  sink: RecordingSink;
} {
  const peer = new ScriptedPeer('client', options);
  const sink = peer.request();
  peer.answer(1);
  peer.frames();
  sink.events.length = 0;
  return { peer, sink };
}

/** Bytes of DATA that were laid since the last call. */
const laid = (peer: ScriptedPeer, stream?: number): number =>
  peer
    .frames()
    .filter((f) => f.type === frameType.data && (stream === undefined || f.stream === stream))
    .reduce((sum, f) => sum + f.payload.length, 0);

test('the stream window holds bytes back until there is credit', () => {
  const { peer, sink } = opened();
  peer.feed(lay.credit(0, 1_000_000));
  assert.equal(sink.stream.write(Buffer.alloc(65_535)), true);
  assert.equal(sink.stream.write(Buffer.alloc(10)), false);
  assert.equal(laid(peer), 65_535);
  peer.feed(lay.credit(1, 4));
  assert.equal(laid(peer), 4);
  assert.deepEqual(sink.events, []);
  peer.feed(lay.credit(1, 6));
  assert.equal(laid(peer), 6);
  assert.deepEqual(sink.events, ['writable']);
});

test("the connection's window holds all streams back, and credit goes to whoever waits longest", () => {
  const { peer, sink: first } = opened({ silent: false });
  const second = peer.request();
  const third = peer.request();
  peer.frames();
  first.stream.write(Buffer.alloc(60_000));
  assert.equal(second.stream.write(Buffer.alloc(60_000)), false);
  assert.equal(third.stream.write(Buffer.alloc(10)), false);
  assert.equal(laid(peer), 65_535);
  peer.feed(lay.credit(0, 100));
  assert.equal(laid(peer, second.stream.id), 100);
  assert.deepEqual(third.events, []);
  peer.feed(lay.credit(0, 60_000));
  const frames = peer.frames().filter((f) => f.type === frameType.data);
  assert.deepEqual([...new Set(frames.map((f) => f.stream))], [second.stream.id, third.stream.id]);
  assert.deepEqual([second.events, third.events], [['writable'], ['writable']]);
});

test('a stream without a window of its own does not stop others when the connection gets credit', () => {
  const { peer, sink: stuck } = opened();
  stuck.stream.write(Buffer.alloc(65_535 + 10));
  const other = peer.request();
  other.stream.write(Buffer.alloc(5));
  peer.frames();
  peer.feed(lay.credit(0, 1000));
  assert.deepEqual(other.events, ['writable']);
  assert.deepEqual(stuck.events, []);
});

test('the end waits for the bytes before it', () => {
  const { peer, sink } = opened();
  sink.stream.write(Buffer.alloc(65_535));
  sink.stream.write(Buffer.from('rest'));
  sink.stream.end();
  sink.stream.end();
  sink.stream.write(Buffer.from('after the end'));
  peer.frames();
  peer.feed(lay.credit(0, 100), lay.credit(1, 3));
  assert.deepEqual(peer.sent(), ['data 1 "res"']);
  peer.feed(lay.credit(1, 1));
  assert.deepEqual(peer.sent(), ['data 1 "t"', 'data 1 "" end']);
  assert.deepEqual(sink.events, [], 'not asked for more after the end');
  peer.feed(lay.data(1, '', true));
  assert.deepEqual(sink.events, ['ended', 'closed']);
});

test('the peer ends first while our end waits for its window', () => {
  const { peer, sink } = opened();
  sink.stream.write(Buffer.alloc(65_536));
  sink.stream.end();
  peer.feed(lay.data(1, '', true));
  assert.deepEqual(sink.events, ['ended']);
  peer.frames();
  peer.feed(lay.credit(0, 1), lay.credit(1, 1));
  assert.deepEqual(peer.sent(), ['data 1 "\\u0000"', 'data 1 "" end']);
  assert.deepEqual(sink.events, ['ended', 'closed']);
});

test('a reset forgets what waits', () => {
  const { peer, sink } = opened();
  sink.stream.write(Buffer.alloc(100_000));
  sink.stream.end();
  peer.frames();
  sink.stream.reset(h2Error.cancel);
  assert.equal(sink.stream.pending.length, 0);
  peer.feed(lay.credit(0, 100_000));
  assert.deepEqual(peer.sent(), ['rstStream 1 8']);
});

test('a first window that shrinks below what is used, and grows again', () => {
  const { peer, sink } = opened();
  peer.feed(lay.credit(0, 1_000_000));
  sink.stream.write(Buffer.alloc(50_000));
  peer.feed(lay.settings([4, 10]));
  assert.equal(sink.stream.sendWindow, 10 - 50_000);
  assert.equal(sink.stream.write(Buffer.alloc(100)), false);
  assert.equal(laid(peer), 50_000);
  peer.feed(lay.credit(1, 49_990));
  assert.equal(laid(peer), 0);
  peer.feed(lay.credit(1, 1));
  assert.equal(laid(peer), 1);
  peer.feed(lay.settings([4, 60]));
  assert.equal(laid(peer), 50);
  peer.feed(lay.settings([4, 1000]));
  assert.equal(laid(peer), 49);
  assert.deepEqual(sink.events, ['writable']);
  const next = peer.request();
  assert.equal(next.stream.sendWindow, 1000);
});

test('a first window that comes often in one frame counts as its last value', () => {
  const { peer, sink } = opened();
  sink.stream.write(Buffer.alloc(65_000));
  peer.feed(lay.settings([4, 1], [4, 0x7fffffff], [4, 65_535]));
  assert.equal(sink.stream.sendWindow, 535);
});

test('bytes stay in order through windows of every kind', () => {
  const { peer, sink } = opened({ outputLimit: 5000 });
  const check = new PatternCheck();
  const total = 200_000;
  let sent = 0;
  let seed = 7;
  const random = (below: number): number => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    return (seed >>> 8) % below;
  };
  const more = (): void => {
    while (sent < total) {
      const part = patternAt(sent, Math.min(1 + random(30_000), total - sent));
      sent += part.length;
      if (!sink.stream.write(part)) return;
    }
    sink.stream.end();
  };
  sink.writable = more;
  more();
  let ended = false;
  for (let round = 0; round < 5000 && !ended; round++) {
    for (const { type, flags, payload } of peer.frames()) {
      if (type !== frameType.data) continue;
      check.take(payload);
      ended ||= (flags & flag.endStream) !== 0;
    }
    peer.feed(lay.credit(random(2), 1 + random(2000)));
    if (random(50) === 0) peer.feed(lay.settings([4, random(100_000)]));
    if (random(50) === 0) peer.feed(lay.settings([5, 16_384 + random(100_000)]));
  }
  assert.equal(ended, true);
  assert.equal(check.at, total);
});

test('a transport that takes no more: data waits in its stream, control frames do not', () => {
  const { peer, sink } = opened();
  peer.session.setCongested(true);
  assert.equal(sink.stream.write(Buffer.alloc(1000)), false);
  assert.equal(sink.stream.write(Buffer.alloc(500)), false);
  sink.stream.end();
  peer.feed(lay.ping(), lay.credit(0, 1000), lay.credit(1, 1000), lay.settings([4, 100_000]));
  const bytes = drained(peer.session.output);
  assert.equal(bytes.length, 17 + 9, 'an answer to PING and one to SETTINGS');
  peer.session.setCongested(false);
  assert.deepEqual(peer.sent(), ['data 1 1000 bytes', 'data 1 500 bytes', 'data 1 "" end']);
});

test('the output takes no more data than its limit in one turn', () => {
  const { peer, sink } = opened({ outputLimit: 10_000 });
  peer.feed(lay.credit(0, 1_000_000), lay.credit(1, 1_000_000));
  const other = peer.request();
  peer.frames();
  assert.equal(sink.stream.write(Buffer.alloc(25_000)), false);
  assert.equal(other.stream.write(Buffer.alloc(10)), false);
  assert.ok(peer.session.output.size < 10_100);
  // Each call of `frames` is a turn of the transport.
  const turns = [laid(peer), laid(peer), laid(peer)];
  assert.deepEqual(turns, [10_000, 10_000, 5010]);
  assert.deepEqual([sink.events, other.events], [['writable'], ['writable']]);
});

test('control frames that fill the output hold data back, but only until they are out', () => {
  const { peer, sink } = opened({ outputLimit: 100 });
  for (let i = 0; i < 20; i++) peer.feed(lay.ping());
  assert.equal(sink.stream.write(Buffer.from('data')), false);
  assert.equal(laid(peer), 0);
  assert.equal(laid(peer), 4);
  assert.deepEqual(sink.events, ['writable']);
});

test('a writer that writes from inside `writable` is neither lost nor endless', () => {
  const { peer, sink } = opened({ outputLimit: 1000 });
  let calls = 0;
  sink.writable = () => {
    calls++;
    while (sink.stream.write(Buffer.alloc(100)));
  };
  sink.writable();
  for (let i = 0; i < 200; i++) peer.frames();
  assert.ok(calls < 200);
  assert.equal(sink.stream.sendWindow, 0);
  assert.ok(sink.stream.pendingBytes <= 100);
});

test('an empty write is no frame', () => {
  const { peer, sink } = opened();
  assert.equal(sink.stream.write(Buffer.alloc(0)), true);
  assert.deepEqual(peer.sent(), []);
});
