import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compileRegex, literalStart } from './regex.ts';

test('the whole text is matched', () => {
  const rows: readonly [string, string, boolean][] = [
    ['a', 'a', true],
    ['a', 'ab', false],
    ['a', 'ba', false],
    ['a|ab', 'ab', true],
    ['^a$', 'a', true],
    ['^a|b$', 'b', true],
    ['ab*c', 'ac', true],
    ['ab?c', 'ac', true],
    ['ab{0,2}', 'a', true],
    ['ab+', 'abb', true],
    ['(?i)abc', 'ABC', true],
    ['a.c', 'a\nc', true],
    ['/v[12]/.*', '/v2/x', true],
    ['', '', true],
    ['', 'a', false],
    ['.*', '', true],
  ];
  for (const [pattern, text, wanted] of rows)
    assert.equal(compileRegex(pattern)?.(text), wanted, `${pattern} ${text}`);
});

test('what is not RE2 is refused', () => {
  for (const pattern of ['(', 'a(?=b)', '(a)\\1', 'a{1001}', 'a'.repeat(5000)])
    assert.equal(compileRegex(pattern), undefined, pattern.slice(0, 20));
});

test('a literal start is never more than every match begins with', () => {
  const rows: readonly [string, string][] = [
    ['/a/b', '/a/b'],
    ['^/a/b.*', '/a/b'],
    ['/ab*', '/a'],
    ['/ab?', '/a'],
    ['/ab{0}', '/a'],
    ['/a.b', '/a'],
    ['/a|b', ''],
    ['(?i)/a', ''],
  ];
  for (const [pattern, wanted] of rows) assert.equal(literalStart(pattern), wanted, pattern);
});

test('a pattern that stalls others takes linear time', () => {
  const evil = compileRegex('(a+)+$');
  assert.equal(evil?.(`${'a'.repeat(30_000)}b`), false);
});
