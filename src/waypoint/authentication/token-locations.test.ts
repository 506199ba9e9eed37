import assert from 'node:assert/strict';
import { test } from 'node:test';
import { withoutCookies, withoutParams } from './token-locations.ts';

test('parameters are taken out of a query, the rest stays as it was', () => {
  assert.equal(withoutParams('a=1&jwt=x&b=%20', ['jwt']), 'a=1&b=%20');
  assert.equal(withoutParams('%6Awt=x&jwt=y', ['jwt']), '');
  assert.equal(withoutParams('a=1', []), 'a=1');
  assert.equal(withoutParams('ajwt=1&b', ['jwt']), 'ajwt=1&b');
});

test('cookies are taken out of a cookie header', () => {
  assert.equal(withoutCookies('a=1; session=x;b=2', ['session']), 'a=1; b=2');
  assert.equal(withoutCookies('session=x', ['session']), '');
});
