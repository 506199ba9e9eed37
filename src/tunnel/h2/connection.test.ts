// Connections over an in-memory transport, and over sockets where a socket's own behaviour matters.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { Duplex, duplexPair } from 'node:stream';
import tls from 'node:tls';
import { test, type TestContext } from 'node:test';
import { patternAt, PatternCheck, pump } from './byte-pattern.ts';
import { H2Connection, type ConnectionHandlers } from './connection.ts';
import { flag, h2Error, preface } from './frames.ts';
import { HpackEncoder } from './hpack.ts';
import { connectRequest, lay, parseFrames, RecordingSink, smallSettings } from './scripted-peer.ts';
import type { SessionFailure } from './session-interface.ts';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

async function until(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 5000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`still not so: ${condition}`);
    await turn();
  }
}

async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await turn();
}

interface End {
  readonly connection: H2Connection;
  readonly sinks: RecordingSink[];
  readonly closed: (SessionFailure | undefined)[];
}

function end(role: 'client' | 'server', transport: Duplex, sendBuffer = 50_000, hold = false): End {
  const sinks: RecordingSink[] = [];
  const closed: (SessionFailure | undefined)[] = [];
  const handlers: ConnectionHandlers = {
    request: (stream) => {
      sinks.push(new RecordingSink(stream, hold));
      stream.respond([[':status', '200']]);
    },
    closed: (failure) => closed.push(failure),
  };
  return {
    connection: new H2Connection(transport, { role, settings: smallSettings, sendBuffer }, handlers),
    sinks,
    closed,
  };
}

function pair(t: TestContext, hold = false): { client: End; server: End } {
  const [a, b] = duplexPair();
  const both = { client: end('client', a), server: end('server', b, 50_000, hold) };
  t.after(() => {
    both.client.connection.destroy('the test is over');
    both.server.connection.destroy('the test is over');
  });
  return both;
}

const ask = ({ connection }: End): RecordingSink =>
  new RecordingSink(connection.session.request(connectRequest));

test('client and server: bytes both ways, ends, and nothing is left', async (t) => {
  const { client, server } = pair(t);
  const asking = ask(client);
  await until(() => asking.events.length > 0);
  const asked = server.sinks[0] as RecordingSink;
  const up = new PatternCheck();
  const down = new PatternCheck();
  asked.data = (chunk) => {
    up.take(chunk);
    asked.stream.consumed(chunk.length);
  };
  asking.data = (chunk) => {
    down.take(chunk);
    asking.stream.consumed(chunk.length);
  };
  pump(asking.stream, asking, 3_000_000);
  pump(asked.stream, asked, 3_000_000, 777);
  await until(() => asking.events.includes('closed') && asked.events.includes('closed'));
  assert.deepEqual([up.at, down.at], [3_000_000, 3_000_000]);
  assert.equal(client.connection.session.streams.size + server.connection.session.streams.size, 0);
});

test('a transport that passes its chunks on as they are: bytes that are kept stay as they were', async (t) => {
  const { client, server } = pair(t, true);
  const asking = ask(client);
  const kept: Buffer[] = [];
  await until(() => server.sinks.length > 0);
  (server.sinks[0] as RecordingSink).data = (chunk) => kept.push(chunk);
  for (let i = 0; i < 50; i++) {
    asking.stream.write(patternAt(i * 100, 100));
    await turn();
  }
  await until(() => kept.reduce((sum, chunk) => sum + chunk.length, 0) === 5000);
  const check = new PatternCheck();
  for (const chunk of kept) check.take(chunk);
});

test('frames of one turn go out in one write', async (t) => {
  const writes: number[] = [];
  const transport = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      writes.push(chunk.length);
      done();
    },
  });
  t.after(() => transport.destroy());
  const client = end('client', transport);
  for (let i = 0; i < 10; i++) ask(client).stream.write(Buffer.from('x'));
  assert.equal(writes.length, 0);
  await turn();
  assert.equal(writes.length, 1);
});

/** A transport whose reader is us, by hand. */
class Valve extends Duplex {
  readonly written: Buffer[] = [];
  open = true;
  #waiting: (() => void) | undefined;
  reads = 0;

  constructor(highWaterMark = 1000) {
    super({ highWaterMark });
  }

  override _read(): void {
    this.reads++;
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.written.push(Buffer.from(chunk));
    if (this.open) done();
    else this.#waiting = done;
  }

  /** Everything that waits goes through. */
  async release(): Promise<void> {
    this.open = true;
    this.#waiting?.();
    this.#waiting = undefined;
    await turns(3);
  }
}

const answer = (id: number): Buffer =>
  lay.headers(id, Buffer.from(new HpackEncoder().encode([[':status', '200']])), flag.endHeaders);

test('a transport that is full stops the writers, and starts them when it has drained', async (t) => {
  const valve = new Valve();
  t.after(() => valve.destroy());
  const client = end('client', valve, 5000);
  valve.push(Buffer.concat([lay.settings([4, 10_000_000]), lay.credit(0, 10_000_000)]));
  await turns(2);
  const sink = ask(client);
  valve.push(answer(1));
  await turns(2);
  valve.open = false;
  let written = 0;
  while (sink.stream.write(Buffer.alloc(1000))) {
    written += 1000;
    await turn();
    assert.ok(written < 20_000, 'no end of it');
  }
  assert.ok(valve.writableLength + client.connection.session.output.size > 5000);
  const other = ask(client);
  assert.equal(other.stream.write(Buffer.from('x')), false);
  await turns(5);
  const before = valve.written.length;
  assert.equal(valve.written.length, before);
  await valve.release();
  assert.ok(sink.events.includes('writable'));
  assert.ok(other.events.includes('writable'));
  assert.equal(sink.stream.write(Buffer.alloc(1000)), true);
});

test('a transport whose own limit is above ours never says that it has drained: nobody waits for it', async (t) => {
  const valve = new Valve(1_000_000);
  t.after(() => valve.destroy());
  const client = end('client', valve, 5000);
  valve.push(Buffer.concat([lay.settings([4, 10_000_000]), lay.credit(0, 10_000_000)]));
  await turns(2);
  const sink = ask(client);
  valve.open = false;
  for (let i = 0; i < 50; i++) {
    sink.stream.write(Buffer.alloc(1000));
    await turn();
  }
  await valve.release();
  assert.equal(client.connection.session.congested, false);
  const bytes = Buffer.concat(valve.written);
  const data = parseFrames(bytes).filter((f) => f.type === 0);
  assert.equal(
    data.reduce((sum, f) => sum + f.payload.length, 0),
    50_000,
  );
});

test('a peer that makes us answer and does not read is not read from', async (t) => {
  const valve = new Valve();
  t.after(() => valve.destroy());
  const server = end('server', valve, 5000);
  valve.push(Buffer.concat([preface, lay.settings()]));
  await turns(2);
  valve.open = false;
  const pings = Buffer.concat(Array.from({ length: 50 }, () => lay.ping()));
  let accepted = 0;
  for (let i = 0; i < 1000 && !valve.isPaused(); i++) {
    valve.push(pings);
    accepted += pings.length;
    await turn();
  }
  assert.equal(valve.isPaused(), true);
  assert.ok(accepted < 30_000, `${accepted} bytes`);
  assert.ok(server.connection.session.output.size < 12_000);
  await valve.release();
  assert.equal(valve.isPaused(), false);
  assert.equal(server.connection.session.output.size, 0);
});

test('both ends congested at once: neither waits for the other', async (t) => {
  // Windows far larger than what the transports hold, bytes both ways on many streams.
  const [a, b] = duplexPair({ highWaterMark: 1000 });
  const client = end('client', a, 2000);
  const server = end('server', b, 2000);
  t.after(() => {
    client.connection.destroy('the test is over');
    server.connection.destroy('the test is over');
  });
  const asking = Array.from({ length: 8 }, () => ask(client));
  await until(() => server.sinks.length === 8);
  for (const sink of [...asking, ...server.sinks]) pump(sink.stream, sink, 400_000);
  await until(() => [...asking, ...server.sinks].every((sink) => sink.events.includes('closed')));
  for (const sink of [...asking, ...server.sinks]) assert.equal(sink.bytes, 400_000);
});

test('PING: answered, the peer stays; unanswered twice, it is gone', async (t) => {
  const { client, server } = pair(t);
  await turns(5);
  for (let i = 0; i < 5; i++) {
    client.connection.checkAlive(2);
    server.connection.checkAlive(2);
    await turns(5);
  }
  assert.deepEqual(client.closed, []);
  const silent = new Valve();
  const lonely = end('client', silent);
  const sink = ask(lonely);
  lonely.connection.checkAlive(2);
  lonely.connection.checkAlive(2);
  await turns(3);
  assert.deepEqual(lonely.closed, []);
  lonely.connection.checkAlive(2);
  assert.equal((lonely.closed as { message?: string }[])[0]?.message, 'the peer does not answer');
  assert.equal(silent.destroyed, true);
  assert.deepEqual(sink.events, ['closed session 2']);
  lonely.connection.checkAlive(2);
  await turns(3);
  assert.equal(lonely.closed.length, 1);
});

test('drain: open streams end in order, then both sides close without a failure', async (t) => {
  const { client, server } = pair(t);
  const asking = ask(client);
  await until(() => server.sinks.length > 0);
  server.connection.session.drain();
  await until(() => client.connection.session.goingAway);
  const asked = server.sinks[0] as RecordingSink;
  pump(asking.stream, asking, 200_000);
  pump(asked.stream, asked, 200_000);
  await until(() => client.closed.length === 1 && server.closed.length === 1);
  assert.deepEqual([client.closed, server.closed], [[undefined], [undefined]]);
  assert.deepEqual([asking.bytes, asked.bytes], [200_000, 200_000]);
  assert.deepEqual([asking.failure, asked.failure], [undefined, undefined]);
  await until(() => client.connection.transport.destroyed && server.connection.transport.destroyed);
});

test('an orderly end is told only when the last bytes are out', async (t) => {
  const valve = new Valve();
  t.after(() => valve.destroy());
  const server = end('server', valve);
  valve.push(Buffer.concat([preface, lay.settings()]));
  await turns(2);
  valve.open = false;
  server.connection.session.drain();
  await turns(5);
  assert.equal(server.connection.session.closed, true);
  assert.deepEqual(server.closed, []);
  await valve.release();
  assert.deepEqual(server.closed, [undefined]);
});

test('an orderly end that nobody reads is cut by destroy, and told once', async (t) => {
  const valve = new Valve();
  const server = end('server', valve);
  valve.push(Buffer.concat([preface, lay.settings()]));
  await turns(2);
  valve.open = false;
  server.connection.session.drain();
  await turns(2);
  server.connection.destroy('the deadline is over');
  await turns(2);
  assert.equal(server.closed.length, 1);
  assert.equal(valve.destroyed, true);
  t.diagnostic('the linger timer of 10 s is cleared: the process ends');
});

test('a failure is told at once, and the transport lingers for its GOAWAY only', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const valve = new Valve();
  const server = end('server', valve);
  valve.push(Buffer.from('GET / HTTP/1.1\r\n\r\n'));
  await turns(2);
  assert.equal(server.closed[0]?.code, h2Error.protocolError);
  const last = parseFrames(Buffer.concat(valve.written)).at(-1);
  assert.equal(last?.payload.readUInt32BE(4), h2Error.protocolError);
  assert.equal(valve.writableEnded, true);
  assert.equal(valve.destroyed, false);
  t.mock.timers.tick(1000);
  assert.equal(valve.destroyed, true);
});

for (const [name, act, wait] of [
  ['a failure', (server: End) => server.connection.session.close(h2Error.protocolError, 'bad'), 1000],
  ['a drain', (server: End) => server.connection.session.drain(), 10_000],
] as const) {
  test(`a transport that never takes the last bytes is given up: ${name}`, async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const valve = new Valve();
    valve.open = false;
    const server = end('server', valve);
    valve.push(Buffer.concat([preface, lay.settings()]));
    await turns(2);
    act(server);
    await turns(2);
    assert.equal(valve.writableEnded, false, 'the greeting is not even out');
    t.mock.timers.tick(wait - 1);
    assert.equal(valve.destroyed, false);
    t.mock.timers.tick(1);
    assert.equal(valve.destroyed, true);
    await turns(2);
    assert.equal(server.closed.length, 1);
  });
}

test('what came right behind the handshake is read only when the caller has its connection', async (t) => {
  const [near, far] = await sockets(t);
  far.write(Buffer.from('GET / HTTP/1.1\r\n\r\n'));
  near.once('readable', () => {});
  await until(() => near.readableLength > 0);
  near.removeAllListeners('readable');
  const seen: H2Connection[] = [];
  const connection: H2Connection = new H2Connection(
    near,
    { role: 'server', settings: smallSettings, sendBuffer: 5000 },
    { closed: () => seen.push(connection) },
  );
  assert.deepEqual(seen, []);
  await until(() => seen.length > 0);
  assert.equal(seen[0], connection);
});

test('destroy says why and does not wait', async (t) => {
  const { client, server } = pair(t);
  const asking = ask(client);
  await until(() => server.sinks.length > 0);
  client.connection.destroy('no more');
  assert.equal(client.connection.transport.destroyed, true);
  assert.deepEqual(client.closed, [{ code: h2Error.cancel, message: 'no more' }]);
  assert.match(asking.events.at(-1) ?? '', /^closed session/);
  client.connection.destroy('again');
  await turns(3);
  assert.equal(client.closed.length, 1);
});

/** Ways in which a transport ends while a stream is open. */
const transportEnds: readonly [name: string, act: (transport: Valve) => void, message: RegExp][] = [
  ['closed by the peer', (v) => v.push(null), /the peer closed the connection/],
  ['an error', (v) => v.destroy(new Error('wire cut')), /wire cut/],
  ['destroyed', (v) => v.destroy(), /the connection was lost/],
];

for (const [name, act, message] of transportEnds) {
  for (const when of ['before the preface', 'in a frame', 'in a stream', 'while full'] as const) {
    test(`the transport ends: ${name}, ${when}`, async (t) => {
      const valve = new Valve();
      t.after(() => valve.destroy());
      const client = end('client', valve);
      const sink = ask(client);
      if (when !== 'before the preface') {
        valve.push(Buffer.concat([lay.settings(), answer(1), lay.data(1, 'some')]));
        if (when === 'in a frame') valve.push(lay.data(1, 'cut off').subarray(0, 12));
        if (when === 'while full') {
          valve.open = false;
          sink.stream.write(Buffer.alloc(60_000));
        }
        await turns(2);
      }
      act(valve);
      await until(() => client.closed.length > 0);
      await turns(3);
      assert.equal(client.closed.length, 1);
      assert.match(client.closed[0]?.message ?? 'none', message);
      assert.match(sink.events.at(-1) ?? '', /^closed session/);
      assert.equal(sink.events.filter((event) => event.startsWith('closed')).length, 1);
    });
  }
}

test('a peer that closes when nothing is open has done so in order', async (t) => {
  const valve = new Valve();
  t.after(() => valve.destroy());
  const client = end('client', valve);
  valve.push(lay.settings());
  valve.push(null);
  await until(() => client.closed.length > 0);
  assert.deepEqual(client.closed, [undefined]);
});

test('a transport that had ended before the connection was made', async () => {
  const valve = new Valve();
  valve.destroy();
  await turns(2);
  const client = end('client', valve);
  const sink = ask(client);
  await turns(2);
  assert.equal(client.closed.length, 1);
  assert.match(sink.events.at(-1) ?? '', /^closed session/);
});

/** Two ends of a TCP connection. */
async function sockets(t: TestContext): Promise<[net.Socket, net.Socket]> {
  const server = net.createServer({ pauseOnConnect: true });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const far = net.connect((server.address() as net.AddressInfo).port, '127.0.0.1');
  const [near] = (await once(server, 'connection')) as [net.Socket];
  t.after(() => {
    near.destroy();
    far.destroy();
    server.close();
  });
  return [near, far];
}

/** TLS over both ends of a transport, hands shaken. */
async function tlsOver(t: TestContext, a: Duplex, b: Duplex): Promise<[tls.TLSSocket, tls.TLSSocket]> {
  // A shared key in place of certificates: what is tried here is how the bytes are read.
  const suite = { ciphers: 'PSK-AES128-GCM-SHA256', maxVersion: 'TLSv1.2' } as const;
  const psk = Buffer.alloc(16, 1);
  const server = new tls.TLSSocket(a, {
    isServer: true,
    secureContext: tls.createSecureContext(suite),
    pskCallback: () => psk,
  } as tls.TLSSocketOptions);
  const client = tls.connect({
    socket: b,
    checkServerIdentity: () => undefined,
    pskCallback: () => ({ psk, identity: 'test' }),
    ...suite,
  });
  t.after(() => {
    server.destroy();
    client.destroy();
  });
  await Promise.all([once(server, 'secure'), once(client, 'secureConnect')]);
  return [server, client];
}

/** Ends a stream's sink in a Duplex, as a tunnel inside a tunnel needs it. */
class StreamDuplex extends Duplex {
  #written: (() => void) | undefined;
  readonly #sink: RecordingSink;

  constructor(sink: RecordingSink) {
    super();
    this.#sink = sink;
    sink.data = (chunk) => {
      // Lent bytes are copied; TLS reads them at once, while the outer session is at work.
      this.push(Buffer.from(chunk));
      sink.stream.consumed(chunk.length);
    };
    sink.ended = () => this.push(null);
    sink.writable = () => this.#written?.();
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    if (this.#sink.stream.write(chunk)) done();
    else this.#written = done;
  }

  override _final(done: () => void): void {
    this.#sink.stream.end();
    done();
  }
}

test('a tunnel in a tunnel: TLS and HTTP/2 over a stream of the outer one, and other streams beside it', async (t) => {
  const [server, client] = await tlsOver(t, ...(await sockets(t)));
  const outerServer = end('server', server);
  const outerClient = end('client', client);
  const asking = [ask(outerClient), ask(outerClient)];
  await until(() => outerServer.sinks.length === 2 && asking.every((sink) => sink.events.length > 0));
  const [innerServerTls, innerClientTls] = await tlsOver(
    t,
    new StreamDuplex(outerServer.sinks[0] as RecordingSink),
    new StreamDuplex(asking[0] as RecordingSink),
  );
  const innerServer = end('server', innerServerTls);
  const innerClient = end('client', innerClientTls);
  const inner = ask(innerClient);
  await until(() => innerServer.sinks.length === 1);
  const beside = asking[1] as RecordingSink;
  const checks = [innerServer.sinks[0], outerServer.sinks[1]].map((sink) => {
    const check = new PatternCheck();
    const { stream } = sink as RecordingSink;
    (sink as RecordingSink).data = (chunk) => {
      check.take(chunk);
      stream.consumed(chunk.length);
    };
    return check;
  });
  pump(inner.stream, inner, 2_000_000, 3000);
  pump(beside.stream, beside, 2_000_000, 3000);
  await until(() => checks.every((check) => check.at === 2_000_000));
});

test('over sockets: a connection that is cut by its peer', async (t) => {
  const server = net.createServer((socket) => {
    socket.once('data', () => socket.resetAndDestroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  const socket = net.connect((server.address() as net.AddressInfo).port, '127.0.0.1');
  const client = end('client', socket);
  const sink = ask(client);
  await until(() => client.closed.length > 0);
  assert.match(client.closed[0]?.message ?? '', /ECONNRESET/);
  assert.match(sink.events[0] ?? '', /^closed session/);
});

test('over sockets: the memory of what was written is used again, and no byte is changed by that', async (t) => {
  const servers: End[] = [];
  const server = net.createServer((socket) => servers.push(end('server', socket)));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const socket = net.connect((server.address() as net.AddressInfo).port, '127.0.0.1');
  const client = end('client', socket);
  t.after(() => {
    server.close();
    client.connection.destroy('the test is over');
  });
  const asking = ask(client);
  await until(() => servers[0]?.sinks.length === 1);
  const sink = servers[0]?.sinks[0] as RecordingSink;
  const check = new PatternCheck();
  sink.data = (chunk) => {
    check.take(chunk);
    sink.stream.consumed(chunk.length);
  };
  pump(asking.stream, asking, 5_000_000, 10_000);
  await until(() => check.at === 5_000_000);
});
