// What requests beyond a CONNECT need of a session. The other side is a script.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { flag, frameType, h2Error, maxStreamId } from './frames.ts';
import { lay, ScriptedPeer } from './scripted-peer.ts';

const endBoth = flag.endHeaders | flag.endStream;

test('trailers come before the end, and go behind the last byte', () => {
  const peer = new ScriptedPeer('server');
  const sink = peer.ask(1);
  const told: string[] = [];
  Object.assign(sink, { trailers: (headers: unknown) => told.push(JSON.stringify(headers)) });
  peer.feed(lay.data(1, 'body'), lay.headers(1, peer.block([['x-sum', '1']]), endBoth));
  assert.deepEqual(told, ['[["x-sum","1"]]']);
  assert.deepEqual(sink.events, ['ended']);
  sink.stream.respond([[':status', '200']]);
  assert.equal(sink.stream.write(Buffer.alloc(70_000)), false);
  sink.stream.end([['x-sum', '2']]);
  assert.ok(!peer.sent().some((text) => text.endsWith('end')), 'data waits for the window');
  peer.feed(lay.credit(0, 100_000), lay.credit(1, 100_000));
  const last = peer.frames().at(-1);
  assert.equal(last?.type, frameType.headers);
  assert.equal(last.flags, endBoth);
  assert.deepEqual(sink.events, ['ended', 'closed']);
});

test('a request without a body ends with its headers, and is over with its answer', () => {
  const peer = new ScriptedPeer('client');
  const stream = peer.session.request([[':method', 'GET']], true);
  assert.deepEqual(peer.sent(), ['headers 1 end']);
  stream.end();
  assert.deepEqual(peer.sent(), []);
  peer.answer(1, endBoth);
  assert.equal(peer.session.streams.size, 0);
});

test('a sink is told when its own direction has gone out first', () => {
  const peer = new ScriptedPeer('server');
  let sent = 0;
  const first = peer.ask(1);
  const second = peer.ask(3, endBoth);
  Object.assign(first, { sent: () => sent++ });
  Object.assign(second, { sent: () => sent++ });
  first.stream.respond([[':status', '200']], true);
  second.stream.respond([[':status', '200']], true);
  assert.equal(sent, 1, 'the second is over, and told so');
});

test('an informational answer may not end its stream', () => {
  const peer = new ScriptedPeer('client');
  const sink = peer.request();
  peer.answer(1, endBoth, '103');
  assert.deepEqual(sink.events, [`closed reset ${h2Error.protocolError}`]);
  assert.equal(sink.failure?.local, true);
});

test('a drain can be announced before it is one', () => {
  const peer = new ScriptedPeer('server');
  peer.ask(1);
  peer.session.announceDrain();
  assert.deepEqual(peer.sent(), [`goaway last ${maxStreamId} code 0`, 'ping']);
  peer.ask(3);
  assert.equal(peer.requests.length, 2);
  peer.session.drain();
  assert.deepEqual(peer.sent(), ['goaway last 3 code 0']);
});

test('the peer says whether it takes an extended CONNECT', () => {
  const peer = new ScriptedPeer('client');
  assert.equal(peer.session.peerConnectProtocol, false);
  peer.feed(lay.settings([8, 1]));
  assert.equal(peer.session.peerConnectProtocol, true);
  peer.feed(lay.settings([8, 2]));
  assert.equal(peer.failure?.code, h2Error.protocolError);
});

test('what the peer owes: its settings, a frame, a header block', () => {
  const peer = new ScriptedPeer('server', { silent: true });
  assert.notEqual(peer.session.owed, undefined);
  const open = new ScriptedPeer('server');
  assert.equal(open.session.owed, undefined);
  const block = open.block();
  open.feed(lay.headers(1, block.subarray(0, 3), 0));
  const owed = open.session.owed;
  assert.notEqual(owed, undefined);
  const rest = lay.continuation(1, block.subarray(3));
  open.feed(rest.subarray(0, 4));
  assert.equal(open.session.owed, owed, 'the same block');
  open.feed(rest.subarray(4));
  assert.equal(open.session.owed, undefined);
  open.feed(lay.ping().subarray(0, 12));
  assert.notEqual(open.session.owed, owed, 'another frame');
});
