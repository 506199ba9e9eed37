// Our HTTP/2 and Node's (nghttp2), both ways, on loopback sockets.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http2 from 'node:http2';
import net from 'node:net';
import { test, type TestContext } from 'node:test';
import type { ClientConnection } from '../exchange.ts';
import { HeaderMap } from '../header-map.ts';
import { streamChannel } from '../h1/scripted-channel.ts';
import {
  echo,
  RecordingClient,
  RecordingReceiver,
  RecordingServer,
  requestHead,
  until,
} from './channel-pair.ts';
import { h2Client } from './client.ts';
import { h2Server } from './server.ts';

async function listening(t: TestContext, server: net.Server | http2.Http2Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  return (server.address() as net.AddressInfo).port;
}

async function theirClient(
  t: TestContext,
  onRequest: NonNullable<RecordingServer['onRequest']>,
): Promise<{ client: http2.ClientHttp2Session; serving: RecordingServer; drain: () => void }> {
  const serving = new RecordingServer();
  serving.onRequest = onRequest;
  let drain = (): void => {};
  const server = net.createServer((socket) => {
    t.after(() => socket.destroy());
    const connection = h2Server(streamChannel(socket), {}, serving);
    drain = () => connection.drain();
  });
  const client = http2.connect(`http://127.0.0.1:${await listening(t, server)}`);
  client.on('error', () => {});
  t.after(() => client.destroy());
  await once(client, 'remoteSettings');
  return { client, serving, drain: () => drain() };
}

async function theirServer(
  t: TestContext,
  onStream: (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => void,
  settings: http2.Settings = {},
): Promise<{ client: ClientConnection; asking: RecordingClient; sessions: http2.Http2Session[] }> {
  const server = http2.createServer({ settings });
  const sessions: http2.Http2Session[] = [];
  server.on('session', (session) => sessions.push(session));
  server.on('stream', (stream: http2.ServerHttp2Stream, headers) => {
    stream.on('error', () => {});
    onStream(stream, headers);
  });
  const socket = net.connect(await listening(t, server), '127.0.0.1');
  await once(socket, 'connect');
  t.after(() => {
    socket.destroy();
    for (const session of sessions) session.destroy();
  });
  const asking = new RecordingClient();
  const client = h2Client(streamChannel(socket), {}, asking);
  await until(() => client.capacity > 0);
  return { client, asking, sessions };
}

interface Answer {
  readonly headers: http2.IncomingHttpHeaders;
  readonly body: Buffer;
  readonly trailers: http2.IncomingHttpHeaders | undefined;
}

async function answer(stream: http2.ClientHttp2Stream): Promise<Answer> {
  let trailers: http2.IncomingHttpHeaders | undefined;
  stream.on('trailers', (headers: http2.IncomingHttpHeaders) => (trailers = headers));
  const [headers] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders];
  return { headers, body: Buffer.concat(await stream.toArray()), trailers };
}

function pattern(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let i = 0; i < length; i++) bytes[i] = (i * 7 + (i >> 8)) & 0xff;
  return bytes;
}

test('their client: a body up and down, with trailers', async (t) => {
  const { client, serving } = await theirClient(t, echo);
  const body = pattern(8 * 1024 * 1024);
  const stream = client.request(
    { ':method': 'POST', ':path': '/a/%7eb?q=%20', cookie: ['a=1', 'b=2'], te: 'trailers' },
    { waitForTrailers: true },
  );
  stream.on('wantTrailers', () => stream.sendTrailers({ 'x-sum': '9' }));
  const answered = answer(stream);
  stream.end(body);
  const { headers, body: returned, trailers } = await answered;
  assert.equal(headers[':status'], 200);
  assert.equal(headers['x-path'], '/a/~b');
  assert.ok(returned.equals(body));
  assert.equal(trailers?.['x-sum'], '9');
  const { request } = serving.exchanges[0] ?? {};
  assert.equal(request?.headers.get('cookie'), 'a=1; b=2');
  assert.equal(request.query, 'q=%20');
});

test('their client: many requests at once', async (t) => {
  const { client } = await theirClient(t, echo);
  const all = Array.from({ length: 90 }, async (_, i) => {
    const stream = client.request({ ':method': 'POST', ':path': `/${i}` });
    const answered = answer(stream);
    stream.end(pattern(i * 1000));
    const { headers, body } = await answered;
    assert.equal(headers['x-path'], `/${i}`);
    assert.ok(body.equals(pattern(i * 1000)));
  });
  await Promise.all(all);
});

test('their client: informational answers, HEAD, early answers and refusals', async (t) => {
  const { client, serving } = await theirClient(t, (exchange) => {
    const { method, path } = exchange.request;
    if (path === '/continue') exchange.inform(100, new HeaderMap());
    exchange.respond(
      { status: path === '/early' ? 413 : 200, headers: new HeaderMap(), contentLength: 4 },
      false,
    );
    if (method !== 'HEAD') exchange.write(Buffer.from('done'));
    exchange.end();
  });
  const head = await answer(client.request({ ':method': 'HEAD', ':path': '/' }));
  assert.equal(head.headers['content-length'], '4');
  const waiting = client.request({ ':method': 'POST', ':path': '/continue', expect: '100-continue' });
  const continued = once(waiting, 'continue');
  const answered = answer(waiting);
  await continued;
  waiting.end('body');
  assert.equal((await answered).body.toString(), 'done');
  assert.equal(serving.exchanges[1]?.request.expectsContinue, true);
  const early = client.request({ ':method': 'POST', ':path': '/early' });
  early.on('error', () => {});
  assert.deepEqual((await answer(early)).body.toString(), 'done');
  const bad = client.request({ ':method': 'GET', ':path': '/%zz' });
  assert.equal((await answer(bad)).headers[':status'], 400);
  const large = client.request({
    ':path': '/',
    ...Object.fromEntries(Array.from({ length: 150 }, (_, i) => [`x-${i}`, 'y'])),
  });
  assert.equal((await answer(large)).headers[':status'], 431);
});

test('their client: WebSocket by extended CONNECT', async (t) => {
  const { client, serving } = await theirClient(t, (exchange, receiver) => {
    exchange.respond({ status: 101, headers: new HeaderMap(), contentLength: undefined }, false);
    receiver.onData = (chunk) => exchange.write(chunk);
    receiver.onEnd = () => exchange.end();
  });
  assert.equal(client.remoteSettings.enableConnectProtocol, true);
  const stream = client.request(
    { ':method': 'CONNECT', ':protocol': 'websocket', ':path': '/chat' },
    { endStream: false },
  );
  const answered = answer(stream);
  stream.write('frame ');
  stream.end('close');
  const { headers, body } = await answered;
  assert.equal(headers[':status'], 200);
  assert.equal(body.toString(), 'frame close');
  assert.equal(serving.exchanges[0]?.request.upgrade, 'websocket');
});

test('their client: a drain lets open requests end', async (t) => {
  const { client, serving, drain } = await theirClient(t, () => {});
  const stream = client.request({ ':path': '/slow' });
  const answered = answer(stream);
  await until(() => serving.exchanges.length === 1);
  const closed = once(client, 'close');
  drain();
  await once(client, 'goaway');
  serving.exchanges[0]?.respond({ status: 200, headers: new HeaderMap(), contentLength: undefined }, false);
  serving.exchanges[0]?.end();
  assert.equal((await answered).headers[':status'], 200);
  await closed;
});

test('their server: a body up and down, with trailers', async (t) => {
  const { client } = await theirServer(t, (stream, headers) => {
    stream.additionalHeaders({ ':status': 103, link: '</a>' });
    stream.respond({ ':status': 200, 'x-path': headers[':path'] ?? '' }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'x-sum': '3' }));
    stream.pipe(stream);
  });
  const receiver = new RecordingReceiver();
  const exchange = client.request(
    requestHead({ method: 'POST', path: '/up', query: '', contentLength: undefined }),
    false,
    receiver,
  );
  receiver.consume = (bytes) => exchange.consumed(bytes);
  const body = pattern(4 * 1024 * 1024);
  let at = 0;
  const pump = (): void => {
    while (at < body.length) {
      const chunk = body.subarray(at, at + 50_000);
      at += chunk.length;
      if (!exchange.write(chunk)) return;
    }
    exchange.end();
  };
  receiver.onWritable = pump;
  pump();
  await until(() => receiver.over);
  assert.deepEqual(receiver.events, ['inform 103 link=</a>', 'head 200', 'end x-sum 3']);
  assert.equal(receiver.heads[0]?.headers.get('x-path'), '/up?');
  assert.ok(Buffer.concat(receiver.chunks).equals(body));
});

test('their server: refusals, resets, limits and WebSocket', async (t) => {
  const { client } = await theirServer(
    t,
    (stream, headers) => {
      if (headers[':path'] === '/refuse') stream.close(http2.constants.NGHTTP2_REFUSED_STREAM);
      else if (headers[':path'] === '/reset') stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR);
      else {
        stream.respond({ ':status': 200 });
        stream.pipe(stream);
      }
    },
    { maxConcurrentStreams: 7, enableConnectProtocol: true },
  );
  assert.equal(client.capacity, 7);
  const ask = (fields: Parameters<typeof requestHead>[0], ended = true): RecordingReceiver => {
    const receiver = new RecordingReceiver();
    const exchange = client.request(requestHead(fields), ended, receiver);
    receiver.consume = (bytes) => exchange.consumed(bytes);
    if (!ended) {
      exchange.write(Buffer.from('frame'));
      exchange.end();
    }
    return receiver;
  };
  const [refused, reset] = [ask({ path: '/refuse' }), ask({ path: '/reset' })];
  const socket = ask({ path: '/chat', upgrade: 'websocket', contentLength: undefined }, false);
  await until(() => refused.over && reset.over && socket.over);
  assert.equal(refused.failure?.kind, 'refused');
  assert.equal(reset.failure?.kind, 'reset');
  assert.deepEqual(socket.events, ['head 101', 'end']);
  assert.equal(socket.text, 'frame');
});

test('their server goes away: no capacity, and the connection closes in order', async (t) => {
  const { client, asking, sessions } = await theirServer(t, (stream) => {
    stream.respond({ ':status': 204 }, { endStream: true });
  });
  const receiver = new RecordingReceiver();
  client.request(requestHead(), true, receiver);
  await until(() => receiver.over);
  assert.deepEqual(receiver.events, ['head 204 ended']);
  sessions[0]?.close();
  await until(() => asking.closings.length === 1);
  assert.deepEqual(asking.closings, [undefined]);
  assert.equal(client.capacity, 0);
});
