// The session's rules, frame by frame. The other side is a script.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { flag, h2Error, maxStreamId, preface, setting } from './frames.ts';
import { HpackDecoder, HpackEncoder } from './hpack.ts';
import {
  connectRequest,
  describeFrame,
  frame,
  lay,
  parseFrames,
  ScriptedPeer,
  smallSettings,
  drained,
} from './scripted-peer.ts';
import { H2Session } from './session.ts';

const endBoth = flag.endHeaders | flag.endStream;

test('greeting of a client', () => {
  const peer = new ScriptedPeer('client', { silent: true });
  const [settings, credit] = peer.frames();
  assert.deepEqual(
    settings?.payload,
    lay
      .settings(
        [setting.initialWindowSize, 100_000],
        [setting.maxFrameSize, 16_384],
        [setting.maxHeaderListSize, 4096],
        [setting.enablePush, 0],
      )
      .subarray(9),
  );
  assert.equal(credit === undefined ? '' : describeFrame(credit), `windowUpdate 0 +${400_000 - 65_535}`);
});

test('greeting of a server: no preface, and its limit of streams', () => {
  const peer = new ScriptedPeer('server', { silent: true });
  const bytes = drained(peer.session.output);
  assert.notDeepEqual(bytes.subarray(0, 4), preface.subarray(0, 4));
  assert.deepEqual(
    bytes.subarray(9, 33),
    lay
      .settings(
        [setting.initialWindowSize, 100_000],
        [setting.maxFrameSize, 16_384],
        [setting.maxHeaderListSize, 4096],
        [setting.maxConcurrentStreams, 10],
      )
      .subarray(9),
  );
});

test('a connection window of at most 64 KiB is announced by nothing, since it cannot be made smaller', () => {
  for (const connectionWindow of [1000, 65_535]) {
    const peer = new ScriptedPeer('client', { silent: true, settings: { connectionWindow } });
    assert.deepEqual(peer.sent(), ['settings']);
  }
});

test('a stream window under 64 KiB: the peer may use more until it has read our settings', () => {
  const peer = new ScriptedPeer('server', { settings: { streamWindow: 1000 } });
  const sink = peer.ask(1);
  for (let i = 0; i < 3; i++) peer.feed(lay.data(1, Buffer.alloc(16_384)));
  assert.equal(sink.bytes, 3 * 16_384);
  assert.equal(sink.failure, undefined);
});

test('a conversation: request, answer, bytes both ways, ends', () => {
  const peer = new ScriptedPeer('server');
  const sink = peer.ask(1);
  assert.deepEqual(peer.requests, [{ headers: connectRequest, ended: false }]);
  sink.stream.respond([[':status', '200']]);
  peer.feed(lay.data(1, 'up'));
  sink.stream.write(Buffer.from('down'));
  sink.stream.end();
  peer.feed(lay.data(1, '', true));
  assert.deepEqual(peer.sent(), ['headers 1', 'data 1 "down"', 'data 1 "" end']);
  assert.equal(sink.text, 'up');
  assert.deepEqual(sink.events, ['ended', 'closed']);
  assert.deepEqual(peer.events, ['stream ended']);
  assert.equal(peer.session.streams.size, 0);
});

test('client: request, answer, ends', () => {
  const peer = new ScriptedPeer('client');
  const sink = peer.request();
  peer.answer(1);
  peer.feed(lay.data(1, 'down', true));
  sink.stream.write(Buffer.from('up'));
  sink.stream.end();
  assert.deepEqual(peer.sent(), ['headers 1', 'data 1 "up"', 'data 1 "" end']);
  assert.deepEqual(sink.events, ['headers :status=200', 'ended', 'closed']);
  const second = peer.request();
  assert.equal(second.stream.id, 3);
});

test('a request that has ended already', () => {
  const peer = new ScriptedPeer('server');
  const sink = peer.ask(1, endBoth);
  assert.equal(peer.requests[0]?.ended, true);
  assert.deepEqual(sink.events, [], 'the handler was told: the sink is not told again');
  sink.stream.respond([[':status', '200']], true);
  assert.deepEqual(sink.events, ['closed']);
});

test('client: an answer that ends at once', () => {
  const peer = new ScriptedPeer('client');
  const sink = peer.request();
  peer.answer(1, endBoth);
  assert.deepEqual(sink.events, ['headers :status=200', 'ended']);
});

test('client: informational answers come before the answer', () => {
  const peer = new ScriptedPeer('client');
  const sink = peer.request();
  peer.answer(1, flag.endHeaders, '103');
  peer.answer(1);
  peer.feed(lay.data(1, 'x'));
  assert.deepEqual(sink.events, ['headers :status=103', 'headers :status=200']);
  assert.equal(sink.text, 'x');
});

test('trailers end a stream, also empty ones', () => {
  const server = new ScriptedPeer('server');
  const asked = server.ask(1);
  server.feed(lay.headers(1, server.block([['x-sum', '1']]), endBoth));
  assert.deepEqual(asked.events, ['ended']);
  const client = new ScriptedPeer('client');
  const asking = client.request();
  client.answer(1);
  client.feed(lay.headers(1, Buffer.alloc(0), endBoth));
  assert.deepEqual(asking.events, ['headers :status=200', 'ended']);
  assert.equal(client.closed, 0);
});

test('what is not known is ignored: frames, settings, flags', () => {
  const peer = new ScriptedPeer('server');
  peer.feed(
    lay.settings([0x99, 1], [8, 1]),
    frame(0xfe, 0xff, 7, Buffer.alloc(1000)),
    frame(2, 0, 1, Buffer.alloc(5)),
  );
  const sink = peer.ask(1, flag.endHeaders | 0x42);
  peer.feed(frame(0, 0xf6, 1, Buffer.from('x')));
  assert.equal(sink.text, 'x');
  assert.deepEqual(peer.sent(), ['settings ack']);
});

test('frames on a stream that is over are ignored, and their bytes credited', () => {
  const peer = new ScriptedPeer('server');
  const sink = peer.ask(1);
  sink.stream.reset(h2Error.cancel);
  peer.frames();
  for (let i = 0; i < 20; i++) peer.feed(lay.data(1, Buffer.alloc(10_000)));
  peer.feed(
    lay.credit(1, 5),
    lay.reset(1, 8),
    lay.headers(1, peer.block([['x', 'y']]), endBoth),
    lay.data(1, '', true),
  );
  assert.deepEqual(peer.sent(), ['windowUpdate 0 +200000']);
  assert.equal(sink.bytes, 0);
  assert.equal(peer.closed, 0);
});

test('headers on a stream that is over still change the table', () => {
  const peer = new ScriptedPeer('server');
  peer.ask(1).stream.reset(h2Error.cancel);
  peer.feed(lay.headers(1, peer.block([['x-later', 'value']]), endBoth));
  peer.ask(3, flag.endHeaders, [...connectRequest, ['x-later', 'value']]);
  assert.deepEqual(peer.requests[1]?.headers.at(-1), ['x-later', 'value']);
});

test('server: over the limit of streams, the next one is refused', () => {
  const peer = new ScriptedPeer('server');
  for (let id = 1; id <= 19; id += 2) peer.ask(id);
  peer.frames();
  peer.feed(lay.headers(21, peer.block()));
  assert.deepEqual(peer.sent(), ['rstStream 21 7']);
  assert.equal(peer.requests.length, 10);
  peer.feed(lay.data(21, 'late'), lay.reset(1, 8));
  peer.ask(23);
  assert.equal(peer.requests.length, 11);
  assert.equal(peer.closed, 0);
});

test('server without a handler refuses all', () => {
  const session = new H2Session('server', smallSettings, { flush() {}, closed() {} });
  drained(session.output);
  const block = new HpackEncoder().encode(connectRequest);
  for (const bytes of [preface, lay.settings(), lay.headers(1, block), lay.data(1, 'x')])
    session.receive(bytes);
  const frames = parseFrames(drained(session.output));
  assert.deepEqual(frames.map(describeFrame), ['settings ack', 'rstStream 1 7']);
  assert.equal(session.streams.size, 0);
});

test('PING is answered with its bytes', () => {
  const peer = new ScriptedPeer('server');
  peer.feed(lay.ping());
  const [answer] = peer.frames();
  assert.equal(answer?.payload.toString(), '01234567');
  assert.equal(answer?.flags, flag.ack);
  peer.session.ping();
  assert.deepEqual(peer.sent(), ['ping']);
  peer.feed(lay.ping(true));
  assert.deepEqual(peer.events, ['alive']);
});

test('settings are acknowledged, and an acknowledgement is not', () => {
  const peer = new ScriptedPeer('server');
  peer.feed(lay.settings([3, 7]), lay.settingsAck());
  assert.deepEqual(peer.sent(), ['settings ack']);
});

test("the peer's limit of streams: a guess, then what it says, or none", () => {
  const peer = new ScriptedPeer('client', { silent: true });
  assert.equal(peer.session.freeStreams, 100);
  peer.feed(lay.settings());
  assert.equal(peer.session.freeStreams, maxStreamId);
  peer.feed(lay.settings([3, 2]));
  peer.request();
  assert.equal(peer.session.freeStreams, 1);
  peer.feed(lay.settings([1, 4096]));
  assert.equal(peer.session.freeStreams, 1);
  peer.feed(lay.settings([3, 0]));
  assert.equal(peer.session.freeStreams, 0);
  assert.equal(peer.events.at(-1), 'stream ended', 'whoever waits for a place looks again');
});

test("the peer's table size holds for our next block", () => {
  const peer = new ScriptedPeer('client');
  peer.request([...connectRequest, ['x', 'y']]);
  peer.feed(lay.settings([1, 0]), lay.settings([1, 4096]));
  peer.request([...connectRequest, ['x', 'y']]);
  const blocks = peer.frames().filter((f) => f.type === 1);
  const decoder = new HpackDecoder(4096);
  for (const { payload } of blocks) assert.equal(decoder.decode(payload).length, 3);
  assert.equal(blocks[1]?.payload.subarray(0, 4).toString('hex'), '203fe11f');
});

test("the peer's frame limit cuts our DATA and header blocks", () => {
  const peer = new ScriptedPeer('client');
  const sink = peer.request([...connectRequest, ['x', 'y'.repeat(40_000)]]);
  sink.stream.write(Buffer.alloc(40_000));
  const lengths = peer.frames().map((f) => f.payload.length);
  assert.deepEqual(lengths.toSpliced(2, 1), [16_384, 16_384, 16_384, 16_384, 7232]);
  assert.ok((lengths[2] ?? 0) > 40_000 - 2 * 16_384, 'the rest of the block');
  peer.feed(lay.settings([5, 20_000]), lay.credit(0, 100_000), lay.credit(1, 100_000));
  peer.frames();
  sink.stream.write(Buffer.alloc(40_000));
  assert.deepEqual(
    peer.frames().map((f) => f.payload.length),
    [20_000, 20_000],
  );
});

test('client: stream numbers run out', async () => {
  const peer = new ScriptedPeer('client');
  peer.session.numbers.next = maxStreamId;
  const last = peer.request();
  assert.equal(last.stream.id, maxStreamId);
  assert.equal(peer.session.freeStreams, 0);
  const none = peer.request();
  await Promise.resolve();
  assert.equal(none.failure?.kind, 'refused');
  peer.answer(maxStreamId, endBoth);
  assert.deepEqual(last.events, ['headers :status=200', 'ended']);
});

test('server: the last stream number that there is', () => {
  const peer = new ScriptedPeer('server');
  const sink = peer.ask(maxStreamId);
  peer.feed(lay.data(maxStreamId, 'x'));
  assert.equal(sink.text, 'x');
});
