// How connections end: drain, failure, destroy, the loss of the transport.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pump } from './byte-pattern.ts';
import { h2Error, preface } from './frames.ts';
import { lay, parseFrames, type RecordingSink } from './scripted-peer.ts';
import { answer, ask, type End, end, pair, turns, until, Valve } from './connection-ends.ts';

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

test('a peer that closes after it said why: the failure says it too', async (t) => {
  const valve = new Valve();
  t.after(() => valve.destroy());
  const client = end('client', valve);
  ask(client);
  valve.push(Buffer.concat([lay.settings(), lay.goaway(1, h2Error.enhanceYourCalm)]));
  valve.push(null);
  await until(() => client.closed.length > 0);
  assert.match(client.closed[0]?.message ?? '', /the peer closed the connection: enhanceYourCalm/);
});

test('no timer keeps the process alive', async (t) => {
  const timers = (): number => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
  const before = timers();
  const valve = new Valve();
  t.after(() => valve.destroy());
  valve.open = false;
  const server = end('server', valve);
  valve.push(Buffer.concat([preface, lay.settings()]));
  await turns(2);
  server.connection.checkAlive(2);
  server.connection.session.drain();
  await turns(2);
  assert.equal(timers(), before);
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
