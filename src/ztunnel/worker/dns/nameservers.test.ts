import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLogger, ManualClock } from '#/kit/index.ts';
import { Nameservers, parseResolvConf } from './nameservers.ts';

test('the name servers of a resolv.conf', () => {
  for (const [text, expected] of [
    ['', []],
    ['nameserver 10.96.0.10\n', ['10.96.0.10']],
    [
      'search a b\n  nameserver\t10.0.0.1 # one\nnameserver FD00::0A\r\noptions ndots:5',
      ['10.0.0.1', 'fd00::a'],
    ],
    ['#nameserver 10.0.0.1\n; nameserver 10.0.0.1\nnameserver10.0.0.1\nnameserver\n', []],
    ['nameserver fe80::1%eth0\nnameserver dns.example\nnameserver 1.2.3\nnameserver 10.0.0.2', ['10.0.0.2']],
    ['nameserver 10.0.0.1\n'.repeat(3), ['10.0.0.1']],
    [[1, 2, 3, 4].map((n) => `nameserver 10.0.0.${n}`).join('\n'), ['10.0.0.1', '10.0.0.2', '10.0.0.3']],
  ] as const)
    assert.deepEqual(parseResolvConf(text), expected, text);
});

test('the file is read again, but not for every question; a lost file changes nothing', () => {
  const clock = new ManualClock();
  const lines: string[] = [];
  const log = createLogger({ level: 'warn', format: 'plain', write: (line) => lines.push(line) }, 'dns');
  let text: string | undefined = '';
  let reads = 0;
  const servers = new Nameservers(
    () => {
      reads++;
      if (text === undefined) throw new Error('gone');
      return text;
    },
    clock,
    log,
  );
  assert.deepEqual(servers.list(), []);
  text = 'nameserver 10.0.0.1';
  assert.deepEqual(servers.list(), []);
  assert.deepEqual([reads, lines.length], [1, 1]);
  assert.match(lines[0] ?? '', /warn\tdns\tresolv.conf is of no use.*it names no name server/);
  clock.advance(5000);
  assert.deepEqual(servers.list(), ['10.0.0.1']);
  text = undefined;
  clock.advance(5000);
  assert.deepEqual([servers.list(), reads], [['10.0.0.1'], 3]);
  text = '';
  clock.advance(5000);
  assert.deepEqual([servers.list(), lines.length], [[], 2]);
  clock.advance(5000);
  servers.list();
  assert.equal(lines.length, 2, 'said once');
});
