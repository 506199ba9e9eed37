import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Ip } from '#/kit/index.ts';
import type { HashBy } from '#/model/index.ts';
import { aRequest, type RequestParts } from '../test-requests.ts';
import { hashText } from './hash.ts';
import { hashKey } from './hash-key.ts';
import { subsetFilter } from './subset.ts';
import { warmUpFactor } from './warm-up.ts';

const client = '10.0.0.1' as Ip;

test('what a request is hashed by', () => {
  const rows: readonly [HashBy['by'], string, RequestParts, string | undefined][] = [
    [{ kind: 'source-ip' }, 'GET /', {}, '10.0.0.1'],
    [{ kind: 'header', name: 'X-User' }, 'GET /', { headers: { 'x-user': 'u' } }, 'u'],
    [{ kind: 'header', name: 'x-user' }, 'GET /', {}, undefined],
    [{ kind: 'header', name: 'host' }, 'GET /', { authority: 'h' }, 'h'],
    [{ kind: 'query', name: 'u' }, 'GET /?u=1&u=2', {}, '1'],
    [{ kind: 'query', name: 'u' }, 'GET /?v=1', {}, undefined],
    [{ kind: 'query', name: 'u' }, 'GET /', {}, undefined],
    [{ kind: 'cookie', name: 'c' }, 'GET /', { headers: { cookie: 'a=b; c=d' } }, 'd'],
    [{ kind: 'cookie', name: 'c' }, 'GET /', { headers: { cookie: 'cc=1; c="d"' } }, 'd'],
    [{ kind: 'cookie', name: 'c' }, 'GET /', { headers: { cookie: 'cc=1' } }, undefined],
    [{ kind: 'cookie', name: 'c' }, 'GET /', {}, undefined],
  ];
  for (const [by, line, parts, wanted] of rows) {
    const key = hashKey({ by }, aRequest(line, parts), client, () => 0.5);
    assert.equal(
      key.hash,
      wanted === undefined ? undefined : hashText(wanted),
      JSON.stringify([by, line, parts]),
    );
    assert.equal(key.setCookie, undefined);
  }
});

test('a cookie that is missing is made, and leads to the same endpoint when it comes back', () => {
  const by = {
    kind: 'cookie',
    name: 'c',
    path: '/p',
    ttlSeconds: 60,
    attributes: [{ name: 'Secure' }, { name: 'SameSite', value: 'Lax' }],
  } as const;
  const made = hashKey({ by }, aRequest('GET /'), client, () => 0.5);
  assert.equal(made.setCookie, 'c="8000000080000000"; Max-Age=60; Path=/p; Secure; SameSite=Lax; HttpOnly');
  const back = hashKey(
    { by },
    aRequest('GET /', { headers: { cookie: 'c="8000000080000000"' } }),
    client,
    () => 0.1,
  );
  assert.deepEqual(back, { hash: made.hash });
  const session = hashKey(
    { by: { kind: 'cookie', name: 'c', ttlSeconds: 0 } },
    aRequest('GET /'),
    client,
    () => 0.5,
  );
  assert.equal(session.setCookie, 'c="8000000080000000"; HttpOnly');
});

test('hashes are spread evenly', () => {
  const buckets = Array.from({ length: 16 }, () => 0);
  for (let i = 0; i < 16_000; i++) {
    const at = Math.floor((hashText(`10.0.${i >> 8}.${i & 255}`) / 2 ** 32) * 16);
    buckets[at] = (buckets[at] as number) + 1;
  }
  for (const count of buckets) assert.ok(count > 850 && count < 1150, `${buckets.join()}`);
});

test('subsets', () => {
  const inSubset = subsetFilter({
    kind: 'subset-members',
    name: 'ns/svc/v1',
    service: 'ns/svc',
    subset: 'v1',
    workloads: ['a', 'b'],
  });
  assert.deepEqual(['a', 'b', 'c'].map(inSubset), [true, true, false]);
  assert.equal(subsetFilter(undefined)('a'), false);
});

test('warm-up over time', () => {
  const warmUp = { durationMs: 1000, minimumPercent: 10, aggression: 1 };
  const rows: readonly [number, number | undefined, number, number][] = [
    [1, undefined, 0, 1],
    [1, 0, 0, 0.1],
    [1, 0, 500, 0.5],
    [1, 0, 1000, 1],
    [1, 500, 0, 0.1],
    [2, 0, 250, 0.5],
    [0.5, 0, 500, 0.25],
  ];
  for (const [aggression, since, now, wanted] of rows)
    assert.ok(Math.abs(warmUpFactor({ ...warmUp, aggression }, since, now) - wanted) < 1e-9);
});
