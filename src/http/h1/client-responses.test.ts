import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Client } from './scripted-server.ts';

const responses: readonly (readonly [
  name: string,
  bytes: string,
  events: readonly string[],
  reusable: boolean,
])[] = [
  [
    'a length',
    'HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX: 1\r\n\r\nabc',
    ['200 ["x","1"] 3', 'data abc', 'end'],
    true,
  ],
  ['no body', 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n', ['200 [] 0 ended'], true],
  ['204', 'HTTP/1.1 204 No Content\r\n\r\n', ['204 [] 0 ended'], true],
  [
    '304 with the length of the other',
    'HTTP/1.1 304 X\r\nContent-Length: 9\r\n\r\n',
    ['304 [] 9 ended'],
    true,
  ],
  ['no reason, no blank', 'HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n', ['200 [] 0 ended'], true],
  ['a status of its own', 'HTTP/1.1 999 \xe9\r\nContent-Length: 0\r\n\r\n', ['999 [] 0 ended'], true],
  [
    'chunks and trailers',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nGrpc-Status: 0\r\nContent-Length: 1\r\n\r\n',
    ['200 [] undefined', 'data abc', 'end ["grpc-status","0"]'],
    true,
  ],
  [
    'Connection: close',
    'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n',
    ['200 [] 0 ended'],
    false,
  ],
  ['HTTP/1.0', 'HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n', ['200 [] 0 ended'], false],
  [
    'HTTP/1.0 keep-alive',
    'HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n',
    ['200 [] 0 ended'],
    true,
  ],
  [
    'interim',
    'HTTP/1.1 103 X\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n',
    ['inform 103', '200 [] 0 ended'],
    true,
  ],
  [
    'more than was asked for',
    'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n',
    ['200 [] 0 ended'],
    false,
  ],
];
for (const [name, bytes, events, reusable] of responses)
  test(`response: ${name}`, async () => {
    const whole = new Client();
    const answer = await whole.asked();
    whole.channel.send(bytes);
    assert.deepEqual(answer.events, events);
    assert.equal(whole.connection.capacity, reusable ? 1 : 0);
    assert.equal(whole.available, reusable ? 1 : 0);
    assert.equal(whole.closed.length, reusable ? 0 : 1);
    assert.equal(whole.channel.credited, whole.channel.sent);
    const joined = (told: readonly string[]): string => told.join('|').replaceAll('|data ', '');
    const split = new Client();
    const other = await split.asked();
    for (const byte of bytes) split.channel.send(Buffer.from(byte, 'latin1'));
    assert.equal(joined(other.events), joined(events));
    assert.equal(split.connection.capacity, reusable ? 1 : 0);
    assert.equal(split.channel.credited, split.channel.sent);
  });

const failures: readonly (readonly [name: string, bytes: string])[] = [
  ['both framings', 'HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n'],
  ['two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd'],
  ['a list of lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 3, 3\r\n\r\nabc'],
  ['another coding', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n'],
  ['chunks in 1.0', 'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
  ['204 with a length', 'HTTP/1.1 204 X\r\nContent-Length: 3\r\n\r\nabc'],
  ['100 with a body', 'HTTP/1.1 100 X\r\nTransfer-Encoding: chunked\r\n\r\n'],
  ['a folded header', 'HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n'],
  ['bare LF', 'HTTP/1.1 200 OK\nContent-Length: 0\n\n'],
  ['a blank before a colon', 'HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n'],
  ['another version', 'HTTP/2.0 200 OK\r\n\r\n'],
  ['no status', 'HTTP/1.1 OK\r\n\r\n'],
  ['a status of two digits', 'HTTP/1.1 20 OK\r\n\r\n'],
  ['a status of four digits', 'HTTP/1.1 2000 OK\r\n\r\n'],
  ['an empty line first', '\r\nHTTP/1.1 200 OK\r\n\r\n'],
  ['a control byte in the reason', 'HTTP/1.1 200 O\x1bK\r\n\r\n'],
  ['101 that was not asked for', 'HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n'],
  ['too many interim responses', 'HTTP/1.1 103 X\r\n\r\n'.repeat(20)],
  ['headers too large', `HTTP/1.1 200 OK\r\nX: ${'a'.repeat(70_000)}\r\n\r\n`],
];
for (const [name, bytes] of failures)
  test(`response that fails: ${name}`, async () => {
    for (const pieces of [
      [bytes],
      bytes.length < 1000 ? Array.from(bytes) : [bytes.slice(0, 100), bytes.slice(100)],
    ]) {
      const client = new Client();
      const answer = await client.asked();
      for (const piece of pieces) client.channel.send(Buffer.from(piece, 'latin1'));
      assert.deepEqual(
        answer.events.filter((event) => !event.startsWith('inform')),
        ['failed protocol'],
      );
      assert.equal(client.channel.resets.length, 1);
      assert.deepEqual(client.closed, ['protocol']);
      assert.equal(client.channel.credited, client.channel.sent);
    }
  });
