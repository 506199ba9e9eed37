import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Ip } from '#/kit/index.ts';
import { identityOf, type DescriptorAction, type HttpSubject, type LocalRateLimit } from '#/model/index.ts';
import { descriptorsOf, LocalRateLimiter, TokenBucket } from './index.ts';

const taken = (take: () => boolean, times: number): number =>
  Array.from({ length: times }, take).filter((ok) => ok).length;

test('a bucket gives what it holds, and is filled at whole intervals', () => {
  const bucket = new TokenBucket(3, 2, 1000, 500);
  assert.equal(
    taken(() => bucket.take(500), 5),
    3,
  );
  assert.equal(bucket.take(1499), false);
  assert.equal(
    taken(() => bucket.take(1500), 5),
    2,
  );
  assert.equal(bucket.remaining, 0);
  assert.equal(
    taken(() => bucket.take(1_000_000), 9),
    3,
    'never more than it holds',
  );
  assert.equal(bucket.take(0), false, 'a clock that goes back fills nothing');
});

const config = (per: LocalRateLimit['per'], maxTokens: number): LocalRateLimit => ({
  maxTokens,
  tokensPerFill: maxTokens,
  intervalMs: 1000,
  per,
  status: 429,
});

test('a limit of the waypoint is shared out over its workers', () => {
  const limiter = new LocalRateLimiter(config('waypoint', 10), 4);
  const now = { ms: 0 };
  const perSecond = (): number => taken(() => limiter.take({}, now.ms), 100);
  let sum = 0;
  for (; now.ms < 100_000; now.ms += 1000) sum += perSecond();
  assert.ok(sum > 190 && sum <= 252, `${sum} of 250`);
  assert.equal(
    taken(() => new LocalRateLimiter(config('waypoint', 2), 8).take({}, 0), 1),
    1,
  );
  assert.equal(new LocalRateLimiter(config('waypoint', 0), 1).take({}, 0), false);
});

test('a limit of a connection is kept for each', () => {
  const limiter = new LocalRateLimiter(config('connection', 2), 4);
  const [one, other] = [{}, {}];
  assert.equal(
    taken(() => limiter.take(one, 0), 5),
    2,
  );
  assert.equal(
    taken(() => limiter.take(other, 0), 5),
    2,
  );
});

const subject: HttpSubject = {
  request: {
    method: 'GET',
    scheme: 'http',
    authority: 'shop',
    path: '/a',
    query: 'b=1',
    headers: new Map([
      ['x-user', 'alice'],
      ['x-empty', ''],
    ]),
    version: '1.1',
    grpc: false,
  },
  connection: {
    identity: identityOf('td', 'a', 'b'),
    source: { ip: '10.0.0.1' as Ip, port: 1 },
    destination: { ip: '10.0.0.2' as Ip, port: 80 },
    service: undefined,
    workload: undefined,
    sni: undefined,
  },
  remoteIp: '192.0.2.1' as Ip,
  token: undefined,
};

const header = (name: string, skipIfAbsent: boolean): DescriptorAction => ({
  kind: 'request-header',
  header: name,
  key: name,
  skipIfAbsent,
});

test('descriptors are filled from the request', () => {
  const shown = (...actions: DescriptorAction[]): string[] =>
    descriptorsOf([actions], subject).map((entries) =>
      entries.map(({ key, value }) => `${key}=${value}`).join(' '),
    );
  assert.deepEqual(
    shown(
      { kind: 'generic-key', key: '', value: 'v' },
      { kind: 'remote-address' },
      { kind: 'source-principal', key: 'who' },
      { kind: 'path', key: 'p' },
      { kind: 'method', key: 'm' },
      header('x-user', false),
    ),
    ['generic_key=v remote_address=192.0.2.1 who=spiffe://td/ns/a/sa/b p=/a m=GET x-user=alice'],
  );
  assert.deepEqual(shown(header('x-user', false), header('x-none', true)), ['x-user=alice']);
  assert.deepEqual(shown(header('x-user', false), header('x-none', false)), []);
  assert.deepEqual(shown(header('x-empty', false)), []);
  assert.deepEqual(shown(header('x-none', true)), []);
});
