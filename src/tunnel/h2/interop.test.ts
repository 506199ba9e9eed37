// Our HTTP/2 against Node's (nghttp2), both ways, on loopback sockets.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http2 from 'node:http2';
import net from 'node:net';
import { test, type TestContext } from 'node:test';
import { HeldRequest, hboneServer } from '../hbone.ts';
import { patternAt, PatternCheck, pump } from './byte-pattern.ts';
import { H2Connection } from './connection.ts';
import { h2Error } from './frames.ts';
import type { HeaderList } from './hpack.ts';
import { connectRequest, RecordingSink } from './scripted-peer.ts';
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

// ---- our client, their server ----

interface TheirServer {
  readonly connection: H2Connection;
  readonly sessions: http2.ServerHttp2Session[];
  readonly failure: Promise<SessionFailure | undefined>;
  readonly events: string[];
}

async function theirServer(
  t: TestContext,
  onStream: (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => void,
  options: http2.ServerOptions = {},
): Promise<TheirServer> {
  const server = http2.createServer({ maxHeaderListPairs: 2000, ...options });
  const sessions: http2.ServerHttp2Session[] = [];
  server.on('session', (session) => {
    sessions.push(session);
    session.on('error', () => {});
  });
  server.on('stream', (stream: http2.ServerHttp2Stream, headers) => {
    stream.on('error', () => {});
    onStream(stream, headers);
  });
  const socket = net.connect(await listening(t, server), '127.0.0.1');
  await once(socket, 'connect');
  const { promise, resolve } = Promise.withResolvers<SessionFailure | undefined>();
  const events: string[] = [];
  const connection = new H2Connection(
    socket,
    { role: 'client', settings, sendBuffer: 256 * 1024 },
    { closed: resolve, goingAway: () => events.push('going away'), alive: () => events.push('alive') },
  );
  t.after(() => {
    connection.destroy('the test is over');
    for (const session of sessions) session.destroy();
  });
  return { connection, sessions, failure: promise, events };
}

function ask(connection: H2Connection, extra: HeaderList = [], hold = false): RecordingSink {
  return new RecordingSink(connection.session.request([...connectRequest, ...extra]), hold);
}

const over = (sink: RecordingSink): Promise<void> =>
  until(() => sink.events.some((e) => e.startsWith('closed')));

for (const [name, size] of [
  ['1 B', 1],
  ['1 MiB', 1024 * 1024],
  ['96 MiB', 96 * 1024 * 1024],
] as const) {
  test(`our client, their server: ${name} up and down`, async (t) => {
    const { connection } = await theirServer(t, (stream) => {
      stream.respond({ ':status': 200 });
      stream.pipe(stream);
    });
    const sink = ask(connection);
    const pattern = new PatternCheck();
    sink.data = (chunk) => {
      pattern.take(chunk);
      sink.stream.consumed(chunk.length);
    };
    pump(sink.stream, sink, size);
    await over(sink);
    assert.equal(pattern.at, size);
    assert.equal(sink.failure, undefined);
    assert.equal(connection.session.streams.size, 0);
  });
}

test('our client, their server: 150 streams at once', async (t) => {
  const { connection } = await theirServer(t, (stream) => {
    stream.respond({ ':status': 200 });
    stream.pipe(stream);
  });
  await until(() => connection.session.peerMaxConcurrent > 150);
  const sinks = Array.from({ length: 150 }, () => ask(connection));
  const patterns = sinks.map((sink) => {
    const pattern = new PatternCheck();
    sink.data = (chunk) => {
      pattern.take(chunk);
      sink.stream.consumed(chunk.length);
    };
    pump(sink.stream, sink, 50_000, 700);
    return pattern;
  });
  await Promise.all(sinks.map(over));
  assert.ok(patterns.every((pattern) => pattern.at === 50_000));
});

test('our client, their server: we end first, the answer follows', async (t) => {
  const { connection } = await theirServer(t, (stream) => {
    stream.respond({ ':status': 200 });
    stream.resume();
    stream.on('end', () => stream.end('late'));
  });
  const sink = ask(connection);
  sink.stream.end();
  await over(sink);
  assert.deepEqual(sink.events, [
    'headers :status=200 ' + (sink.events[0] ?? '').slice(20),
    'ended',
    'closed',
  ]);
  assert.equal(sink.text, 'late');
});

test('our client, their server: they end first, we go on', async (t) => {
  let got = '';
  const { connection } = await theirServer(t, (stream) => {
    stream.respond({ ':status': 200 });
    stream.end('early');
    stream.setEncoding('latin1').on('data', (text: string) => (got += text));
  });
  const sink = ask(connection);
  await until(() => sink.events.includes('ended'));
  sink.stream.write(Buffer.from('still here'));
  await until(() => got !== '');
  sink.stream.end();
  await over(sink);
  assert.equal(got, 'still here');
  assert.equal(sink.failure, undefined);
});

test('our client, their server: an answer that ends at once, and trailers', async (t) => {
  const { connection } = await theirServer(t, (stream, headers) => {
    if (headers['x-trailers'] === undefined) {
      stream.respond({ ':status': 200 }, { endStream: true });
      return;
    }
    stream.respond({ ':status': 200 }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'x-sum': '1' }));
    stream.end('body');
  });
  for (const extra of [[], [['x-trailers', 'yes']]] satisfies HeaderList[]) {
    const sink = ask(connection, extra);
    await until(() => sink.events.includes('ended'));
    sink.stream.end();
    await over(sink);
    assert.equal(sink.failure, undefined);
  }
});

test('our client, their server: resets, theirs and ours', async (t) => {
  const codes: number[] = [];
  const { connection } = await theirServer(t, (stream, headers) => {
    stream.respond({ ':status': 200 });
    stream.on('close', () => codes.push(stream.rstCode));
    if (headers['x-reset'] !== undefined) stream.close(Number(headers['x-reset']));
  });
  const cancelled = ask(connection, [['x-reset', String(h2Error.cancel)]]);
  await over(cancelled);
  assert.deepEqual([cancelled.failure?.kind, cancelled.failure?.code], ['reset', h2Error.cancel]);
  const refused = ask(connection, [['x-reset', String(h2Error.internalError)]]);
  await over(refused);
  assert.equal(refused.failure?.code, h2Error.internalError);
  const ours = ask(connection);
  await until(() => ours.events.length > 0);
  ours.stream.reset(h2Error.cancel);
  await until(() => codes.length === 3);
  assert.equal(codes[2], h2Error.cancel);
  assert.equal(connection.session.closed, false);
});

test('our client, their server: a small window of theirs, and one that becomes smaller than what is used', async (t) => {
  let stream: http2.ServerHttp2Stream | undefined;
  const { connection, sessions } = await theirServer(
    t,
    (opened) => {
      stream = opened;
      opened.respond({ ':status': 200 });
    },
    { settings: { initialWindowSize: 1000 } },
  );
  await until(() => sessions.length > 0);
  await quiet();
  const sink = ask(connection);
  const total = 300_000;
  pump(sink.stream, sink, total);
  await until(() => stream !== undefined);
  await quiet();
  assert.equal(sink.stream.sendWindow, 0);
  sessions[0]?.settings({ initialWindowSize: 10 });
  await until(() => sink.stream.sendWindow < 0);
  assert.equal(sink.stream.sendWindow, -990);
  sessions[0]?.settings({ initialWindowSize: 5000 });
  const pattern = new PatternCheck();
  stream?.on('data', (chunk: Buffer) => pattern.take(chunk));
  await until(() => pattern.at === total);
});

test('our client, their server: they write no more than we have room for', async (t) => {
  const total = 1_000_000;
  const { connection } = await theirServer(t, (stream) => {
    stream.respond({ ':status': 200 });
    for (let at = 0; at < total; at += 50_000) stream.write(patternAt(at, 50_000));
    stream.end();
  });
  const sink = ask(connection, [], true);
  await until(() => sink.bytes === settings.streamWindow);
  await quiet();
  assert.equal(sink.bytes, settings.streamWindow);
  sink.hold = false;
  sink.stream.consumed(sink.bytes);
  sink.stream.end();
  await over(sink);
  assert.equal(sink.bytes, total);
});

test('our client, their server: header blocks that need CONTINUATION, both ways', async (t) => {
  const long = Array.from({ length: 30 }, (_, i): [string, string] => [
    `x-long-${i}`,
    `${i}${'<>{}|~^'.repeat(170)}`,
  ]);
  const { connection } = await theirServer(
    t,
    (stream, headers) => {
      stream.respond({ ':status': 200, ...Object.fromEntries(long.map(([name]) => [name, headers[name]])) });
      stream.end();
    },
    { settings: { maxHeaderListSize: 256 * 1024 } },
  );
  // Twice, so that the second time comes from the table.
  for (let i = 0; i < 2; i++) {
    const sink = ask(connection, long);
    await until(() => sink.events.includes('ended'));
    for (const [name, value] of long) assert.ok(sink.events[0]?.includes(`${name}=${value}`), name);
    sink.stream.end();
    await over(sink);
  }
});

for (const headerTableSize of [0, 100, 4096, 65536]) {
  test(`our client, their server: header table of ${headerTableSize}`, async (t) => {
    const { connection, sessions } = await theirServer(
      t,
      (stream, headers) => {
        stream.respond({ ':status': 200, 'x-echo': headers['baggage'], 'x-again': 'the same every time' });
        stream.end();
      },
      { settings: { headerTableSize } },
    );
    for (let i = 0; i < 40; i++) {
      const value = `k8s.namespace.name=n${i % 7},service.name=${'s'.repeat(i)}`;
      const sink = ask(connection, [
        ['baggage', value],
        ['x-constant', 'c'],
      ]);
      sink.stream.end();
      await over(sink);
      assert.ok(sink.events[0]?.includes(`x-echo=${value}`));
      if (i === 20) sessions[0]?.settings({ headerTableSize: headerTableSize >> 1 });
      if (i === 30) sessions[0]?.settings({ headerTableSize: 4096 });
    }
    assert.equal(connection.session.closed, false);
  });
}

test('our client, their server: Huffman codes of every byte that a value may have', async (t) => {
  const bytes = Array.from({ length: 256 }, (_, i) => i).filter((i) => i > 0x20 && i !== 0x7f);
  const text = String.fromCharCode(...bytes);
  // One at a time as well, between letters, since nghttp2 uses Huffman only where it makes a value shorter.
  const values = [text, ...bytes.map((byte) => `aaaaaaaaaaaaaaaaaaaaaaaa${String.fromCharCode(byte)}`)];
  const { connection } = await theirServer(t, (stream) => {
    stream.respond({ ':status': 200, 'x-values': values });
    stream.end();
  });
  const seen: string[] = [];
  const sink = ask(connection);
  sink.headers = (headers) =>
    seen.push(...headers.filter(([name]) => name === 'x-values').map(([, value]) => value));
  sink.stream.end();
  await over(sink);
  assert.deepEqual(seen.join(', '), values.join(', '));
});

test('our client, their server: GOAWAY lets open streams end', async (t) => {
  const streams: http2.ServerHttp2Stream[] = [];
  const { connection, sessions, failure, events } = await theirServer(t, (stream) => {
    streams.push(stream);
    stream.respond({ ':status': 200 });
  });
  const sink = ask(connection);
  await until(() => streams.length === 1);
  sessions[0]?.close();
  await until(() => events.length > 0);
  assert.equal(connection.session.freeStreams, 0);
  const late = ask(connection);
  await over(late);
  assert.equal(late.failure?.kind, 'refused');
  streams[0]?.end('bye');
  await until(() => sink.events.includes('ended'));
  sink.stream.end();
  assert.equal(await failure, undefined);
  assert.equal(sink.text, 'bye');
  assert.equal(sink.failure, undefined);
});

test('our client, their server: a session that is destroyed fails its streams', async (t) => {
  const { connection, sessions, failure } = await theirServer(t, (stream) =>
    stream.respond({ ':status': 200 }),
  );
  const sink = ask(connection);
  await until(() => sink.events.length > 0);
  sessions[0]?.destroy();
  await failure;
  assert.equal(sink.failure === undefined, false);
  assert.equal(connection.session.streams.size, 0);
});

test('our client, their server: PING both ways', async (t) => {
  const { connection, sessions, events } = await theirServer(t, () => {});
  await until(() => sessions.length > 0);
  const { promise, resolve } = Promise.withResolvers<Error | null>();
  sessions[0]?.ping((error) => resolve(error));
  assert.equal(await promise, null);
  connection.checkAlive(2);
  await until(() => events.includes('alive'));
});

// ---- their client, our server ----

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
  test(`their client, our server: ${name} up and down`, async (t) => {
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

test('their client, our server: what comes early is held and handed over', async (t) => {
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

test('their client, our server: refused, also with bytes under way', async (t) => {
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

test('their client, our server: resets, theirs and ours', async (t) => {
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

test('their client, our server: they write no more than we have room for', async (t) => {
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

test('their client, our server: three streams that nobody reads do not stop the fourth', async (t) => {
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

test('their client, our server: header blocks that need CONTINUATION', async (t) => {
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

test('their client, our server: headers over the limit cost their stream, not the connection', async (t) => {
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
  test(`their client, our server: header table of ${headerTableSize}`, async (t) => {
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

test('their client, our server: a request that is no CONNECT reaches the handler', async (t) => {
  const { client } = await theirClient(t, (stream, headers) => {
    const path = headers.find(([name]) => name === ':path')?.[1];
    new HeldRequest(stream, () => {}).refuse(path === '/x' ? 400 : 500);
  });
  const stream = client.request({ ':path': '/x' });
  assert.equal((await response(stream))[':status'], 400);
});

test('their client, our server: drain lets open streams end, then closes', async (t) => {
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

test('their client, our server: settings of HBONE', async (t) => {
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
