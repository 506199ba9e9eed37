import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  isForbiddenTrailer,
  isToken,
  isWrittenByCodec,
  mayNotBeNamedByConnection,
  parseContentLength,
  validHeaderName,
  validHeaderValue,
} from './header-rules.ts';

test('names', () => {
  for (const name of ['a', 'x-a_b.c~', "!#$%&'*+-.^_`|~09az"]) assert.ok(validHeaderName(name), name);
  for (const name of ['', 'A', 'a b', 'a:', ':a', 'a\0', '\xe9', 'a\n', '(a)', 'a\u0131'])
    assert.ok(!validHeaderName(name), JSON.stringify(name));
  assert.ok(isToken('GET') && isToken('x') && !isToken('') && !isToken('A B'));
});

test('values', () => {
  for (const value of ['', 'a', 'a b', 'a\tb', '\xe9', '"', '\x80\xff'])
    assert.ok(validHeaderValue(value), value);
  for (const value of [
    ' a',
    'a ',
    '\ta',
    ' ',
    'a\r\nb',
    'a\n',
    'a\0',
    'a\x7f',
    'a\x1b',
    'a\u010a',
    '\u{1f600}',
  ])
    assert.ok(!validHeaderValue(value), JSON.stringify(value));
  assert.ok(validHeaderValue('a '.repeat(30_000) + 'a'), 'in linear time');
  assert.ok(!validHeaderValue('a'.repeat(60_000) + '\n'), 'in linear time');
});

test('lengths', () => {
  for (const [text, length] of [
    ['0', 0],
    ['42', 42],
    ['007', 7],
    ['9007199254740991', Number.MAX_SAFE_INTEGER],
  ] as const)
    assert.equal(parseContentLength(text), length);
  for (const text of [
    '',
    ' 1',
    '1 ',
    '+1',
    '-1',
    '1e3',
    '0x1',
    '1,1',
    '9007199254740992',
    '10000000000000000',
    '\u0661',
  ])
    assert.equal(parseContentLength(text), undefined, text);
});

test('fields that the codec writes, that Connection may not name, that are no trailers', () => {
  for (const name of ['connection', 'content-length', 'host', 'transfer-encoding', 'upgrade', 'expect'])
    assert.ok(isWrittenByCodec(name), name);
  for (const name of ['te', 'date', 'content-type']) assert.ok(!isWrittenByCodec(name), name);
  for (const name of [
    'host',
    'cookie',
    'x-forwarded-client-cert',
    'x-envoy-internal',
    'x-b3-traceid',
    'baggage',
  ])
    assert.ok(mayNotBeNamedByConnection(name), name);
  for (const name of ['te', 'close', 'x-a', 'keep-alive']) assert.ok(!mayNotBeNamedByConnection(name), name);
  for (const name of ['content-length', 'host', 'authorization', 'x-forwarded-for', 'set-cookie', 'te'])
    assert.ok(isForbiddenTrailer(name), name);
  for (const name of ['grpc-status', 'grpc-message', 'x-sum', 'server-timing'])
    assert.ok(!isForbiddenTrailer(name), name);
});
