// How streams and sessions end: resets, GOAWAY, drain, close. The other side is a script.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { flag, h2Error, maxStreamId } from './frames.ts';
import { connectRequest, lay, ScriptedPeer } from './scripted-peer.ts';

const endBoth = flag.endHeaders | flag.endStream;

test('client: REFUSED_STREAM says that the request was not looked at, but only before the answer', () => {
  const peer = new ScriptedPeer('client');
  const first = peer.request();
  const second = peer.request();
  peer.answer(3);
  peer.feed(lay.reset(1, h2Error.refusedStream), lay.reset(3, h2Error.refusedStream));
  assert.equal(first.failure?.kind, 'refused');
  assert.equal(second.failure?.kind, 'reset');
});

test('client: NO_ERROR after the whole answer is no failure, before it is one', () => {
  const peer = new ScriptedPeer('client');
  const first = peer.request();
  peer.answer(1, endBoth);
  peer.feed(lay.reset(1, h2Error.noError));
  assert.deepEqual(first.events, ['headers :status=200', 'ended', 'closed']);
  const second = peer.request();
  peer.answer(3);
  peer.feed(lay.reset(3, h2Error.noError));
  assert.equal(second.failure?.kind, 'reset');
});

test('client: GOAWAY refuses the streams above its number, and lets the others end', () => {
  const peer = new ScriptedPeer('client');
  const [first, second, third] = [peer.request(), peer.request(), peer.request()];
  peer.answer(1);
  peer.feed(lay.goaway(maxStreamId, 0));
  assert.deepEqual(peer.events, ['going away']);
  assert.equal(peer.session.streams.size, 3, 'a first warning refuses nobody');
  assert.equal(peer.session.freeStreams, 0);
  peer.feed(lay.goaway(3, 0));
  assert.equal(third?.failure?.kind, 'refused');
  assert.deepEqual(second?.events, []);
  peer.feed(lay.goaway(1, 0));
  assert.equal(second?.failure?.kind, 'refused');
  peer.feed(lay.data(1, 'rest', true));
  first?.stream.end();
  assert.deepEqual(first?.events, ['headers :status=200', 'ended', 'closed']);
  assert.equal(peer.closed, 1);
  assert.equal(peer.failure, undefined);
});

test('client: a request on a session that takes none is refused, later', async () => {
  for (const end of [
    (peer: ScriptedPeer) => peer.feed(lay.goaway(1, 0)),
    (peer: ScriptedPeer) => peer.session.close(h2Error.cancel, 'gone'),
    (peer: ScriptedPeer) => peer.session.drain(),
  ]) {
    const peer = new ScriptedPeer('client');
    peer.request();
    end(peer);
    peer.frames();
    const late = peer.request();
    assert.deepEqual(late.events, []);
    assert.equal(late.stream.write(Buffer.from('x')), true);
    late.stream.end();
    await Promise.resolve();
    assert.deepEqual(late.events, [`closed refused ${h2Error.refusedStream}`]);
    assert.deepEqual(peer.sent(), []);
  }
});

test('server: drain names the last request, ignores later ones, and lets the open ones end', () => {
  const peer = new ScriptedPeer('server');
  const sink = peer.ask(3);
  peer.session.drain();
  assert.deepEqual(peer.sent(), ['goaway last 3 code 0']);
  // The client has not seen it yet: nothing of this may harm stream 3.
  peer.feed(lay.headers(5, peer.block([...connectRequest, ['x-new', 'z']])));
  peer.feed(lay.data(5, 'early'), lay.credit(5, 1000), lay.reset(5, 8));
  peer.feed(lay.headers(7, peer.block([...connectRequest, ['x-new', 'z']])), lay.data(7, '', true));
  assert.equal(peer.requests.length, 1);
  assert.deepEqual(peer.sent(), []);
  peer.feed(lay.data(3, 'rest', true));
  sink.stream.end();
  assert.deepEqual(sink.events, ['ended', 'closed']);
  assert.equal(peer.closed, 1);
  assert.equal(peer.failure, undefined);
});

test('server: after a drain, an error names no higher stream than before', () => {
  const peer = new ScriptedPeer('server');
  peer.ask(3);
  peer.session.drain();
  peer.feed(lay.headers(9, peer.block()), lay.credit(0, 0));
  assert.deepEqual(peer.sent(), ['goaway last 3 code 0', 'goaway last 3 code 1']);
});

test('server: drain without streams closes at once, and twice is once', () => {
  const peer = new ScriptedPeer('server');
  peer.session.drain();
  peer.session.drain();
  assert.deepEqual(peer.sent(), ['goaway last 0 code 0']);
  assert.equal(peer.closed, 1);
});

test("server: a client's GOAWAY does not stop the requests that it still sends", () => {
  const peer = new ScriptedPeer('server');
  const sink = peer.ask(1);
  peer.feed(lay.goaway(0, 0));
  peer.ask(3);
  assert.equal(peer.requests.length, 2);
  peer.session.drain();
  assert.deepEqual(peer.sent(), ['goaway last 3 code 0']);
  sink.stream.reset(h2Error.cancel);
  peer.sinks[1]?.stream.reset(h2Error.cancel);
  assert.equal(peer.closed, 1);
});

test('close: every stream fails, once, and nothing more is said', () => {
  const peer = new ScriptedPeer('server');
  const sinks = [peer.ask(1), peer.ask(3)];
  peer.session.close(h2Error.internalError, 'on purpose');
  peer.session.close(h2Error.noError, 'again');
  for (const sink of sinks) {
    assert.deepEqual(sink.events, ['closed session 2']);
    sink.stream.write(Buffer.from('x'));
    sink.stream.end();
    sink.stream.reset(1);
    sink.stream.respond([[':status', '200']]);
    sink.stream.consumed(1_000_000);
    assert.equal(sink.events.length, 1);
  }
  peer.session.ping();
  peer.session.drain();
  peer.feed(lay.ping(), lay.data(1, 'x'));
  assert.deepEqual(peer.sent(), ['goaway last 3 code 2']);
  assert.equal(peer.closed, 1);
  assert.deepEqual(peer.failure, { code: 2, message: 'on purpose' });
});

test('a sink that ends the session from inside any of its calls', () => {
  for (const call of ['data', 'ended', 'headers', 'writable'] as const) {
    const peer = new ScriptedPeer('client');
    const sink = peer.request();
    const other = peer.request();
    sink[call] = () => peer.session.close(h2Error.cancel, 'from inside');
    sink.stream.write(Buffer.alloc(70_000));
    peer.answer(1);
    peer.feed(lay.data(1, 'x', true), lay.credit(0, 100_000), lay.credit(1, 100_000), lay.data(1, 'y'));
    assert.equal(peer.closed, 1, call);
    assert.deepEqual(other.events, ['closed session 8']);
  }
});

test('a sink that resets its stream from inside any of its calls', () => {
  for (const call of ['data', 'ended', 'headers', 'writable'] as const) {
    const peer = new ScriptedPeer('client');
    const sink = peer.request();
    sink[call] = () => sink.stream.reset(h2Error.cancel);
    sink.stream.write(Buffer.alloc(70_000));
    peer.answer(1);
    peer.feed(
      lay.paddedData(1, 'x', 5, true),
      lay.credit(0, 100_000),
      lay.credit(1, 100_000),
      lay.data(1, 'y'),
    );
    assert.equal(peer.closed, 0, call);
    assert.deepEqual(
      sink.events.filter((event) => event.startsWith('closed')),
      ['closed reset 8'],
      call,
    );
    assert.equal(peer.session.streams.size, 0);
  }
});
