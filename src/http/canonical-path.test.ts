import assert from 'node:assert/strict';
import { test } from 'node:test';
import { canonicalPath, type PathNormalization } from './canonical-path.ts';

const reasons = {
  fragment: 'the target has a fragment',
  percent: 'the path has an invalid percent-encoding',
  nul: 'the path has an encoded NUL',
  dots: 'the path has a dot segment in disguise',
  byte: 'the path has an invalid character',
  query: 'the query has an invalid character',
  start: 'the path does not begin with a slash',
};

// What is sent, and what each mode makes of it. A reason stands for 400. `same` is what BASE makes of it.
const same = undefined;
const table: readonly (readonly [
  sent: string,
  base: string,
  mergeSlashes?: string | undefined,
  decodeAndMerge?: string | undefined,
])[] = [
  ['/', '/'],
  ['/a/b.c/-d_e~', '/a/b.c/-d_e~'],
  ["/a!$&'()*+,;=:@", "/a!$&'()*+,;=:@"],
  ['/a/', '/a/'],
  ['/.well-known/x', '/.well-known/x'],
  ['/a/...', '/a/...'],
  // Dot segments (RFC 3986, 5.2.4).
  ['/a/./b', '/a/b'],
  ['/a/../b', '/b'],
  ['/a/b/..', '/a/'],
  ['/a/.', '/a/'],
  ['/..', '/'],
  ['/../../a', '/a'],
  ['/a/b/../../..', '/'],
  ['/a//../b', '/a/b'],
  ['/public/./data/abc/../xyz', '/public/data/xyz'],
  // Unreserved characters, once.
  ['/%61dmin', '/admin'],
  ['/%41%5A%5a%30%2D%2e%5F%7E', '/AZZ0-._~'],
  ['/%2e%2E/a', '/a'],
  ['/a/%2e/b', '/a/b'],
  ['/%2561dmin', '/%2561dmin'],
  ['/%252e%252e/a', '/%252e%252e/a'],
  // Other characters keep their encoding, in upper case.
  ['/%c3%a9%3f%23%3b', '/%C3%A9%3F%23%3B'],
  ['/a%0a', '/a%0A'],
  // Not of a URI, and sent nevertheless: one spelling.
  ['/a[1]|{x}', '/a%5B1%5D%7C%7Bx%7D'],
  ['/a%5b1%5d%7c%7bx%7d', '/a%5B1%5D%7C%7Bx%7D'],
  // Backslashes.
  ['\\da', '/da'],
  ['/some\\data', '/some/data'],
  ['/a\\..\\b', '/b'],
  // Slashes.
  ['/a//b', '/a//b', '/a/b', '/a/b'],
  ['//a///b//', '//a///b//', '/a/b/', '/a/b/'],
  ['/a\\/b', '/a//b', '/a/b', '/a/b'],
  ['/a%2fb', '/a%2Fb', same, '/a/b'],
  ['/a%5Cb', '/a%5Cb', same, '/a/b'],
  ['/a%2F%2fb', '/a%2F%2Fb', same, '/a/b'],
  ['/some%2fdata/%61%62%63', '/some%2Fdata/abc', same, '/some/data/abc'],
  // A dot segment for servers that decode slashes later, or cut parameters off.
  ['/a/..%2fb', reasons.dots, same, '/b'],
  ['/a%2f..%2fb', reasons.dots, same, '/b'],
  ['/a%5c../b', reasons.dots, same, '/b'],
  ['/a%2f.', reasons.dots, same, '/a/'],
  ['/a/..;/b', reasons.dots],
  ['/a/..;x=1/b', reasons.dots],
  ['/a/.;/b', reasons.dots],
  ['/a/%2e%2e;/b', reasons.dots],
  ['/a/..%3b/b', reasons.dots],
  ['/a/..;', reasons.dots],
  ['/a;b/c..;d', '/a;b/c..;d'],
  ['/a/...;x', '/a/...;x'],
  // Refused.
  ['/%00', reasons.nul],
  ['/a%00/../b', reasons.nul],
  ['/a%', reasons.percent],
  ['/a%2', reasons.percent],
  ['/a%zz', reasons.percent],
  ['/a%2gb', reasons.percent],
  ['/a%u0061', reasons.percent],
  ['/a#b', reasons.fragment],
  ['/a?b#c', reasons.fragment],
  ['/a\xff', reasons.byte],
  ['/a\x7f', reasons.byte],
  ['/a b', reasons.byte],
  ['/a\u0100', reasons.byte],
  ['/a?b\xff', reasons.query],
  ['a', reasons.start],
  ['', reasons.start],
  ['?a', reasons.start],
  // The query stays as it is.
  ['/a/../b?x=/../%61%zz\\//', '/b?x=/../%61%zz\\//'],
  ['/a?', '/a?'],
  ['/a?b?c', '/a?b?c'],
];

const text = (sent: string, mode?: PathNormalization): string => {
  const found = canonicalPath(sent, mode);
  if (found.path === undefined) return found.reason;
  return found.query === undefined ? found.path : `${found.path}?${found.query}`;
};

for (const [sent, base, merged = base, decoded = merged] of table)
  test(JSON.stringify(sent), () => {
    assert.equal(text(sent), base);
    assert.equal(text(sent, 'BASE'), base);
    assert.equal(text(sent, 'MERGE_SLASHES'), merged);
    assert.equal(text(sent, 'DECODE_AND_MERGE_SLASHES'), decoded);
  });

test('what is canonical stays as it is', () => {
  for (const [, base, merged = base, decoded = merged] of table) {
    if (base.startsWith('/')) assert.equal(text(base), base);
    if (merged.startsWith('/')) assert.equal(text(merged, 'MERGE_SLASHES'), merged);
    if (decoded.startsWith('/')) assert.equal(text(decoded, 'DECODE_AND_MERGE_SLASHES'), decoded);
  }
});

test('NONE only refuses', () => {
  for (const path of ['/a/../b', '/%61', '/a//b', '/a\\b', '/a%zz']) assert.equal(text(path, 'NONE'), path);
  assert.equal(text('/a#b', 'NONE'), reasons.fragment);
  assert.equal(text('/%00', 'NONE'), reasons.nul);
  assert.equal(text('\\a', 'NONE'), reasons.start);
});

test('a long path of hard cases is read in linear time', () => {
  for (const part of ['/../a', '/a.', '//', '%2e', '/..;', '\\', 'a/'])
    assert.ok(text(`/${part.repeat(12_000)}`) !== '');
});
