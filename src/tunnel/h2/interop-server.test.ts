// Our HTTP/2 as a server of Node's (nghttp2), on loopback sockets.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http2 from 'node:http2';
import net from 'node:net';
import { test, type TestContext } from 'node:test';
import { HeldRequest, hboneServer } from '../hbone.ts';
import { patternAt, PatternCheck } from './byte-pattern.ts';
import { H2Connection } from './connection.ts';
import { h2Error } from './frames.ts';
import type { HeaderList } from './hpack.ts';
import { RecordingSink } from './scripted-peer.ts';
import type { SessionFailure, SessionSettings } from './session-interface.ts';
import type { H2Stream } from './stream.ts';

const settings: SessionSettings = {
  streamWindow: 256 * 1024,
  connectionWindow: 1024 * 1024,
  maxFrameSize: 64 * 1024,
  maxHeaderListSize: 256 * 1024,
  maxConcurrentStreams: 200,
};

async function listening(t: TestContext, server: net.Server | http2.Http2Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  return (server.address() as net.AddressInfo).port;
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 10_000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`still not so: ${condition}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Lets what is under way on loopback arrive. */
async function quiet(): Promise<void> {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
}

interface TheirClient {
  readonly client: http2.ClientHttp2Session;
  readonly connections: H2Connection[];
  readonly failures: (SessionFailure | undefined)[];
}

async function theirClient(
  t: TestContext,
  onRequest: (stream: H2Stream, headers: HeaderList) => void,
  options: http2.ClientSessionOptions = {},
  own: SessionSettings = settings,
): Promise<TheirClient> {
  const connections: H2Connection[] = [];
  const failures: (SessionFailure | undefined)[] = [];
  const server = net.createServer((socket) => {
    connections.push(
      new H2Connection(
        socket,
        { role: 'server', settings: own, sendBuffer: 256 * 1024 },
        { request: onRequest, closed: (failure) => failures.push(failure) },
      ),
    );
  });
  const port = await listening(t, server);
  const client = http2.connect(`http://127.0.0.1:${port}`, options);
  client.on('error', () => {});
  t.after(() => {
    client.destroy();
    for (const connection of connections) connection.destroy('the test is over');
  });
  await once(client, 'remoteSettings');
  return { client, connections, failures };
}

const connectHeaders = { ':method': 'CONNECT', ':authority': '10.0.0.1:80' };

/** Opens a CONNECT of theirs. Errors are kept, not thrown. */
function request(
  client: http2.ClientHttp2Session,
  headers: http2.OutgoingHttpHeaders = {},
): http2.ClientHttp2Stream {
  const stream = client.request({ ...connectHeaders, ...headers }, { endStream: false });
  stream.on('error', () => {});
  return stream;
}

const response = async (stream: http2.ClientHttp2Stream): Promise<http2.IncomingHttpHeaders> =>
  ((await once(stream, 'response')) as [http2.IncomingHttpHeaders])[0];

const closed = (stream: http2.ClientHttp2Stream): Promise<void> =>
  new Promise((resolve) => {
    if (stream.closed && stream.destroyed) resolve();
    else stream.on('close', () => resolve());
  });

/** Sends back what comes, with the back-pressure of the way back. */
function echo(stream: H2Stream): void {
  new HeldRequest(stream, () => {}).open([], () => {
    let owed = 0;
    const pay = (): void => {
      const bytes = owed;
      owed = 0;
      stream.consumed(bytes);
    };
    stream.sink = {
      data(chunk) {
        owed += chunk.length;
        if (stream.write(Buffer.from(chunk))) pay();
      },
      ended: () => stream.end(),
      writable: pay,
      closed: pay,
    };
    return stream.sink;
  });
}

for (const [name, size] of [
  ['1 B', 1],
  ['1 MiB', 1024 * 1024],
  ['96 MiB', 96 * 1024 * 1024],
] as const) {
  test(`${name} up and down`, async (t) => {
    const { client, connections } = await theirClient(t, echo);
    const stream = request(client);
    const pattern = new PatternCheck();
    stream.on('data', (chunk: Buffer) => pattern.take(chunk));
    let sent = 0;
    const more = (): void => {
      while (sent < size) {
        const part = patternAt(sent, Math.min(65536, size - sent));
        sent += part.length;
        if (!stream.write(part)) return;
      }
      stream.end();
    };
    stream.on('drain', more);
    more();
    await closed(stream);
    assert.equal(pattern.at, size);
    assert.equal(stream.rstCode, 0);
    assert.equal(connections[0]?.session.streams.size, 0);
  });
}

test('what comes early is held and handed over', async (t) => {
  let held: HeldRequest | undefined;
  const { client } = await theirClient(t, (stream) => {
    held = new HeldRequest(stream, () => {});
  });
  const stream = request(client);
  stream.end('early bytes');
  await until(() => held?.stream.remoteEnded === true);
  let sink: RecordingSink | undefined;
  held?.open([['x-hello', 'there']], () => (sink = new RecordingSink((held as HeldRequest).stream)));
  assert.equal((await response(stream))['x-hello'], 'there');
  assert.equal(sink?.text, 'early bytes');
  assert.deepEqual(sink?.events, ['ended']);
  held?.stream.end();
  stream.resume();
  await closed(stream);
  assert.deepEqual(sink?.events, ['ended', 'closed']);
});

test('refused, also with bytes under way', async (t) => {
  const { client, connections } = await theirClient(t, (stream) =>
    new HeldRequest(stream, () => {}).refuse(401),
  );
  for (let i = 0; i < 20; i++) {
    const stream = request(client);
    stream.write(Buffer.alloc(100_000));
    stream.resume();
    assert.equal((await response(stream))[':status'], 401);
    if (!stream.closed) await closed(stream);
  }
  // More bytes than the connection's window were refused: none may be lost from it.
  assert.equal(connections[0]?.session.streams.size, 0);
  assert.equal(client.destroyed, false);
});

test('resets, theirs and ours', async (t) => {
  const sinks: RecordingSink[] = [];
  const { client, connections } = await theirClient(t, (stream) => {
    stream.respond([[':status', '200']]);
    sinks.push(new RecordingSink(stream));
  });
  const theirs = request(client);
  await response(theirs);
  theirs.close(h2Error.cancel);
  await until(() => sinks[0]?.failure !== undefined);
  assert.deepEqual(sinks[0]?.failure?.code, h2Error.cancel);
  const ours = request(client);
  await response(ours);
  sinks[1]?.stream.reset(h2Error.connectError);
  await closed(ours);
  assert.equal(ours.rstCode, h2Error.connectError);
  assert.equal(connections[0]?.session.closed, false);
});

test('they write no more than we have room for', async (t) => {
  const sinks: RecordingSink[] = [];
  const { client } = await theirClient(t, (stream) => {
    stream.respond([[':status', '200']]);
    sinks.push(new RecordingSink(stream, true));
  });
  const total = 1_000_000;
  const stream = request(client);
  for (let at = 0; at < total; at += 50_000) stream.write(patternAt(at, 50_000));
  stream.end();
  await until(() => sinks[0]?.bytes === settings.streamWindow);
  await quiet();
  const sink = sinks[0] as RecordingSink;
  assert.equal(sink.bytes, settings.streamWindow);
  sink.hold = false;
  sink.stream.consumed(sink.bytes);
  await until(() => sink.bytes === total);
});

test('three streams that nobody reads do not stop the fourth', async (t) => {
  const { client } = await theirClient(t, (stream, headers) => {
    if (headers.some(([name]) => name === 'x-stalled')) {
      stream.respond([[':status', '200']]);
      new RecordingSink(stream, true);
    } else echo(stream);
  });
  for (let i = 0; i < 3; i++) request(client, { 'x-stalled': 'yes' }).write(Buffer.alloc(2_000_000));
  for (let i = 0; i < 5; i++) {
    const stream = request(client);
    stream.end(Buffer.alloc(500_000));
    let bytes = 0;
    stream.on('data', (chunk: Buffer) => (bytes += chunk.length));
    await closed(stream);
    assert.equal(bytes, 500_000);
  }
});

test('header blocks that need CONTINUATION', async (t) => {
  const { client } = await theirClient(t, (stream, headers) => {
    stream.respond([[':status', '200'], ...headers.filter(([name]) => name.startsWith('x-'))], true);
    stream.reset(h2Error.noError);
  });
  const long = Object.fromEntries(
    Array.from({ length: 30 }, (_, i) => [`x-long-${i}`, `${i}${'<>{}|~^'.repeat(170)}`]),
  );
  for (let i = 0; i < 2; i++) {
    const headers = await response(request(client, long));
    for (const [name, value] of Object.entries(long)) assert.equal(headers[name], value);
  }
});

test('headers over the limit cost their stream, not the connection', async (t) => {
  const { client, connections } = await theirClient(
    t,
    echo,
    {},
    { ...settings, maxHeaderListSize: 16 * 1024 },
  );
  const large = request(client, { 'x-large': 'x'.repeat(30_000) });
  await closed(large);
  assert.equal(large.rstCode, h2Error.enhanceYourCalm);
  const next = request(client);
  next.end('fine');
  next.setEncoding('latin1');
  assert.equal((await next.toArray()).join(''), 'fine');
  assert.equal(connections[0]?.session.closed, false);
});

for (const headerTableSize of [0, 100, 4096, 65536]) {
  test(`header table of ${headerTableSize}`, async (t) => {
    const { client } = await theirClient(
      t,
      (stream, headers) => {
        const value = headers.find(([name]) => name === 'x-value')?.[1] ?? '';
        stream.respond(
          [
            [':status', '200'],
            ['x-echo', value],
            ['x-again', 'the same'],
          ],
          true,
        );
        stream.reset(h2Error.noError);
      },
      { settings: { headerTableSize } },
    );
    for (let i = 0; i < 40; i++) {
      const value = `n${i % 7}-${'s'.repeat(i)}`;
      assert.equal(
        (await response(request(client, { 'x-value': value, 'x-constant': 'c' })))['x-echo'],
        value,
      );
      if (i === 20) client.settings({ headerTableSize: headerTableSize >> 1 });
      if (i === 30) client.settings({ headerTableSize: 4096 });
    }
  });
}

test('a request that is no CONNECT reaches the handler', async (t) => {
  const { client } = await theirClient(t, (stream, headers) => {
    const path = headers.find(([name]) => name === ':path')?.[1];
    new HeldRequest(stream, () => {}).refuse(path === '/x' ? 400 : 500);
  });
  const stream = client.request({ ':path': '/x' });
  assert.equal((await response(stream))[':status'], 400);
});

test('drain lets open streams end, then closes', async (t) => {
  const { client, connections, failures } = await theirClient(t, echo);
  const stream = request(client);
  await response(stream);
  const goaway = once(client, 'goaway');
  connections[0]?.session.drain();
  assert.equal(((await goaway) as [number])[0], h2Error.noError);
  stream.end('last words');
  stream.setEncoding('latin1');
  assert.equal((await stream.toArray()).join(''), 'last words');
  await until(() => failures.length === 1);
  assert.equal(failures[0], undefined);
});

test('settings of HBONE', async (t) => {
  const server = net.createServer((socket) => {
    hboneServer(
      socket,
      { streamWindow: 4 << 20, connectionWindow: 16 << 20, maxFrameSize: 1 << 20 },
      { closed() {} },
    );
  });
  const client = http2.connect(`http://127.0.0.1:${await listening(t, server)}`);
  t.after(() => client.destroy());
  const [seen] = (await once(client, 'remoteSettings')) as [http2.Settings];
  assert.equal(seen.initialWindowSize, 4 << 20);
  assert.equal(seen.maxFrameSize, 1 << 20);
  assert.equal(seen.maxConcurrentStreams, 200);
  assert.equal(seen.maxHeaderListSize, 64 * 1024);
  await until(() => client.state.remoteWindowSize === 16 << 20);
});
