// What a peer may do wrong, and what that costs it. The other side is a script.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { flag, h2Error } from './frames.ts';
import { connectRequest, lay, type RecordingSink, ScriptedPeer } from './scripted-peer.ts';

const endBoth = flag.endHeaders | flag.endStream;

/** What a peer does wrong on one stream: that stream is reset, the connection goes on. */
const streamErrors: readonly [
  name: string,
  role: 'client' | 'server',
  code: number,
  act: (peer: ScriptedPeer) => void,
][] = [
  [
    'trailers that do not end',
    'server',
    h2Error.protocolError,
    (p) => p.feed(lay.headers(1, p.block([['x', 'y']]))),
  ],
  ['trailers with :status', 'server', h2Error.protocolError, (p) => p.answer(1, endBoth)],
  [
    'trailers that do not end, to a client',
    'client',
    h2Error.protocolError,
    (p) => {
      p.answer(1);
      p.answer(1);
    },
  ],
  [
    'an answer without :status',
    'client',
    h2Error.protocolError,
    (p) => p.feed(lay.headers(1, p.block([['x', 'y']]))),
  ],
  ['DATA before the answer', 'client', h2Error.protocolError, (p) => p.feed(lay.data(1, 'x'))],
  [
    'DATA after an informational answer only',
    'client',
    h2Error.protocolError,
    (p) => {
      p.answer(1, flag.endHeaders, '100');
      p.feed(lay.data(1, 'x'));
    },
  ],
  [
    'DATA after the end',
    'server',
    h2Error.streamClosed,
    (p) => p.feed(lay.data(1, '', true), lay.data(1, 'x')),
  ],
  [
    'HEADERS after the end',
    'server',
    h2Error.streamClosed,
    (p) => p.feed(lay.data(1, '', true), lay.headers(1, p.block([['x', 'y']]), endBoth)),
  ],
  [
    'more DATA than the window',
    'server',
    h2Error.flowControlError,
    (p) => {
      (p.sinks[0] as RecordingSink).hold = true;
      for (let i = 0; i < 7; i++) p.feed(lay.data(1, Buffer.alloc(16_384)));
    },
  ],
  ['WINDOW_UPDATE by 0', 'server', h2Error.protocolError, (p) => p.feed(lay.credit(1, 0))],
  ['a window over 2^31-1', 'server', h2Error.flowControlError, (p) => p.feed(lay.credit(1, 0x7fffffff))],
  [
    'answer headers over the limit',
    'client',
    h2Error.enhanceYourCalm,
    (p) =>
      p.feed(
        lay.headers(
          1,
          p.block([
            [':status', '200'],
            ['x', 'y'.repeat(5000)],
          ]),
        ),
      ),
  ],
];

for (const [name, role, code, act] of streamErrors) {
  test(`${role}, an error of a stream: ${name}`, () => {
    const peer = new ScriptedPeer(role);
    const [sink, other] = role === 'server' ? [peer.ask(1), peer.ask(3)] : [peer.request(), peer.request()];
    peer.frames();
    act(peer);
    assert.deepEqual(
      peer.sent().filter((text) => text.startsWith('rstStream')),
      [`rstStream 1 ${code}`],
    );
    assert.deepEqual(sink.events.at(-1), `closed reset ${code}`);
    assert.equal(peer.closed, 0);
    if (role === 'client') peer.answer(3);
    peer.feed(lay.data(3, 'alive'));
    assert.equal(other.text, 'alive');
  });
}

test('a request that is malformed, or has too many headers, costs its stream only', () => {
  const peer = new ScriptedPeer('server');
  peer.feed(lay.headers(1, peer.block([[':authority', 'a:1']])));
  peer.feed(lay.headers(3, peer.block([...connectRequest, ['x-large', 'y'.repeat(5000)]])));
  peer.ask(5);
  assert.deepEqual(peer.sent(), ['rstStream 1 1', 'rstStream 3 11']);
  assert.equal(peer.requests.length, 1);
  assert.equal(peer.closed, 0);
});

/** What a peer does wrong on the connection: GOAWAY with the code, every stream fails, `closed` once. */
const connectionErrors: readonly [
  name: string,
  role: 'client' | 'server',
  code: number,
  frames: (peer: ScriptedPeer) => readonly Buffer[],
][] = [
  ['DATA on an idle stream', 'server', h2Error.protocolError, () => [lay.data(5, 'x')]],
  ['RST_STREAM on an idle stream', 'server', h2Error.protocolError, () => [lay.reset(5, 8)]],
  ['WINDOW_UPDATE on an idle stream', 'server', h2Error.protocolError, () => [lay.credit(5, 1)]],
  ['DATA on an even stream', 'server', h2Error.protocolError, () => [lay.data(2, 'x')]],
  ['a request on an even stream', 'server', h2Error.protocolError, (p) => [lay.headers(2, p.block())]],
  [
    'HEADERS on an idle stream',
    'client',
    h2Error.protocolError,
    (p) => [lay.headers(3, p.block([[':status', '200']]))],
  ],
  [
    'HEADERS on a pushed stream',
    'client',
    h2Error.protocolError,
    (p) => [lay.headers(2, p.block([[':status', '200']]))],
  ],
  ['RST_STREAM on an idle stream', 'client', h2Error.protocolError, () => [lay.reset(3, 8)]],
  ['bad HPACK', 'server', h2Error.compressionError, () => [lay.headers(3, Buffer.from([0x80]))]],
  [
    'bad HPACK on a stream that is gone',
    'server',
    h2Error.compressionError,
    () => [lay.reset(1, 8), lay.headers(1, Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff]), endBoth)],
  ],
  ['WINDOW_UPDATE of the connection by 0', 'server', h2Error.protocolError, () => [lay.credit(0, 0)]],
  ['a connection window over 2^31-1', 'server', h2Error.flowControlError, () => [lay.credit(0, 0x7fffffff)]],
  ['a first window over 2^31-1', 'server', h2Error.flowControlError, () => [lay.settings([4, 0x80000000])]],
  [
    'a first window that lifts a stream over 2^31-1',
    'server',
    h2Error.flowControlError,
    () => [lay.credit(1, 0x7fffffff - 65_535), lay.settings([4, 65_536])],
  ],
  ['a small frame limit', 'server', h2Error.protocolError, () => [lay.settings([5, 16_383])]],
  ['a large frame limit', 'server', h2Error.protocolError, () => [lay.settings([5, 16_777_216])]],
  ['push of 2', 'server', h2Error.protocolError, () => [lay.settings([2, 2])]],
  ['push from a server', 'client', h2Error.protocolError, () => [lay.settings([2, 1])]],
  [
    'more DATA than the connection window',
    'server',
    h2Error.flowControlError,
    (p) => {
      p.hold = true;
      const frames: Buffer[] = [];
      for (let id = 3; id <= 19; id += 2) {
        frames.push(lay.headers(id, p.block()));
        for (let i = 0; i < 6; i++) frames.push(lay.data(id, Buffer.alloc(16_384)));
      }
      return frames;
    },
  ],
];

for (const [name, role, code, frames] of connectionErrors) {
  test(`${role}, an error of the connection: ${name}`, () => {
    const peer = new ScriptedPeer(role);
    const sink = role === 'server' ? peer.ask(1) : peer.request();
    peer.frames();
    peer.feed(...frames(peer), lay.ping(), lay.data(1, 'after'));
    assert.match(
      peer.sent().at(-1) ?? '',
      new RegExp(`^goaway last \\d+ code ${code}$`),
      'nothing follows GOAWAY',
    );
    assert.equal(peer.closed, 1);
    assert.equal(peer.failure?.code, code);
    assert.match(sink.events.at(-1) ?? '', /^closed (session|reset)/);
    assert.equal(peer.session.streams.size, 0);
    assert.equal(peer.session.freeStreams, 0);
  });
}
