import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import {
  backoffDelay,
  cidrContains,
  createLogger,
  formatCidr,
  formatIp,
  formatSocketAddress,
  Lru,
  ManualClock,
  parseCidr,
  parseHostPort,
  parseIp,
  parseIpBytes,
  parseSocketAddress,
  SingleFlight,
  timestamp,
  unmapV4,
} from './index.ts';

suite('addresses', () => {
  const canonical: readonly (readonly [string, string | undefined])[] = [
    ['10.0.0.1', '10.0.0.1'],
    ['010.0.0.1', undefined],
    ['10.0.0.256', undefined],
    ['10.0.0', undefined],
    ['::', '::'],
    ['::1', '::1'],
    ['FD00:0:0:0:0:0:0:1', 'fd00::1'],
    ['1:0:0:2:0:0:0:3', '1:0:0:2::3'],
    ['1:2:3:4:5:6:7:8', '1:2:3:4:5:6:7:8'],
    ['1:2:3:4:5:6:7::', '1:2:3:4:5:6:7:0'],
    ['::ffff:10.0.0.1', '::ffff:a00:1'],
    [':::', undefined],
    ['1::2::3', undefined],
    ['1:2:3:4:5:6:7:8:9', undefined],
    ['12345::', undefined],
    ['', undefined],
  ];
  for (const [text, expected] of canonical)
    test(`${JSON.stringify(text)} is ${expected ?? 'no address'}`, () =>
      assert.equal(parseIp(text), expected));

  test('bytes and text agree for random addresses', () => {
    let seed = 7;
    const byte = () => (seed = (seed * 1103515245 + 12345) & 0x7fffffff) & 0xff;
    for (let i = 0; i < 2000; i++) {
      const bytes = Uint8Array.from({ length: i % 2 === 0 ? 4 : 16 }, () =>
        i % 3 === 0 ? byte() & 1 : byte(),
      );
      assert.deepEqual(parseIpBytes(formatIp(bytes)), bytes);
    }
  });

  test('ranges', () => {
    const within = (range: string, ip: string) => cidrContains(parseCidr(range)!, parseIpBytes(ip)!);
    assert.equal(within('10.0.0.0/8', '10.255.0.1'), true);
    assert.equal(within('10.0.0.0/9', '10.128.0.1'), false);
    assert.equal(within('0.0.0.0/0', '1.2.3.4'), true);
    assert.equal(within('0.0.0.0/0', '::1'), false);
    assert.equal(within('10.0.0.7', '10.0.0.7'), true);
    assert.equal(formatCidr(parseCidr('10.1.2.3/8')!), '10.0.0.0/8');
    for (const bad of ['10.0.0.0/33', '10.0.0.0/', '10.0.0.0/08', 'x/8', '::/129'])
      assert.equal(parseCidr(bad), undefined, bad);
  });

  test('sockets and hosts with ports', () => {
    assert.deepEqual(parseSocketAddress('[fd00::1]:80'), { ip: 'fd00::1', port: 80 });
    assert.equal(formatSocketAddress('fd00::1', 80), '[fd00::1]:80');
    assert.deepEqual(parseHostPort('web.default:80'), { host: 'web.default', port: 80 });
    for (const bad of ['fd00::1:80', '[10.0.0.1]:80', '10.0.0.1:65536', ':80', '10.0.0.1:', 'a:b'])
      assert.equal(parseHostPort(bad), undefined, bad);
    assert.equal(parseSocketAddress('web:80'), undefined);
    assert.equal(unmapV4('::ffff:10.0.0.1'), '10.0.0.1');
    assert.equal(unmapV4('fd00::1'), 'fd00::1');
  });
});

suite('time', () => {
  test('delays double up to the limit', () => {
    const options = { initial: 10, max: 100 };
    assert.deepEqual(
      [0, 1, 2, 3, 4, 500].map((n) => backoffDelay(options, n)),
      [10, 20, 40, 80, 100, 100],
    );
    assert.equal(
      backoffDelay({ ...options, jitter: 0.2 }, 0, () => 0),
      8,
    );
  });

  test('a manual clock runs what falls due, in order', async () => {
    const clock = new ManualClock(1000);
    const seen: string[] = [];
    clock.after(20, () => seen.push('b'));
    clock.after(10, () => {
      seen.push('a');
      clock.after(5, () => seen.push('a2'));
    });
    const cancelled = clock.after(15, () => seen.push('never'));
    cancelled[Symbol.dispose]();
    const slept = clock.sleep(12).then(() => seen.push('slept'));
    clock.advance(30);
    await slept;
    assert.deepEqual(seen, ['a', 'a2', 'b', 'slept']);
    assert.equal(clock.now(), 1030);
  });

  test('a sleep ends with the signal', async () => {
    const abort = new AbortController();
    const slept = new ManualClock().sleep(10, abort.signal);
    abort.abort(new Error('stop'));
    await assert.rejects(slept, /stop/);
  });
});

suite('log lines', () => {
  test('plain', () => {
    const lines: string[] = [];
    const log = createLogger(
      { level: 'info', format: 'plain', write: (line) => lines.push(line), now: () => 0 },
      'a',
    );
    log.debug('no');
    log.scope('b').warn('yes', { name: 'x y', bare: 'ns/a-1', n: 1, none: undefined });
    assert.deepEqual(lines, ['1970-01-01T00:00:00.000000Z\twarn\tb\tyes\tname="x y" bare=ns/a-1 n=1\n']);
  });
  test('JSON, and a level that changes', () => {
    const lines: string[] = [];
    let level: 'info' | 'debug' = 'info';
    const log = createLogger(
      { level: () => level, format: 'json', write: (line) => lines.push(line), now: () => 0 },
      'a',
    );
    log.debug('no');
    level = 'debug';
    log.debug('yes', { k: 'v' });
    assert.deepEqual(
      lines.map((line) => JSON.parse(line) as unknown),
      [{ level: 'debug', time: '1970-01-01T00:00:00.000000Z', scope: 'a', message: 'yes', k: 'v' }],
    );
  });
  test('microseconds', () => assert.equal(timestamp(1234.567), '1970-01-01T00:00:01.234567Z'));
});

suite('bounded things', () => {
  test('the entry used longest ago leaves', () => {
    const gone: string[] = [];
    const lru = new Lru<string, number>(2, (key) => gone.push(key));
    lru.set('a', 1);
    lru.set('b', 2);
    lru.get('a');
    lru.set('c', 3);
    assert.deepEqual(gone, ['b']);
    assert.deepEqual([...lru.keys()], ['a', 'c']);
    assert.equal(lru.evicted, 1);
  });

  test('concurrent calls for one key become one', async () => {
    const flights = new SingleFlight<string, number>();
    let calls = 0;
    const call = () => flights.do('k', async () => ++calls);
    assert.deepEqual(await Promise.all([call(), call()]), [1, 1]);
    assert.equal(await call(), 2);
    await assert.rejects(
      flights.do('k', () => Promise.reject(new Error('no'))),
      /no/,
    );
    assert.equal(flights.size, 0);
  });
});
