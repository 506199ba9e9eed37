import assert from 'node:assert/strict';
import { test } from 'node:test';
import { malformedHeaders, type HeaderRole } from './header-rules.ts';
import type { HeaderList } from './hpack.ts';

const connect: HeaderList = [
  [':method', 'CONNECT'],
  [':authority', 'a:1'],
];
const get: HeaderList = [
  [':method', 'GET'],
  [':scheme', 'http'],
  [':path', '/'],
];
const ok: HeaderList = [[':status', '200']];

const cases: readonly [role: HeaderRole, headers: HeaderList, problem: RegExp | undefined][] = [
  ['request', connect, undefined],
  ['request', [[':method', 'CONNECT']], undefined], // Left to the handler, which answers 400.
  ['request', get, undefined],
  ['request', [...connect, ['baggage', 'a=b'], ['forwarded', 'for="1.2.3.4:5"']], undefined],
  ['request', [...connect, ['x-a', ''], ['x-a', 'again']], undefined],
  ['request', [...connect, ['x-latin', '\xe9\t\xff']], undefined],
  ['request', [...connect, ['te', 'trailers']], undefined],
  ['request', [], /no :method/],
  ['request', [[':authority', 'a:1']], /no :method/],
  ['request', [[':method', '']], /no :method/],
  [
    'request',
    [
      [':method', 'GET'],
      [':path', '/'],
    ],
    /no :scheme or :path/,
  ],
  [
    'request',
    [
      [':method', 'GET'],
      [':scheme', 'http'],
    ],
    /no :scheme or :path/,
  ],
  [
    'request',
    [
      [':method', 'GET'],
      [':scheme', 'http'],
      [':path', ''],
    ],
    /no :scheme or :path/,
  ],
  ['request', [...connect, [':path', '/']], /in a CONNECT/],
  ['request', [...connect, [':scheme', 'http']], /in a CONNECT/],
  ['request', [...connect, [':authority', 'b:1']], /:authority twice/],
  [
    'request',
    [
      [':method', 'CONNECT'],
      ['x', 'y'],
      [':authority', 'a:1'],
    ],
    /after a regular header/,
  ],
  ['request', [...connect, [':status', '200']], /in a request/],
  ['request', [...connect, [':protocol', 'websocket']], /in a request/],
  ['request', [...connect, [':', 'x']], /in a request/],
  ['request', [...connect, ['Host', 'x']], /a header named/],
  ['request', [...connect, ['', 'x']], /a header named/],
  ['request', [...connect, ['a b', 'x']], /a header named/],
  ['request', [...connect, ['a\nb', 'x']], /a header named "a\\nb"/],
  ['request', [...connect, ['caf\xe9', 'x']], /a header named/],
  ['request', [...connect, ['x', 'a\r\nb: c']], /line break or NUL/],
  ['request', [...connect, ['x', 'a\nb']], /line break or NUL/],
  ['request', [...connect, ['x', 'a\0b']], /line break or NUL/],
  [
    'request',
    [
      [':method', 'CONNECT'],
      [':authority', 'a:1\r\nx'],
    ],
    /line break or NUL/,
  ],
  ['request', [...connect, ['x', 'a\x1b']], /control character/],
  ['request', [...connect, ['x', 'a\x7fb']], /control character/],
  ['request', [...connect, ['x', ' a']], /a blank at its end/],
  ['request', [...connect, ['x', 'a\t']], /a blank at its end/],
  ['request', [...connect, ['te', 'Trailers']], undefined],
  ['request', [...connect, ['connection', 'close']], /of HTTP\/1/],
  ['request', [...connect, ['transfer-encoding', 'chunked']], /of HTTP\/1/],
  ['request', [...connect, ['upgrade', 'h2c']], /of HTTP\/1/],
  ['request', [...connect, ['te', 'gzip']], /of HTTP\/1/],
  ['response', ok, undefined],
  ['response', [...ok, ['baggage', 'a=b']], undefined],
  ['response', [[':status', '100']], undefined],
  ['response', [], /no :status/],
  ['response', [['x', 'y']], /no :status/],
  ['response', [[':status', '']], /no :status/],
  ['response', [[':status', '20']], /no :status/],
  ['response', [[':status', '2000']], /no :status/],
  ['response', [[':status', 'abc']], /no :status/],
  ['response', [...ok, [':status', '403']], /twice/],
  ['response', connect, /in a response/],
  ['trailers', [], undefined],
  ['trailers', [['x-sum', '1']], undefined],
  [
    'trailers',
    [
      ['x-sum', '1'],
      [':status', '200'],
    ],
    /after a regular/,
  ],
  ['trailers', [[':status', '200']], /in a trailers/],
];

const protocol: HeaderList = [[':protocol', 'websocket'], ...get.slice(1)];

test('an extended CONNECT, where it was agreed on (RFC 8441)', () => {
  assert.equal(malformedHeaders([[':method', 'CONNECT'], ...protocol], 'request', true), undefined);
  assert.match(
    malformedHeaders([[':method', 'CONNECT'], ...protocol], 'request') ?? '',
    /:protocol" in a request/,
  );
  assert.match(malformedHeaders([[':method', 'GET'], ...protocol], 'request', true) ?? '', /without CONNECT/);
  assert.match(
    malformedHeaders([...connect, [':protocol', 'websocket']], 'request', true) ?? '',
    /no :scheme or :path/,
  );
  assert.equal(malformedHeaders(connect, 'request', true), undefined);
});

for (const [role, headers, problem] of cases) {
  test(`${role}: ${JSON.stringify(headers)}`, () => {
    const found = malformedHeaders(headers, role);
    if (problem === undefined) assert.equal(found, undefined);
    else assert.match(found ?? 'nothing', problem);
  });
}
