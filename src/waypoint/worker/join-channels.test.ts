import assert from 'node:assert/strict';
import { test } from 'node:test';
import { joinChannels, type JoinResult } from './join-channels.ts';
import { TestChannel } from './test-channel.ts';

function setUp() {
  const client = new TestChannel();
  const server = new TestChannel();
  const results: JoinResult[] = [];
  const joined = joinChannels(client, server, (result) => results.push(result));
  return { client, server, results, joined };
}

test('bytes go both ways, and each end by itself', () => {
  const { client, server, results } = setUp();
  client.send('hello');
  client.sendEnd();
  assert.equal(server.written, 'hello');
  assert.equal(server.ends, 1);
  assert.equal(results.length, 0);
  server.send('world!');
  server.sendEnd();
  assert.equal(client.written, 'world!');
  assert.equal(client.ends, 1);
  assert.deepEqual(results, [{ forth: 5, back: 6 }]);
  client.close();
  server.close();
  assert.equal(results.length, 1);
  assert.deepEqual([client.resets, server.resets], [[], []]);
});

test('window is given back when the other side takes more', () => {
  const { client, server } = setUp();
  server.takes = false;
  client.send('hello');
  assert.equal(client.credited, 0);
  server.drained();
  assert.equal(client.credited, 5);
});

test('what one side cuts off is cut off on the other, and what was held is given back', () => {
  for (const cut of ['client', 'server'] as const) {
    const sides = setUp();
    const { client, server, results } = sides;
    client.takes = false;
    server.takes = false;
    client.send('hello');
    server.send('worlds');
    sides[cut].close('lost');
    assert.equal(client.credited, client.sent, 'other tunnels of the session go on');
    assert.equal(server.credited, server.sent);
    assert.equal((cut === 'client' ? server : client).resets.length, 1);
    assert.equal(results.length, 1);
    assert.deepEqual(results[0]?.failure, { side: cut === 'client' ? 'first' : 'second', message: 'lost' });
  }
});

test('a side that closes without its end is a cut', () => {
  const { client, server, results } = setUp();
  server.sendEnd();
  server.close();
  assert.equal(client.resets.length, 1);
  assert.equal(results[0]?.failure?.side, 'second');
});

test('abort ends both, once', () => {
  const { client, server, results, joined } = setUp();
  server.takes = false;
  client.send('hello');
  joined.abort();
  joined.abort();
  assert.equal(results.length, 1);
  assert.equal(client.credited, 5);
  assert.ok(client.resets.length > 0 && server.resets.length > 0);
});
