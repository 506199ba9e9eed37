import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { ManualClock, type Ip } from '#/kit/index.ts';
import type { DnsAnswer } from '#/wire/index.ts';
import { askServers } from './ask-servers.ts';
import { addressAnswer, anAnswer, aQuery } from './test-answers.ts';

const query = aQuery('example.com');
const good = addressAnswer(query, '192.0.2.1');
const refused = anAnswer(query, {}, 5);
const [one, two] = ['10.0.0.1', '10.0.0.2'] as Ip[];
const turn = () => new Promise((resolve) => setImmediate(resolve));

/** Servers that answer when the test says so. */
class Servers {
  readonly clock = new ManualClock();
  readonly gone = new AbortController();
  readonly asked: Ip[] = [];
  readonly ends: { resolve: (answer: DnsAnswer) => void; reject: (error: Error) => void; open: boolean }[] =
    [];
  outcome: DnsAnswer | Error | undefined;

  constructor(...servers: (Ip | undefined)[]) {
    askServers({
      servers: servers as Ip[],
      clock: this.clock,
      gone: this.gone.signal,
      ask: (server) => {
        this.asked.push(server);
        const { promise, resolve, reject } = Promise.withResolvers<DnsAnswer>();
        const end = { resolve, reject, open: true };
        this.ends.push(end);
        return { answer: promise, [Symbol.dispose]: () => void (end.open = false) };
      },
    }).then(
      (answer) => (this.outcome = answer),
      (error: Error) => (this.outcome = error),
    );
  }

  async say(index: number, what: DnsAnswer | Error): Promise<void> {
    const end = this.ends[index];
    assert.ok(end !== undefined, `no question ${index}`);
    if (what instanceof Error) end.reject(what);
    else end.resolve(what);
    await turn();
  }

  get failure(): string | undefined {
    return this.outcome instanceof Error ? this.outcome.message : undefined;
  }

  get open(): number {
    return this.ends.filter(({ open }) => open).length;
  }
}

suite('name servers are asked in turn', () => {
  test('the first answers', async () => {
    const servers = new Servers(one, two);
    await servers.say(0, good);
    assert.deepEqual([servers.outcome, servers.asked, servers.open], [good, [one], 0]);
  });

  test('NXDOMAIN is an answer', async () => {
    const servers = new Servers(one, two);
    const none = anAnswer(query, {}, 3);
    await servers.say(0, none);
    assert.deepEqual([servers.outcome, servers.asked], [none, [one]]);
  });

  for (const [what, first] of [
    ['fails', new Error('Connection refused')],
    ['refuses', refused],
  ] as const)
    test(`the first ${what}: the second at once`, async () => {
      const servers = new Servers(one, two);
      await servers.say(0, first);
      assert.deepEqual(servers.asked, [one, two]);
      await servers.say(1, good);
      assert.deepEqual([servers.outcome, servers.open], [good, 0]);
    });

  test('the first is silent: the second soon, and whoever answers first counts', async () => {
    const servers = new Servers(one, two);
    servers.clock.advance(1199);
    assert.deepEqual(servers.asked, [one]);
    servers.clock.advance(1);
    assert.deepEqual([servers.asked, servers.open], [[one, two], 2]);
    await servers.say(0, good);
    assert.deepEqual([servers.outcome, servers.open], [good, 0]);
    await servers.say(1, refused);
    assert.equal(servers.outcome, good);
  });

  test('all refuse: what the last one said', async () => {
    const servers = new Servers(one);
    await servers.say(0, anAnswer(query, {}, 2));
    await servers.say(1, refused);
    assert.deepEqual([servers.outcome, servers.asked], [refused, [one, one]]);
  });

  test('a refusal counts though others are silent, but only in the end', async () => {
    const servers = new Servers(one, two);
    servers.clock.advance(1200);
    await servers.say(1, refused);
    assert.equal(servers.outcome, undefined);
    servers.clock.advance(3300);
    await turn();
    assert.deepEqual([servers.outcome, servers.open], [refused, 0]);
  });

  test('nobody answers', async () => {
    const servers = new Servers(one);
    servers.clock.advance(4499);
    await turn();
    assert.equal(servers.outcome, undefined);
    servers.clock.advance(1);
    await turn();
    assert.match(servers.failure ?? '', /^no answer within 4.5 s$/);
    assert.deepEqual([servers.asked.length, servers.open], [2, 0]);
  });

  test('all fail: why', async () => {
    const servers = new Servers(one);
    await servers.say(0, new Error('Connection refused'));
    await servers.say(1, new Error('Connection refused'));
    assert.equal(servers.failure, '10.0.0.1: Connection refused');
  });

  test('no more than four times, however many servers', async () => {
    const servers = new Servers(...(['1', '2', '3'].map((n) => `10.0.0.${n}`) as Ip[]));
    for (let i = 0; i < 4; i++) await servers.say(i, new Error('x'));
    assert.deepEqual([servers.asked.length, servers.outcome instanceof Error], [4, true]);
  });

  test('there is none', async () => {
    const servers = new Servers();
    await turn();
    assert.match(servers.failure ?? '', /no name server/);
  });

  test('the pod goes', async () => {
    const servers = new Servers(one, two);
    servers.gone.abort();
    await turn();
    assert.deepEqual([servers.failure, servers.open], ['the pod is gone', 0]);
  });
});
