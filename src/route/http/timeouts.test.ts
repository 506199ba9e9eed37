import assert from 'node:assert/strict';
import { test } from 'node:test';
import { aRequest } from './test-requests.ts';
import { parseGrpcTimeout, requestTimeout, tryTimeout } from './timeouts.ts';

test('grpc-timeout', () => {
  const rows: readonly [string, number | undefined][] = [
    ['1H', 3_600_000],
    ['2M', 120_000],
    ['3S', 3000],
    ['250m', 250],
    ['1500u', 2],
    ['1n', 1],
    ['0S', 0],
    ['99999999m', 99_999_999],
    ['123456789m', undefined],
    ['S', undefined],
    ['', undefined],
    ['1', undefined],
    ['-1S', undefined],
    ['1.5S', undefined],
    ['1s', undefined],
    ['1S ', undefined],
  ];
  for (const [text, wanted] of rows) assert.equal(parseGrpcTimeout(text), wanted, text);
});

test('the deadline of a request', () => {
  const rows: readonly [number | undefined, boolean, Record<string, string>, number | undefined][] = [
    [undefined, false, {}, undefined],
    [0, false, {}, undefined],
    [1000, false, {}, 1000],
    [1000, false, { 'grpc-timeout': '1m' }, 1000],
    [1000, false, { 'x-envoy-upstream-rq-timeout-ms': '1' }, 1000],
    [undefined, false, { 'x-envoy-upstream-rq-timeout-ms': '1' }, undefined],
    [1000, true, {}, 1000],
    [1000, true, { 'grpc-timeout': '10m' }, 10],
    [1000, true, { 'grpc-timeout': '10S' }, 1000],
    [1000, true, { 'grpc-timeout': '0S' }, 1000],
    [1000, true, { 'grpc-timeout': 'soon' }, 1000],
    [undefined, true, { 'grpc-timeout': '10m' }, 10],
  ];
  for (const [route, grpc, headers, wanted] of rows)
    assert.equal(requestTimeout(route, aRequest('POST /', { grpc, headers })), wanted);
});

test('the deadline of a try', () => {
  assert.equal(tryTimeout(undefined, undefined), undefined);
  assert.equal(tryTimeout(0, 5), 5);
  assert.equal(tryTimeout(3, undefined), 3);
  assert.equal(tryTimeout(3, 5), 3);
  assert.equal(tryTimeout(5, 3), 3);
});
