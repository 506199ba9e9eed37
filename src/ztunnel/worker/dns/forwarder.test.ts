import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock, type Ip } from '#/kit/index.ts';
import type { DnsAnswer, DnsQuery } from '#/wire/index.ts';
import type { ForwardedQuery } from './exchange.ts';
import { flightLimit, Forwarder } from './forwarder.ts';
import { addressAnswer, aQuery, optRecord } from './test-answers.ts';

/** A forwarder, and what it asks of its one server. */
class Asked implements Disposable {
  readonly clock = new ManualClock(1_000_000);
  readonly queries: ForwardedQuery[] = [];
  readonly answers: ((answer: DnsAnswer) => void)[] = [];
  readonly forwarder = new Forwarder({
    nameservers: () => ['10.0.0.1' as Ip],
    clock: this.clock,
    ask: (_server, query) => {
      this.queries.push(query);
      const { promise, resolve } = Promise.withResolvers<DnsAnswer>();
      this.answers.push(resolve);
      return { answer: promise, [Symbol.dispose]: () => {} };
    },
  });

  /** Looks up; the server answers if it is asked. */
  async lookup(query: DnsQuery, answer = addressAnswer(query, '192.0.2.1')) {
    const found = this.forwarder.lookup(query);
    this.answers.splice(0).forEach((resolve) => resolve(answer));
    return await found;
  }

  [Symbol.dispose](): void {
    this.forwarder[Symbol.dispose]();
  }
}

test('what was answered is kept, and grows older', async () => {
  using asked = new Asked();
  assert.equal((await asked.lookup(aQuery('Example.com'))).ageSeconds, 0);
  asked.clock.advance(10_500);
  assert.equal((await asked.lookup(aQuery('example.COM'))).ageSeconds, 10);
  assert.equal(asked.queries.length, 1);
  asked.clock.advance(60_000);
  assert.equal((await asked.lookup(aQuery('example.com'))).ageSeconds, 0);
  assert.equal(asked.queries.length, 2);
});

test('what would be answered differently is asked for itself', async () => {
  using asked = new Asked();
  const queries = [
    aQuery('example.com'),
    aQuery('example.com', 'AAAA'),
    aQuery('example.org'),
    aQuery('example.com', 'A', { additionals: [optRecord({ flags: 0x8000 })] }),
    aQuery('example.com', 'A', { flags: 0x110 }),
  ];
  for (const query of queries) await asked.lookup(query);
  assert.equal(asked.queries.length, queries.length);
  await asked.lookup(aQuery('example.com', 'A', { additionals: [optRecord()] }));
  assert.equal(asked.queries.length, queries.length, 'EDNS alone makes no difference');
});

test('EDNS is asked with if the client knows it, for as much as gets through', async () => {
  using asked = new Asked();
  await asked.lookup(aQuery('a'));
  await asked.lookup(
    aQuery('b', 'A', { additionals: [optRecord({ udpPayloadSize: 65_535, flags: 0x8000 })] }),
  );
  assert.deepEqual(
    asked.queries.map(({ extension }) => extension),
    [undefined, { payloadSize: 1232, dnssecOk: true }],
  );
});

test('many who ask the same at a time are one question', async () => {
  using asked = new Asked();
  const all = Array.from({ length: 50 }, () => asked.forwarder.lookup(aQuery('example.com')));
  assert.equal(asked.queries.length, 1);
  asked.answers[0]?.(addressAnswer(aQuery('example.com'), '192.0.2.1', 0));
  assert.equal(new Set((await Promise.all(all)).map(({ answer }) => answer)).size, 1);
  await asked.lookup(aQuery('example.com'));
  assert.equal(asked.queries.length, 2, 'its life was 0');
});

test('too many questions at a time are refused', async () => {
  using asked = new Asked();
  const all = Array.from({ length: flightLimit }, (_, i) => asked.forwarder.lookup(aQuery(`n${i}`)));
  await assert.rejects(asked.forwarder.lookup(aQuery('one-more')), /too many questions/);
  const joined = asked.forwarder.lookup(aQuery('n0'));
  asked.answers.forEach((resolve, i) => resolve(addressAnswer(aQuery(`n${i}`), '192.0.2.1')));
  await Promise.all([...all, joined]);
  await asked.lookup(aQuery('one-more'));
});

test('a failure is not kept, and dispose fails what is under way', async () => {
  const asked = new Asked();
  const first = asked.forwarder.lookup(aQuery('example.com'));
  asked.clock.advance(5000);
  await assert.rejects(first, /no answer within/);
  const second = asked.forwarder.lookup(aQuery('example.com'));
  asked[Symbol.dispose]();
  await assert.rejects(second, /the pod is gone/);
  await assert.rejects(asked.forwarder.lookup(aQuery('example.com')), /the pod is gone/);
});
