// Connections over an in-memory transport, and over sockets where a socket's own behaviour matters.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { Duplex, duplexPair } from 'node:stream';
import { test } from 'node:test';
import { patternAt, PatternCheck, pump } from './byte-pattern.ts';
import { H2Connection } from './connection.ts';
import { preface } from './frames.ts';
import { lay, parseFrames, type RecordingSink, smallSettings } from './scripted-peer.ts';
import { answer, ask, type End, end, pair, sockets, turn, turns, until, Valve } from './connection-ends.ts';

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

test('gathering: with many streams, frames of two turns go out in one write; with few, each turn writes', async (t) => {
  let writes = 0;
  const transport = new Duplex({
    read() {},
    write(_chunk: Buffer, _encoding, done) {
      writes++;
      done();
    },
  });
  t.after(() => transport.destroy());
  const connection = new H2Connection(
    transport,
    { role: 'client', settings: smallSettings, sendBuffer: 50_000, gather: true },
    { closed() {} },
  );
  const written = async (count: number): Promise<number> => {
    const before = writes;
    for (let i = 0; i < count; i++) {
      connection.session.request([[':method', 'CONNECT']]);
      await turn();
    }
    await turns(4);
    return writes - before;
  };
  await turns(4);
  assert.equal(await written(3), 3);
  const together = await written(8);
  assert.ok(together >= 4 && together < 8, `${together} writes`);
});

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
