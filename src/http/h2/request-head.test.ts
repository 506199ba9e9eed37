import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HeaderList } from '#/tunnel/index.ts';
import { readRequest } from './request-head.ts';

const get: HeaderList = [
  [':method', 'GET'],
  [':scheme', 'http'],
  [':path', '/a/../b?x=1'],
];
const to: HeaderList = [...get, [':authority', 'Shop.Test:80']];
const upgrade: HeaderList = [
  [':method', 'CONNECT'],
  [':protocol', 'WebSocket'],
  [':scheme', 'https'],
  [':path', '/chat'],
  [':authority', 'shop.test'],
];

const read = (headers: HeaderList, ended = true): ReturnType<typeof readRequest> =>
  readRequest(headers, ended, 4, 'BASE');

test('a request as a head', () => {
  const { head } = read(
    [
      ...to,
      ['cookie', 'a=1'],
      ['accept', '*/*'],
      ['cookie', 'b=2'],
      ['te', 'Trailers'],
      ['content-length', '12'],
      ['expect', '100-Continue'],
      ['trailer', 'x-sum'],
    ],
    false,
  );
  assert.ok(head);
  const { headers, ...rest } = head;
  assert.deepEqual(rest, {
    version: '2',
    method: 'GET',
    scheme: 'http',
    authority: 'shop.test:80',
    path: '/b',
    query: 'x=1',
    upgrade: undefined,
    contentLength: 12,
    expectsContinue: true,
  });
  assert.deepEqual(headers.flat, ['cookie', 'a=1; b=2', 'accept', '*/*', 'te', 'trailers']);
});

test('what follows from little', () => {
  assert.equal(read([...get, ['host', 'a.b']]).head?.authority, 'a.b');
  assert.equal(read([...to, ['host', 'shop.test.:80']]).head?.authority, 'shop.test:80');
  assert.equal(read(to).head?.contentLength, 0);
  assert.equal(read(to, false).head?.contentLength, undefined);
  assert.equal(read([...to, ['content-length', '0']]).head?.contentLength, 0);
  assert.equal(read([...to, ['expect', '100-continue']]).head?.expectsContinue, false);
  const any = read([
    [':method', 'OPTIONS'],
    [':scheme', 'http'],
    [':path', '*'],
    [':authority', 'a'],
  ]);
  assert.equal(any.head?.path, '*');
  const switched = read([...upgrade, ['content-length', '5']], false).head;
  assert.equal(switched?.upgrade, 'websocket');
  assert.equal(switched.method, 'CONNECT');
  assert.equal(switched.contentLength, undefined);
});

const without = (name: string, ...more: HeaderList): HeaderList => [
  ...to.filter(([key]) => key !== name),
  ...more,
];

const refused: readonly [name: string, headers: HeaderList, status: number | undefined, ended?: boolean][] = [
  ['two hosts', [...to, ['host', 'shop.test:80'], ['host', 'shop.test:80']], undefined],
  ['another host than the authority', [...to, ['host', 'evil.test']], undefined],
  ['the host without the port of the authority', [...to, ['host', 'shop.test']], undefined],
  ['a body that is not there', [...to, ['content-length', '1']], undefined],
  ['a length with a sign', [...to, ['content-length', '+1']], undefined],
  ['a list of lengths', [...to, ['content-length', '1, 1']], undefined],
  ['two lengths', [...to, ['content-length', '1'], ['content-length', '1']], undefined],
  ['no authority', get, 400],
  ['userinfo', without(':authority', [':authority', 'a@b']), 400],
  ['an empty authority', without(':authority', [':authority', '']), 400],
  ['another scheme', without(':scheme', [':scheme', 'ftp']), 400],
  ['a path without a slash', without(':path', [':path', 'a']), 400],
  ['a fragment', without(':path', [':path', '/#a']), 400],
  ['a star that is not of OPTIONS', without(':path', [':path', '*']), 400],
  ['a method with a blank', without(':method', [':method', 'GET /']), 400],
  [
    'a CONNECT',
    [
      [':method', 'CONNECT'],
      [':authority', 'a:1'],
    ],
    405,
  ],
  ['an extended CONNECT without a body', upgrade, 400],
  ['five headers', [...to, ['a', ''], ['b', ''], ['c', ''], ['d', ''], ['e', '']], 431],
];

for (const [name, headers, status, ended] of refused)
  test(`refused: ${name}`, () => {
    const result = read(headers, ended);
    assert.equal(result.head, undefined);
    assert.equal(result.status, status, result.reason);
  });
