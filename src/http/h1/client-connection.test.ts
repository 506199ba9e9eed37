import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RequestHead } from '../exchange.ts';
import { HeaderMap } from '../header-map.ts';
import { Answer, Client, head, okBytes } from './scripted-server.ts';
import { turn } from './scripted-channel.ts';

test('requests as they go out', async () => {
  const cases: readonly (readonly [Partial<RequestHead>, boolean, string])[] = [
    [{}, true, 'GET /a HTTP/1.1\r\nhost: h:80\r\n\r\n'],
    [{ query: 'b=c' }, true, 'GET /a?b=c HTTP/1.1\r\nhost: h:80\r\n\r\n'],
    [{ method: 'POST' }, true, 'POST /a HTTP/1.1\r\nhost: h:80\r\ncontent-length: 0\r\n\r\n'],
    [
      { method: 'POST', contentLength: 3 },
      false,
      'POST /a HTTP/1.1\r\nhost: h:80\r\ncontent-length: 3\r\n\r\nabc',
    ],
    [
      { method: 'POST' },
      false,
      'POST /a HTTP/1.1\r\nhost: h:80\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n',
    ],
    [
      { method: 'POST', contentLength: 3, expectsContinue: true },
      false,
      'POST /a HTTP/1.1\r\nhost: h:80\r\ncontent-length: 3\r\nexpect: 100-continue\r\n\r\nabc',
    ],
    [
      {
        headers: HeaderMap.of([
          ['te', 'trailers'],
          ['host', 'evil'],
          ['content-length', '7'],
          ['x', '1'],
        ]),
      },
      true,
      'GET /a HTTP/1.1\r\nhost: h:80\r\nte: trailers\r\nx: 1\r\nconnection: te\r\n\r\n',
    ],
    [{ method: 'OPTIONS', path: '*' }, true, 'OPTIONS * HTTP/1.1\r\nhost: h:80\r\n\r\n'],
  ];
  for (const [over, ended, expected] of cases) {
    const client = new Client();
    const { exchange } = client.ask(over, ended);
    if (!ended) {
      exchange?.write(Buffer.from('abc'));
      exchange?.end();
    }
    assert.equal(await client.take(), expected);
    assert.equal(client.channel.writes, 1);
  }
});

test('a request that a filter has broken is not sent', async () => {
  for (const over of [
    { headers: HeaderMap.of([['x', 'a\r\nb: c']]) },
    { headers: HeaderMap.of([['X', 'a']]) },
    { headers: HeaderMap.of([['x', '\u010a']]) },
    { path: '/a b' },
    { path: '/a\r\n' },
    { path: 'a' },
    { path: '/a?b' },
    { query: 'a b' },
    { method: 'G T' },
    { method: 'CONNECT' },
    { authority: 'h\r\n' },
    { authority: 'u@h' },
    { contentLength: 3 },
  ]) {
    const client = new Client();
    const answer = await client.asked(over);
    assert.deepEqual(answer.events, ['failed local'], JSON.stringify(over));
    assert.equal(client.channel.written, '');
  }
});

test('HEAD has no body', async () => {
  const client = new Client();
  const answer = await client.asked({ method: 'HEAD' });
  client.channel.send('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n');
  assert.deepEqual(answer.events, ['200 [] 9 ended']);
  assert.equal(client.connection.capacity, 1);
});

test('a body until the end of the connection', async () => {
  const client = new Client();
  const answer = await client.asked();
  client.channel.send('HTTP/1.1 200 OK\r\n\r\nabc');
  client.channel.sink?.ended();
  assert.deepEqual(answer.events, ['200 [] undefined', 'data abc', 'end']);
  assert.equal(client.connection.capacity, 0);
  const cut = new Client();
  const other = await cut.asked();
  cut.channel.send('HTTP/1.1 200 OK\r\n\r\nabc');
  cut.channel.sink?.closed({ message: 'reset' });
  assert.deepEqual(other.events, ['200 [] undefined', 'data abc', 'failed reset']);
});

test('a body that is cut off', async () => {
  for (const bytes of ['Content-Length: 9\r\n\r\nabc', 'Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n']) {
    const client = new Client();
    const answer = await client.asked();
    client.channel.send(`HTTP/1.1 200 OK\r\n${bytes}`);
    client.channel.sink?.ended();
    assert.equal(answer.events.at(-1), 'failed reset');
  }
});

test('a connection that is closed without an answer', async () => {
  const fresh = new Client();
  const first = await fresh.asked();
  fresh.channel.sink?.ended();
  assert.deepEqual(first.events, ['failed reset'], 'the first request: it may have been the reason');

  for (const [method, expected] of [
    ['GET', 'failed refused stale'],
    ['PUT', 'failed refused stale'],
    ['POST', 'failed reset stale'],
  ] as const) {
    const reused = new Client();
    await reused.asked();
    reused.channel.send(okBytes);
    const answer = await reused.asked({ method });
    reused.channel.sink?.closed({ message: 'gone' });
    assert.deepEqual(answer.events, [expected]);
    assert.deepEqual(reused.closed, [expected.split(' ')[1]]);
  }

  const begun = new Client();
  await begun.asked();
  begun.channel.send(okBytes);
  const answer = await begun.asked();
  begun.channel.send('H');
  begun.channel.sink?.ended();
  assert.deepEqual(answer.events, ['failed reset']);

  const unsent = new Client();
  const never = unsent.ask({ method: 'POST' });
  unsent.channel.sink?.closed({ message: 'gone' });
  assert.deepEqual(never.events, ['failed refused'], 'nothing has gone out');
  assert.equal(await unsent.take(), '');
});

test('bytes that were not asked for', async () => {
  const idle = new Client();
  idle.channel.send('HTTP/1.1 200 OK\r\n\r\n');
  assert.deepEqual(idle.closed, ['protocol']);
  const unsent = new Client();
  const answer = unsent.ask();
  unsent.channel.send(okBytes);
  assert.deepEqual(answer.events, ['failed refused'], 'an answer from before the question');
  assert.equal(unsent.connection.capacity, 0);
});

test('an answer before the request has ended takes the connection with it', async () => {
  const client = new Client();
  const answer = await client.asked({ method: 'POST' }, false);
  answer.exchange?.write(Buffer.from('abc'));
  client.channel.send('HTTP/1.1 413 X\r\nContent-Length: 2\r\n\r\n');
  assert.equal(client.connection.capacity, 0);
  client.channel.send('no');
  assert.deepEqual(answer.events, ['413 [] 2', 'data no', 'end']);
  assert.equal(answer.exchange?.write(Buffer.from('more')), true);
  answer.exchange?.end();
  assert.equal(client.connection.capacity, 0);
  assert.equal(client.channel.resets.length, 1);
  assert.equal(client.closed.length, 1);
});

test('an answer that begins before the request has ended may end after it', async () => {
  const client = new Client();
  const answer = await client.asked({ method: 'POST' }, false);
  client.channel.send('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n');
  answer.exchange?.end();
  client.channel.send('ok');
  assert.equal(client.connection.capacity, 1);
});

test('an upgrade', async () => {
  const client = new Client();
  const answer = await client.asked({ upgrade: 'websocket' }, false);
  assert.equal(answer.exchange?.write(Buffer.from('early')), false);
  assert.equal(
    await client.take(),
    'GET /a HTTP/1.1\r\nhost: h:80\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n',
  );
  client.channel.send('HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\nhi');
  assert.equal(await client.take(), 'early');
  answer.exchange?.write(Buffer.from('late'));
  answer.exchange?.end();
  assert.equal(await client.take(), 'late');
  client.channel.sink?.ended();
  client.channel.sink?.closed();
  assert.deepEqual(answer.events, ['101 [] undefined', 'data hi', 'end']);
  assert.equal(client.closed.length, 1);
  const refused = new Client();
  const other = await refused.asked({ upgrade: 'websocket' }, false);
  refused.channel.send(okBytes);
  assert.deepEqual(other.events, ['200 [] 0 ended']);
  assert.equal(refused.connection.capacity, 1);
});

test('a body that does not fit its length', async () => {
  for (const body of ['ab', 'abcd']) {
    const client = new Client();
    const answer = await client.asked({ method: 'POST', contentLength: 3 }, false);
    answer.exchange?.write(Buffer.from(body));
    answer.exchange?.end();
    assert.deepEqual(answer.events, ['failed local']);
    assert.equal(client.channel.resets.length, 1);
  }
});

test('reset says nothing, destroy and drain end it', async () => {
  const client = new Client();
  const answer = await client.asked();
  answer.exchange?.reset();
  assert.deepEqual(answer.events, []);
  assert.equal(client.channel.resets.length, 1);
  assert.equal(client.closed.length, 1);

  const destroyed = new Client();
  const other = await destroyed.asked();
  destroyed.connection.destroy();
  assert.deepEqual(other.events, ['failed local']);

  const drained = new Client();
  const last = await drained.asked();
  drained.connection.drain();
  assert.equal(drained.connection.capacity, 0);
  drained.channel.send(okBytes);
  await turn();
  assert.deepEqual(last.events, ['200 [] 0 ended']);
  assert.equal(drained.channel.ends, 1);
  assert.deepEqual(drained.closed, [undefined]);
  drained.clock.advance(10_000);
  assert.equal(drained.channel.resets.length, 1, 'a server that does not end is left');
});

test('time: a head that does not come to its end, an idle connection', async () => {
  const client = new Client({ headTimeoutMs: 1000, idleTimeoutMs: 5000 });
  const answer = await client.asked();
  client.channel.send('HTTP/1.1 2');
  client.clock.advance(1000);
  assert.deepEqual(answer.events, ['failed protocol']);
  const idle = new Client({ idleTimeoutMs: 5000 });
  idle.clock.advance(5000);
  await turn();
  assert.equal(idle.channel.ends, 1);
  assert.equal(idle.connection.capacity, 0);
});

test('the next request may be made from the end of the last', async () => {
  const client = new Client();
  const second = new Answer();
  const first = await client.asked();
  first.end = () => {
    second.exchange = client.connection.request(head(), true, second);
  };
  client.channel.send('HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc');
  await turn();
  client.channel.send(okBytes);
  assert.deepEqual(second.events, ['200 [] 0 ended']);
});
