import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { GlobalRateLimit } from '#/model/index.ts';
import { rateLimitMethod } from '#/wire/index.ts';
import { ExternalChannels, RateLimitClient, type LimitAnswer } from './index.ts';
import { deadAddress, grpcError, unaryServer, type Running } from './test-services.ts';

type ResponseInit = Parameters<typeof rateLimitMethod.response.encode>[0];
type LimitRequest = ReturnType<typeof rateLimitMethod.request.decode>;

const config = (
  { address }: Pick<Running, 'address'>,
  changes: Partial<GlobalRateLimit> = {},
): GlobalRateLimit => ({
  server: address,
  domain: 'shop',
  descriptors: [],
  timeoutMs: 30_000,
  failOpen: false,
  ...changes,
});
const descriptors = [[{ key: 'user', value: 'alice' }], [{ key: 'path', value: '/a' }]];

async function ask(
  script: (request: LimitRequest) => ResponseInit | Error | undefined,
  changes: Partial<GlobalRateLimit> = {},
): Promise<LimitAnswer> {
  await using server = await unaryServer(rateLimitMethod, script);
  using channels = new ExternalChannels();
  return await new RateLimitClient(channels).limit(config(server, changes), descriptors);
}

test('the service is told the domain and what to count', async () => {
  let asked: LimitRequest | undefined;
  const answer = await ask((request) => {
    asked = request;
    return {
      overallCode: 1,
      requestHeadersToAdd: [{ key: 'X-Quota', value: '3' }],
      responseHeadersToAdd: [{ key: 'x-left', rawValue: Buffer.from('2') }],
    };
  });
  assert.equal(asked?.domain, 'shop');
  assert.deepEqual(
    asked.descriptors.map(({ entries }) => entries.map(({ key, value }) => [key, value])),
    [[['user', 'alice']], [['path', '/a']]],
  );
  assert.deepEqual(answer, {
    limited: false,
    failedOpen: false,
    requestHeaders: [{ name: 'x-quota', value: '3', action: 'append' }],
    responseHeaders: [{ name: 'x-left', value: '2', action: 'append' }],
  });
});

test('over the limit is 429', async () => {
  const answer = await ask(() => ({
    overallCode: 2,
    responseHeadersToAdd: [{ key: 'retry-after', value: '1' }],
    rawBody: Buffer.from('slow down'),
  }));
  assert.deepEqual(answer, {
    limited: true,
    status: 429,
    headers: [
      { name: 'x-envoy-ratelimited', value: 'true' },
      { name: 'retry-after', value: '1' },
    ],
    body: Buffer.from('slow down'),
    details: 'request_rate_limited',
  });
});

const broken: readonly (readonly [string, ResponseInit | Error | undefined])[] = [
  ['an error', grpcError(14)],
  ['an answer without a code', {}],
  ['silence', undefined],
];

for (const [name, response] of broken)
  test(`${name}: refused, or let through if configured`, async () => {
    const timeoutMs = response === undefined ? 50 : 30_000;
    const closed = await ask(() => response, { timeoutMs });
    assert.ok(closed.limited && closed.status === 500 && closed.details === 'rate_limiter_error');
    assert.match(closed.error ?? '', /^rate limit of domain shop: /);
    const open = await ask(() => response, { timeoutMs, failOpen: true });
    assert.ok(!open.limited && open.failedOpen);
  });

test('a dead service refuses; without descriptors nobody is asked', async () => {
  using channels = new ExternalChannels();
  const client = new RateLimitClient(channels);
  const dead = config({ address: await deadAddress() });
  assert.equal((await client.limit(dead, descriptors)).limited, true);
  assert.equal((await client.limit(dead, [])).limited, false);
  assert.deepEqual(
    { ...client.counters },
    { ok: 0, denied: 0, failed: 1, failedOpen: 0, timeouts: 0, overloaded: 0 },
  );
});
