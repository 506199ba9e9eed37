// How requests end: in order, or not, on every path. Each is told of once, and nothing of it stays.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HeaderMap } from '#/http/index.ts';
import { retrying, ScriptedRun } from './scripted-run.ts';

test('a request and its answer', () => {
  const run = new ScriptedRun();
  run.server.answer(200);
  run.server.send('hello');
  run.server.sendEnd(HeaderMap.of([['x', '1']]));
  assert.deepEqual(run.client.events, ['200', 'hello', 'end x,1']);
  assert.deepEqual(run.server.events, ['GET 1.']);
  assert.equal(run.outcome.details, 'via_upstream');
  assert.deepEqual(run.outcome.flags, []);
  assert.ok(run.settled);
});

test('an upstream that dies within its answer cuts the client off, and never ends it in order', () => {
  const run = new ScriptedRun({ plan: { retry: retrying } });
  run.server.answer(200, false, 100);
  run.server.send('half');
  run.server.fail();
  assert.deepEqual(run.client.events, ['200', 'half', 'reset']);
  assert.equal(run.outcome.details, 'upstream_reset_after_response_started');
  assert.deepEqual(run.outcome.flags, ['UC']);
  assert.equal(run.tries.length, 1, 'what has begun is not tried again');
  assert.ok(run.settled);
});

test('an upstream that dies before its answer: 503, or another try', async () => {
  const once = new ScriptedRun();
  once.server.fail();
  assert.equal(once.client.events[0], '503');
  assert.deepEqual(once.outcome.flags, ['UC']);
  assert.ok(once.settled);

  const again = new ScriptedRun({ plan: { retry: retrying } });
  again.server.fail();
  await again.tried(2);
  again.server.answer(204, true);
  assert.deepEqual(again.client.events, ['204.']);
  assert.equal(again.outcome.attempts, 2);
  assert.ok(again.settled);
});

test('an upstream that breaks the protocol is answered 502 for', () => {
  const run = new ScriptedRun();
  run.server.fail('protocol');
  assert.equal(run.client.events[0], '502');
  assert.deepEqual(run.outcome.flags, ['UPE']);
});

test('a client that leaves ends its try, wherever it is', () => {
  const looking = new ScriptedRun({ pickLater: true });
  looking.client.leave();
  assert.equal(looking.pickGivenUp, true);

  const waiting = new ScriptedRun();
  waiting.client.leave();
  assert.equal(waiting.tries[0]?.givenUp, true, 'the place in the pool is given back');
  assert.ok(waiting.settled);

  const asked = new ScriptedRun();
  const { server } = asked;
  asked.client.leave();
  assert.deepEqual(server.events, ['GET 1.', 'reset']);
  assert.ok(asked.settled);

  const answered = new ScriptedRun();
  answered.client.takes = false;
  answered.server.answer(200);
  answered.server.send('hello');
  answered.client.leave();
  answered.server.send('more');
  assert.ok(answered.settled, 'the window of the session to the endpoint is whole');
  assert.deepEqual(answered.client.events, ['200', 'hello']);
  for (const run of [looking, waiting, asked, answered]) assert.deepEqual(run.outcome.flags, ['DC']);
});

test('a slow client holds the upstream back; what it owes at the end is given back', () => {
  const run = new ScriptedRun();
  run.client.takes = false;
  run.server.answer(200);
  run.server.send('hello');
  assert.equal(run.server.held, 5);
  run.client.receiver?.writable();
  assert.equal(run.server.held, 0);
  run.server.send('world');
  run.server.sendEnd();
  assert.ok(run.settled, 'the kept connection has its whole window');
});

test('a body is held while nobody takes it, and given back when it has gone on', () => {
  const run = new ScriptedRun({ body: true });
  run.client.send('early');
  assert.equal(run.client.held, 5);
  const { server } = run;
  assert.equal(run.client.held, 0);
  server.takes = false;
  run.client.send('more');
  assert.equal(run.client.held, 4);
  server.receiver?.writable();
  assert.equal(run.client.held, 0);
  run.client.sendEnd();
  assert.deepEqual(server.events, ['POST 1', 'early', 'more', 'end']);
});

test('an answer before the end of the request: what still comes is taken and thrown away', () => {
  const run = new ScriptedRun({ body: true });
  run.server.takes = false;
  run.client.send('some');
  run.server.answer(413, true);
  run.client.send('more');
  run.client.sendEnd();
  assert.deepEqual(run.client.events, ['413.']);
  assert.ok(run.settled);
});

test('a body that was kept is sent again whole; one that was not is not sent again', async () => {
  const kept = new ScriptedRun({ body: true, plan: { retry: retrying } });
  kept.client.send('one');
  void kept.server;
  kept.client.send('two');
  kept.server.fail();
  kept.client.send('three');
  await kept.tried(2);
  kept.client.sendEnd();
  assert.deepEqual(kept.server.events, ['POST 2', 'one', 'two', 'three', 'end']);
  kept.server.answer(200, true);
  assert.ok(kept.settled);

  const lost = new ScriptedRun({ body: true, plan: { retry: retrying }, maxRetryBytes: 4 });
  void lost.server;
  lost.client.send('one');
  lost.client.send('two');
  lost.server.fail();
  assert.equal(lost.client.events[0], '503');
  assert.equal(lost.tries.length, 1);
  assert.ok(lost.settled);
});

test('limits of sizes: by length at once, by bytes as they come, and of the answer', () => {
  const told = new ScriptedRun({
    body: true,
    head: { contentLength: 100, expectsContinue: true },
    settings: { maxRequestBodyBytes: 10 },
  });
  assert.deepEqual(told.client.events.slice(0, 1), ['413'], 'it is not told to go on');
  assert.equal(told.tries.length, 0);

  const counted = new ScriptedRun({ body: true, settings: { maxRequestBodyBytes: 10 } });
  const { server } = counted;
  counted.client.send('01234567890');
  assert.equal(counted.client.events[0], '413');
  assert.equal(server.events.at(-1), 'reset');
  counted.client.send('more');
  assert.ok(counted.settled);

  const large = new ScriptedRun({ settings: { maxResponseBodyBytes: 10 } });
  large.server.answer(200, false, 11);
  assert.equal(large.client.events[0], '502');
  const streamed = new ScriptedRun({ settings: { maxResponseBodyBytes: 10 } });
  streamed.server.answer(200);
  streamed.server.send('01234567890');
  assert.deepEqual(streamed.client.events, ['200', 'reset']);
  assert.ok(streamed.settled);
  const bare = new ScriptedRun({ head: { method: 'HEAD' }, settings: { maxResponseBodyBytes: 10 } });
  bare.server.answer(200, true, 11);
  assert.deepEqual(bare.client.events, ['200.'], 'the length of HEAD is not one of bytes');
});

test('100-continue is said once, and interim answers pass', () => {
  const filter = {
    name: 'collects',
    apply: (request: { collectBody: ScriptedRun['run']['collectBody']; proceed(): void }) => {
      request.collectBody(100, () => request.proceed());
      return 'wait' as const;
    },
  };
  const run = new ScriptedRun({
    body: true,
    head: { contentLength: 3, expectsContinue: true },
    filters: [filter],
  });
  run.client.send('abc');
  run.client.sendEnd();
  run.server.receiver?.inform(100, new HeaderMap());
  run.server.receiver?.inform(103, new HeaderMap());
  run.server.answer(200, true);
  assert.deepEqual(run.client.events, ['inform 100', 'inform 103', '200.']);
  assert.deepEqual(run.server.events, ['POST 1', 'abc', 'end']);
});

test('a filter that wants the body of an upgrade does not wait for it', () => {
  const bodies: string[] = [];
  const run = new ScriptedRun({
    head: { upgrade: 'websocket', contentLength: undefined },
    filters: [
      {
        name: 'collects',
        apply: (request) => {
          request.collectBody(100, (body, complete) => {
            bodies.push(`${body.length} ${complete}`);
            request.proceed();
          });
          return 'wait';
        },
      },
    ],
  });
  assert.deepEqual(bodies, ['0 true']);
  assert.equal(run.tries.length, 1);
});

test('a filter is not called back once the request is over', () => {
  let called = 0;
  const run = new ScriptedRun({
    body: true,
    filters: [
      {
        name: 'collects',
        apply: (request) => {
          request.collectBody(100, () => called++);
          return 'wait';
        },
      },
    ],
  });
  run.client.send('abc');
  run.client.leave();
  run.client.sendEnd();
  assert.equal(called, 0);
  assert.ok(run.settled);
});

test('an upgrade ends half by half', () => {
  const upgrade = { upgrade: 'websocket', contentLength: undefined } as const;
  const run = new ScriptedRun({ head: upgrade });
  const { server } = run;
  server.answer(101);
  server.send('hi');
  server.sendEnd();
  assert.deepEqual(run.client.events, ['101', 'hi', 'end']);
  assert.equal(run.outcomes.length, 0);
  run.client.send('late');
  run.client.sendEnd();
  assert.deepEqual(server.events, ['GET 1', 'late', 'end']);
  assert.equal(run.outcome.status, 101);
  assert.ok(run.settled);

  const client = new ScriptedRun({ head: upgrade });
  client.server.answer(101);
  client.client.send('bye');
  client.client.sendEnd();
  assert.equal(client.outcomes.length, 0);
  client.server.sendEnd();
  assert.deepEqual(client.outcome.flags, []);
  assert.ok(client.settled);

  const cut = new ScriptedRun({ head: upgrade });
  cut.server.answer(101);
  cut.server.sendEnd();
  cut.client.leave();
  assert.equal(cut.server.events.at(-1), 'reset', 'the connection to the server does not stay');
  assert.ok(cut.settled);

  const lost = new ScriptedRun({ head: upgrade });
  lost.server.answer(101);
  lost.server.fail();
  assert.deepEqual(lost.client.events, ['101', 'reset']);
  assert.ok(lost.settled);
});

test('a deadline answers 504, or cuts what has begun', async () => {
  const late = new ScriptedRun({ plan: { timeoutMs: 5 } });
  const { server } = late;
  await late.over();
  assert.equal(late.client.events[0], '504');
  assert.equal(server.events.at(-1), 'reset');
  assert.deepEqual(late.outcome.flags, ['UT']);
  assert.ok(late.settled);

  const begun = new ScriptedRun({ plan: { timeoutMs: 5 } });
  begun.server.answer(200);
  await begun.over();
  assert.deepEqual(begun.client.events, ['200', 'reset']);
  assert.ok(begun.settled);
});

test('a body that stops short of its length is answered 408; one that waits for us is not', async () => {
  const slow = new ScriptedRun({ body: true, head: { contentLength: 10 }, bodyTimeoutMs: 5 });
  void slow.server;
  slow.client.send('half');
  await slow.over();
  assert.equal(slow.client.events[0], '408');
  assert.equal(slow.outcome.failureReason, 'the body stopped at 4 of 10 bytes');
  assert.ok(slow.settled);

  const held = new ScriptedRun({ body: true, head: { contentLength: 10 }, bodyTimeoutMs: 1 });
  held.client.send('half');
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(held.outcomes.length, 0, 'nobody has taken what came');
  held.client.leave();
});

test('what cannot be chosen or connected has its own answer', () => {
  const cases = [
    ['none', 'UH', 'no_healthy_upstream'],
    ['overflow', 'UO', 'upstream_reset_before_response_started{overflow}'],
    ['unknown', 'NC', 'cluster_not_found'],
  ] as const;
  for (const [kind, flag, details] of cases) {
    const run = new ScriptedRun({
      pickFailure: { kind, message: 'because' },
      plan: { retry: retrying },
    });
    assert.match(run.client.events[0] ?? '', /^503/);
    assert.deepEqual(run.outcome.flags, [flag]);
    assert.equal(run.outcome.details, details);
    assert.equal(run.outcome.failureReason, 'because');
  }
  const refused = new ScriptedRun();
  refused.tries[0]?.refuse();
  assert.deepEqual(refused.outcome.flags, ['UF']);
  assert.ok(refused.settled);
});

test('a request is answered once, whoever tries', () => {
  const run = new ScriptedRun();
  const { server } = run;
  run.run.reply({ status: 403, body: 'no', details: 'a' });
  run.run.reply({ status: 500, body: 'no', details: 'b' });
  server.answer(200, true);
  run.client.leave();
  assert.deepEqual(run.client.events, ['403', 'no', 'end']);
  assert.equal(run.outcome.details, 'a');
});
