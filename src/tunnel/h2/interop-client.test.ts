// Our HTTP/2 as a client of Node's (nghttp2), on loopback sockets.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http2 from 'node:http2';
import net from 'node:net';
import { test, type TestContext } from 'node:test';
import { patternAt, PatternCheck, pump } from './byte-pattern.ts';
import { H2Connection } from './connection.ts';
import { h2Error } from './frames.ts';
import type { HeaderList } from './hpack.ts';
import { connectRequest, RecordingSink } from './scripted-peer.ts';
import type { SessionFailure, SessionSettings } from './session-interface.ts';

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
  test(`${name} up and down`, async (t) => {
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

test('150 streams at once', async (t) => {
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

test('we end first, the answer follows', async (t) => {
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

test('they end first, we go on', async (t) => {
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

test('an answer that ends at once, and trailers', async (t) => {
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

test('resets, theirs and ours', async (t) => {
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

test('a small window of theirs, and one that becomes smaller than what is used', async (t) => {
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

test('they write no more than we have room for', async (t) => {
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

test('header blocks that need CONTINUATION, both ways', async (t) => {
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
  test(`header table of ${headerTableSize}`, async (t) => {
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

test('Huffman codes of every byte that a value may have', async (t) => {
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

test('GOAWAY lets open streams end', async (t) => {
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

test('a session that is destroyed fails its streams', async (t) => {
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

test('PING both ways', async (t) => {
  const { connection, sessions, events } = await theirServer(t, () => {});
  await until(() => sessions.length > 0);
  const { promise, resolve } = Promise.withResolvers<Error | null>();
  sessions[0]?.ping((error) => resolve(error));
  assert.equal(await promise, null);
  connection.checkAlive(2);
  await until(() => events.includes('alive'));
});
