import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HeaderMap } from '../header-map.ts';
import { get, ok, post, Server } from './scripted-client.ts';
import { turn } from './scripted-channel.ts';

test('a body that does not fit its length cuts the connection', () => {
  for (const body of ['abc', 'abcdefg']) {
    const server = new Server();
    server.channel.send(get);
    server.last.exchange.respond(ok(5), false);
    server.last.exchange.write(Buffer.from(body));
    server.last.exchange.end();
    assert.equal(server.channel.resets.length, 1);
    assert.equal(server.closed, 1);
  }
});

test('a response with a line break in a header is not sent', async () => {
  const server = new Server();
  server.channel.send(get);
  server.last.exchange.respond(ok(0, HeaderMap.of([['x', 'a\r\nset-cookie: b']])), true);
  server.last.exchange.write(Buffer.from('x'));
  assert.equal(
    await server.answer(),
    'HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\nconnection: close\r\n\r\n',
  );
  assert.deepEqual(server.last.events, ['failed local']);
});

test('what is of the connection is not taken from the headers of a response', async () => {
  const server = new Server();
  server.channel.send(get);
  const headers = HeaderMap.of([
    ['connection', 'x'],
    ['content-length', '9'],
    ['transfer-encoding', 'x'],
    ['x', '1'],
  ]);
  server.last.exchange.respond(ok(0, headers), true);
  assert.equal(await server.answer(), 'HTTP/1.1 200 OK\r\nx: 1\r\ncontent-length: 0\r\n\r\n');
});

test('limits: line, head, count', async () => {
  const limits = { maxHeadBytes: 200, maxHeaders: 3 };
  const cases = [
    [`GET /${'a'.repeat(300)} HTTP/1.1\r\nHost: h\r\n\r\n`, 414],
    [`GET /${'a'.repeat(300)}`, 414],
    [`GET / HTTP/1.1\r\nHost: h\r\nX: ${'a'.repeat(300)}\r\n\r\n`, 431],
    ['GET / HTTP/1.1\r\nHost: h\r\nA: 1\r\nA: 1\r\nA: 1\r\n\r\n', 431],
  ] as const;
  for (const [bytes, status] of cases) {
    const server = new Server(limits);
    for (const byte of bytes) server.channel.send(byte);
    assert.match(await server.answer(), new RegExp(`^HTTP/1.1 ${status} `));
    assert.equal(server.refusals.length, 1);
    assert.equal(server.channel.credited, server.channel.sent);
  }
});

test('a refusal is told once, with the line made printable', async () => {
  const server = new Server();
  server.channel.send('GET /\x1b[31m HTTP/1.1\r\nHost: h\r\n\r\n');
  assert.deepEqual(server.refusals, ['400 an invalid request target | GET /?[31m HTTP/1.1']);
  assert.equal(
    await server.answer(),
    'HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n',
  );
  server.channel.sink?.ended();
  server.channel.sink?.closed();
  assert.equal(server.closed, 1);
});

test('a broken chunk after the answer has begun cuts the connection', () => {
  const server = new Server();
  server.channel.send(post('Transfer-Encoding: chunked\r\n'));
  server.last.exchange.respond(ok(), false);
  server.channel.send('zz\r\n');
  assert.deepEqual(server.last.events, ['failed protocol']);
  assert.deepEqual(server.refusals, ['undefined an invalid chunk size | POST /a']);
  assert.equal(server.channel.resets.length, 1);
});

test('a head that does not come in time is answered 408, an idle connection is ended', async () => {
  const late = new Server({ headTimeoutMs: 1000 });
  late.channel.send('GET / HT');
  late.clock.advance(999);
  assert.equal(late.refusals.length, 0);
  late.clock.advance(1);
  assert.match(await late.answer(), /^HTTP\/1.1 408 /);
  assert.equal(late.channel.ends, 1);
  late.clock.advance(10_000);
  assert.equal(late.channel.resets.length, 1, 'a client that does not end is left');
  assert.equal(late.closed, 1);

  const idle = new Server({ idleTimeoutMs: 1000 });
  idle.clock.advance(900);
  idle.channel.send(get);
  idle.clock.advance(5000);
  assert.equal(idle.channel.ends, 0, 'not while a request is open');
  idle.last.exchange.respond(ok(), true);
  await turn();
  idle.clock.advance(999);
  await turn();
  assert.equal(idle.channel.ends, 0);
  idle.clock.advance(1);
  await turn();
  assert.equal(idle.channel.ends, 1);
  assert.equal(idle.refusals.length, 0);
});

test('drain: at once when idle, with the response otherwise', async () => {
  const idle = new Server();
  idle.connection.drain();
  await turn();
  assert.equal(idle.channel.ends, 1);
  const busy = new Server();
  busy.channel.send(get + get);
  busy.connection.drain();
  busy.last.exchange.respond(ok(), true);
  assert.equal(await busy.answer(), 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n');
  assert.equal(busy.channel.ends, 1);
  assert.equal(busy.receivers.length, 1);
});

test('a client that leaves', async () => {
  const within = new Server();
  within.channel.send(`${post('Content-Length: 6\r\n')}abc`);
  within.channel.sink?.ended();
  assert.deepEqual(within.last.events, ['data abc', 'failed reset']);
  assert.equal(within.closed, 1);

  const waiting = new Server();
  waiting.channel.send(get);
  waiting.channel.sink?.closed({ message: 'gone' });
  assert.deepEqual(waiting.last.events, ['failed reset']);
  waiting.last.exchange.respond(ok(), true);
  assert.equal(await waiting.answer(), '');

  const half = new Server();
  half.channel.send(get + get);
  half.channel.sink?.ended();
  half.last.exchange.respond(ok(), true);
  await turn();
  half.last.exchange.respond(ok(), true);
  assert.match(await half.answer(), /200 OK.*200 OK.*connection: close/s);
  assert.equal(half.channel.ends, 1, 'what was asked before the end is answered');

  const cut = new Server();
  cut.channel.send('GET /');
  cut.channel.sink?.ended();
  assert.deepEqual(cut.refusals, ['undefined the head was cut off | undefined']);
});

test('reset and destroy', () => {
  const server = new Server();
  server.channel.send(get);
  server.last.exchange.reset();
  assert.deepEqual(server.last.events, []);
  assert.equal(server.channel.resets.length, 1);
  assert.equal(server.closed, 1);
  const other = new Server();
  other.channel.send(get + get);
  other.connection.destroy();
  assert.deepEqual(other.last.events, ['failed local']);
  assert.equal(other.channel.credited, other.channel.sent);
  assert.equal(other.closed, 1);
});
