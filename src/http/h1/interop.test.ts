// Against node:http as another reading of the RFCs, over streams in memory.
import assert from 'node:assert/strict';
import http from 'node:http';
import { duplexPair } from 'node:stream';
import { test } from 'node:test';
import { TunnelPair, until } from '../../tunnel/tunnel-pair.ts';
import { connectRequest } from '../../tunnel/h2/scripted-peer.ts';
import type { ClientConnection, RequestHead, ResponseHead, ServerExchange } from '../exchange.ts';
import { HeaderMap } from '../header-map.ts';
import { h1Client } from './client-connection.ts';
import { streamChannel, turn } from './scripted-channel.ts';
import { h1Server } from './server-connection.ts';
import { smugglingCorpus } from './smuggling-corpus.ts';

const sizes = [0, 1, 100, 20_000, 300_000];

/** Our server: sends the body back, with or without telling its length. */
function echo(exchange: ServerExchange): void {
  const { request } = exchange;
  const known = request.query === 'known';
  const pieces: Buffer[] = [];
  const reply = (trailers?: HeaderMap): void => {
    const body = Buffer.concat(pieces);
    const headers = HeaderMap.of([
      ['x-path', request.path],
      ['x-custom', request.headers.get('x-custom') ?? ''],
    ]);
    exchange.respond({ status: 200, headers, contentLength: known ? body.length : undefined }, false);
    let at = 0;
    const pump = (): void => {
      while (at < body.length) {
        const more = exchange.write(body.subarray(at, at + 7000));
        at += 7000;
        if (!more) return;
      }
      exchange.end(trailers);
    };
    if (exchange.receiver !== undefined) exchange.receiver.writable = pump;
    pump();
  };
  exchange.receiver = {
    data: (chunk) => {
      pieces.push(Buffer.from(chunk));
      exchange.consumed(chunk.length);
    },
    end: reply,
    failed: ({ message }) => assert.fail(message),
    writable: () => {},
  };
  if (exchange.requestEnded) reply();
}

function ask(
  agent: http.Agent,
  path: string,
  body: Buffer,
  chunked: boolean,
): Promise<{ status: number; body: Buffer; headers: http.IncomingHttpHeaders; reused: boolean }> {
  return new Promise((resolve, reject) => {
    const request = http.request(
      {
        agent,
        path,
        method: 'POST',
        host: 'h',
        headers: { 'x-custom': 'a, b', ...(chunked ? {} : { 'content-length': body.length }) },
      },
      (response) => {
        const pieces: Buffer[] = [];
        response.on('data', (chunk: Buffer) => pieces.push(chunk));
        response.on('end', () =>
          resolve({
            status: response.statusCode ?? 0,
            body: Buffer.concat(pieces),
            headers: response.headers,
            reused: request.reusedSocket,
          }),
        );
        response.on('error', reject);
      },
    );
    request.on('error', reject);
    if (chunked) for (let at = 0; at < body.length; at += 5000) request.write(body.subarray(at, at + 5000));
    request.end(chunked ? undefined : body);
  });
}

test('clients of node:http and our server', async () => {
  let opened = 0;
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  agent.createConnection = () => {
    opened++;
    const [near, far] = duplexPair();
    h1Server(
      streamChannel(far),
      { scheme: 'http' },
      { request: echo, refused: ({ reason }) => assert.fail(reason), closed: () => {} },
    );
    // The agent speaks to sockets.
    return Object.assign(near, {
      setKeepAlive: () => near,
      setTimeout: () => near,
      setNoDelay: () => near,
      ref: () => near,
      unref: () => near,
    });
  };
  for (const size of sizes)
    for (const chunked of [false, true])
      for (const known of [false, true]) {
        const body = Buffer.alloc(size, 'abcdefg');
        const answer = await ask(agent, `/x/../a%2f?${known ? 'known' : ''}`, body, chunked);
        assert.equal(answer.status, 200);
        assert.equal(answer.headers['x-path'], '/a%2F');
        assert.equal(answer.headers['x-custom'], 'a, b');
        assert.equal(answer.headers['content-length'], known ? String(size) : undefined);
        assert.ok(answer.body.equals(body));
      }
  assert.equal(opened, 1, 'one connection for all');
  agent.destroy();
});

const head = (over: Partial<RequestHead>): RequestHead => ({
  version: '1.1',
  method: 'POST',
  scheme: 'http',
  authority: 'h',
  path: '/a',
  query: 'b',
  headers: HeaderMap.of([['x-custom', 'a, b']]),
  upgrade: undefined,
  contentLength: undefined,
  expectsContinue: false,
  ...over,
});

function send(
  connection: ClientConnection,
  request: RequestHead,
  body: Buffer,
): Promise<{ head: ResponseHead; body: Buffer; trailers: HeaderMap | undefined }> {
  return new Promise((resolve, reject) => {
    const pieces: Buffer[] = [];
    let answered: ResponseHead | undefined;
    let at = 0;
    const done = (trailers?: HeaderMap): void =>
      resolve({ head: answered as ResponseHead, body: Buffer.concat(pieces), trailers });
    const exchange = connection.request(request, body.length === 0, {
      inform: () => {},
      head: (response, ended) => {
        answered = response;
        if (ended) done();
      },
      data: (chunk) => {
        pieces.push(Buffer.from(chunk));
        exchange.consumed(chunk.length);
      },
      end: done,
      failed: ({ message }) => reject(new Error(message)),
      writable: () => pump(),
    });
    const pump = (): void => {
      while (at < body.length) {
        const more = exchange.write(body.subarray(at, at + 7000));
        at += 7000;
        if (!more) return;
      }
      exchange.end();
    };
    if (body.length > 0) pump();
  });
}

test('our client and a server of node:http', async () => {
  const server = http.createServer((request, response) => {
    const pieces: Buffer[] = [];
    request.on('data', (chunk: Buffer) => pieces.push(chunk));
    request.on('end', () => {
      const body = Buffer.concat(pieces);
      response.setHeader('x-url', request.url ?? '');
      response.setHeader('x-custom', request.headers['x-custom'] ?? '');
      response.setHeader('x-length', request.headers['content-length'] ?? '');
      if (body.length % 2 === 0) response.setHeader('content-length', body.length);
      else response.setHeader('trailer', 'x-sum');
      for (let at = 0; at < body.length; at += 9000) response.write(body.subarray(at, at + 9000));
      if (body.length % 2 === 1) response.addTrailers({ 'x-sum': '1' });
      response.end();
    });
  });
  const [near, far] = duplexPair();
  server.emit('connection', far);
  const connection = h1Client(streamChannel(near), {}, { available: () => {}, closed: () => {} });
  for (const size of [...sizes, 3, 33_333])
    for (const known of [false, true]) {
      const body = Buffer.alloc(size, 'abcdefg');
      const answer = await send(connection, head(known ? { contentLength: size } : {}), body);
      assert.equal(answer.head.status, 200);
      assert.equal(answer.head.headers.get('x-url'), '/a?b');
      assert.equal(answer.head.headers.get('x-custom'), 'a, b');
      assert.equal(answer.head.headers.get('x-length'), known || size === 0 ? String(size) : '');
      assert.equal(answer.trailers?.get('x-sum'), size % 2 === 1 ? '1' : undefined);
      assert.ok(answer.body.equals(body));
      while (connection.capacity === 0) await turn();
    }
  connection.destroy();
});

test('our client and our server, through a tunnel', async () => {
  using pair = new TunnelPair((stream) => {
    stream.respond([[':status', '200']]);
    h1Server(
      stream,
      { scheme: 'http' },
      { request: echo, refused: ({ reason }) => assert.fail(reason), closed: () => {} },
    );
  });
  const stream = pair.client.session.request(connectRequest);
  let closed = 0;
  const connection = h1Client(stream, {}, { available: () => {}, closed: () => closed++ });
  for (const size of sizes)
    for (const query of ['known', undefined]) {
      const body = Buffer.alloc(size, 'abcdefg');
      const answer = await send(connection, head({ query }), body);
      assert.equal(answer.head.contentLength, query === undefined ? undefined : size);
      assert.ok(answer.body.equals(body));
    }
  connection.drain();
  await until(() => closed === 1 && pair.client.session.streams.size === 0);
});

test('what our server takes of the corpus, node:http understands in the same way', async () => {
  for (const { name, bytes, expect } of smugglingCorpus) {
    // Node refuses what comes after a last request; we throw it away.
    if (expect.some((line) => /^\d/.test(line)) || /upgrade|ends with one request/.test(name)) continue;
    const seen: string[] = [];
    const [near, far] = duplexPair();
    const server = http.createServer((request, response) => {
      let body = '';
      request.setEncoding('latin1').on('data', (text: string) => (body += text));
      request.on('end', () => {
        seen.push(`${request.method}${body === '' ? '' : ` ${body}`}`);
        response.end();
      });
    });
    let closed = false;
    far.on('close', () => (closed = true));
    server.emit('connection', far);
    near.resume();
    near.end(Buffer.from(bytes, 'latin1'));
    const expected = expect.map(
      (line) => `${line.split(' ', 1)[0]}${/ body=(\S+)/.exec(line)?.[1]?.replace(/^/, ' ') ?? ''}`,
    );
    const deadline = Date.now() + 10_000;
    while (seen.length < expected.length && !closed && Date.now() < deadline) await turn();
    assert.deepEqual(seen, expected, name);
    near.destroy();
  }
});
