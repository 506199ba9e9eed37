import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HeaderMap } from '../header-map.ts';
import { get, none, ok, post, Server } from './scripted-client.ts';
import { turn } from './scripted-channel.ts';

test('head and body of one turn go out in one write', async () => {
  const server = new Server();
  server.channel.send(get);
  server.last.exchange.respond(ok(5, HeaderMap.of([['x-a', '1']])), false);
  assert.equal(server.last.exchange.write(Buffer.from('hello')), true);
  server.last.exchange.end();
  assert.equal(await server.answer(), 'HTTP/1.1 200 OK\r\nx-a: 1\r\ncontent-length: 5\r\n\r\nhello');
  assert.equal(server.channel.writes, 1);
  assert.equal(server.connection.openExchanges, 0);
});

test('without a length: chunks for 1.1, the end of the connection for 1.0', async () => {
  const server = new Server();
  server.channel.send(get);
  server.last.exchange.respond(ok(), false);
  server.last.exchange.write(Buffer.from('hello'));
  server.last.exchange.end(
    HeaderMap.of([
      ['grpc-status', '0'],
      ['content-length', '9'],
    ]),
  );
  assert.equal(
    await server.answer(),
    'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\ngrpc-status: 0\r\n\r\n',
  );
  server.channel.send('GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n');
  server.last.exchange.respond(ok(), false);
  server.last.exchange.write(Buffer.from('hello'));
  server.last.exchange.end();
  assert.equal(await server.answer(), 'HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhello');
  assert.equal(server.channel.ends, 1);
});

test('HTTP/1.0 with keep-alive is told so', async () => {
  const server = new Server();
  server.channel.send('GET /a HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n');
  server.last.exchange.respond(ok(), true);
  assert.equal(
    await server.answer(),
    'HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: keep-alive\r\n\r\n',
  );
});

test('HEAD, 204 and 304 have no body, whatever is written', async () => {
  const cases = [
    ['HEAD', ok(5), 'HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n'],
    ['HEAD', ok(), 'HTTP/1.1 200 OK\r\n\r\n'],
    ['GET', { status: 204, headers: none, contentLength: 5 }, 'HTTP/1.1 204 No Content\r\n\r\n'],
    [
      'GET',
      { status: 304, headers: none, contentLength: 5 },
      'HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n',
    ],
  ] as const;
  for (const [method, head, expected] of cases) {
    const server = new Server();
    server.channel.send(`${method} /a HTTP/1.1\r\nHost: h\r\n\r\n`);
    server.last.exchange.respond(head, false);
    server.last.exchange.write(Buffer.from('hello'));
    server.last.exchange.end();
    assert.equal(await server.answer(), expected);
    server.channel.send(get);
    assert.equal(server.receivers.length, 2, 'the connection serves on');
  }
});

test('the next request waits for the response, and its window is kept', async () => {
  const server = new Server();
  server.channel.send(get + get + get);
  assert.equal(server.receivers.length, 1);
  assert.equal(server.channel.credited, get.length);
  server.channel.send(get);
  server.last.exchange.respond(ok(), true);
  assert.equal(server.receivers.length, 1);
  await turn();
  assert.equal(server.receivers.length, 2);
  for (let n = 2; n <= 4; n++) {
    assert.equal(server.receivers.length, n);
    server.last.exchange.respond(ok(), true);
    await turn();
  }
  assert.equal(server.channel.credited, server.channel.sent);
});

test('a channel that is full stops the reading of requests', async () => {
  const server = new Server();
  server.channel.takes = false;
  server.channel.send(get);
  server.last.exchange.respond(ok(), true);
  await turn();
  server.channel.send(get);
  assert.equal(server.receivers.length, 1);
  server.channel.takes = true;
  server.channel.sink?.writable();
  await turn();
  assert.equal(server.receivers.length, 2);
});

test('write says when to wait', async () => {
  const server = new Server();
  server.channel.send(get);
  server.channel.takes = false;
  server.last.exchange.respond(ok(), false);
  assert.equal(server.last.exchange.write(Buffer.alloc(10_000)), false);
  server.channel.sink?.writable();
  assert.deepEqual(server.last.events, ['writable']);
});

test('100-continue is passed on, and an answer without it ends the connection', async () => {
  const server = new Server();
  server.channel.send(post('Content-Length: 3\r\nExpect: 100-continue\r\n'));
  assert.equal(server.last.exchange.request.expectsContinue, true);
  server.last.exchange.inform(100, none);
  assert.equal(await server.answer(), 'HTTP/1.1 100 Continue\r\n\r\n');
  server.channel.send('abc');
  assert.deepEqual(server.last.events, ['data abc', 'end']);
  server.last.exchange.respond(ok(), true);
  assert.equal(await server.answer(), 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
  server.channel.send(post('Content-Length: 3\r\nExpect: 100-continue\r\n'));
  server.last.exchange.respond({ status: 417, headers: none, contentLength: 0 }, true);
  assert.match(await server.answer(), /^HTTP\/1.1 417 .*connection: close\r\n\r\n$/s);
  assert.equal(server.channel.ends, 1);
});

test('a body that has come with its head is not waited for', () => {
  const server = new Server();
  server.channel.send(`${post('Content-Length: 3\r\nExpect: 100-continue\r\n')}abc`);
  assert.equal(server.last.exchange.request.expectsContinue, false);
});

test('an upgrade turns into bytes both ways', async () => {
  const server = new Server();
  server.channel.send(
    'GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly',
  );
  const { exchange, events } = server.last;
  assert.equal(exchange.requestEnded, false);
  exchange.respond(
    { status: 101, headers: HeaderMap.of([['sec-websocket-accept', 'x']]), contentLength: undefined },
    false,
  );
  exchange.write(Buffer.from('hi'));
  assert.equal(
    await server.answer(),
    'HTTP/1.1 101 Switching Protocols\r\nsec-websocket-accept: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nhi',
  );
  server.channel.send('GET / more');
  server.channel.sink?.ended();
  exchange.end();
  await turn();
  server.channel.sink?.closed();
  assert.deepEqual(events, ['data early', 'data GET / more', 'end']);
  assert.equal(server.channel.ends, 1);
  assert.equal(server.closed, 1);
  assert.equal(server.channel.credited, server.channel.sent);
});

test('an early answer: a small rest is read and thrown away, a large one ends the connection', async () => {
  const server = new Server();
  server.channel.send(`${post('Content-Length: 6\r\n')}abc`);
  server.last.exchange.respond(ok(), true);
  assert.equal(await server.answer(), 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
  server.channel.send(`def${get}`);
  assert.equal(server.receivers.length, 2);
  server.last.exchange.respond(ok(), true);
  server.channel.send(post('Content-Length: 1000000\r\n'));
  server.last.exchange.respond(ok(), true);
  assert.match(await server.answer(), /connection: close\r\n\r\n$/);
  server.channel.send(Buffer.alloc(200_000));
  assert.deepEqual(server.channel.resets, []);
  server.channel.send(Buffer.alloc(200_000));
  assert.deepEqual(server.channel.resets, [0], 'it does not listen for ever');
  assert.equal(server.channel.credited, server.channel.sent);
});

test('the rest of a request that is not wanted has a limit of time', async () => {
  const server = new Server({ headTimeoutMs: 1000 });
  server.channel.send(`${post('Content-Length: 6\r\n')}abc`);
  server.last.exchange.respond(ok(), true);
  await turn();
  server.clock.advance(999);
  await turn();
  assert.equal(server.channel.ends, 0);
  server.clock.advance(1);
  await turn();
  assert.equal(server.channel.ends, 1);

  const whole = new Server({ headTimeoutMs: 1000 });
  whole.channel.send(`${post('Content-Length: 6\r\n')}abc`);
  whole.last.exchange.respond(ok(), true);
  whole.channel.send('def');
  whole.clock.advance(5000);
  await turn();
  assert.equal(whole.channel.ends, 0, 'not once it has come');
});

test('chunks without end after an early answer end the connection', async () => {
  const server = new Server();
  server.channel.send(post('Transfer-Encoding: chunked\r\n'));
  server.last.exchange.respond(ok(), true);
  for (let i = 0; i < 10; i++) server.channel.send(`2710\r\n${'a'.repeat(10_000)}\r\n`);
  await turn();
  assert.equal(server.channel.ends, 1);
});
