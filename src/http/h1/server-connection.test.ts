import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '#/kit/index.ts';
import type {
  HttpLimits,
  MessageReceiver,
  ResponseHead,
  ServerConnection,
  ServerExchange,
} from '../exchange.ts';
import { HeaderMap } from '../header-map.ts';
import { ScriptedChannel, turn } from './scripted-channel.ts';
import { h1Server } from './server-connection.ts';

const none = new HeaderMap();
const ok = (contentLength?: number, headers: HeaderMap = none): ResponseHead => ({
  status: 200,
  headers,
  contentLength,
});

class Receiver implements MessageReceiver {
  readonly events: string[] = [];
  readonly exchange: ServerExchange;
  hold = false;
  constructor(exchange: ServerExchange) {
    this.exchange = exchange;
    exchange.receiver = this;
  }
  data(chunk: Buffer): void {
    this.events.push(`data ${chunk.toString('latin1')}`);
    if (!this.hold) this.exchange.consumed(chunk.length);
  }
  end(trailers?: HeaderMap): void {
    this.events.push(`end${trailers === undefined ? '' : ` ${JSON.stringify(trailers.flat)}`}`);
  }
  failed({ kind }: { kind: string }): void {
    this.events.push(`failed ${kind}`);
  }
  writable(): void {
    this.events.push('writable');
  }
}

class Server {
  readonly channel = new ScriptedChannel();
  readonly clock = new ManualClock();
  readonly receivers: Receiver[] = [];
  readonly refusals: string[] = [];
  readonly connection: ServerConnection;
  closed = 0;
  constructor(limits: Partial<HttpLimits> = {}) {
    this.connection = h1Server(
      this.channel,
      { scheme: 'http', limits, clock: this.clock },
      {
        request: (exchange) => this.receivers.push(new Receiver(exchange)),
        refused: ({ status, reason, line }) => this.refusals.push(`${status} ${reason} | ${line}`),
        closed: () => this.closed++,
      },
    );
  }
  get last(): Receiver {
    return this.receivers.at(-1) as Receiver;
  }
  async answer(): Promise<string> {
    await turn();
    return this.channel.take();
  }
}

const get = 'GET /a HTTP/1.1\r\nHost: h\r\n\r\n';
const post = (lines: string): string => `POST /a HTTP/1.1\r\nHost: h\r\n${lines}\r\n`;

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

test('chunks without end after an early answer end the connection', async () => {
  const server = new Server();
  server.channel.send(post('Transfer-Encoding: chunked\r\n'));
  server.last.exchange.respond(ok(), true);
  for (let i = 0; i < 10; i++) server.channel.send(`2710\r\n${'a'.repeat(10_000)}\r\n`);
  await turn();
  assert.equal(server.channel.ends, 1);
});

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
