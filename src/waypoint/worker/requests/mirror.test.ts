import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HeaderMap, type ClientExchange, type RequestHead, type ResponseReceiver } from '#/http/index.ts';
import type { EndpointOutcome } from '../upstream/cluster.ts';
import type { ClientConnectionContext, HttpEngine } from './client-connection.ts';
import { mirrorStats, sendMirror } from './mirror.ts';
import { RequestBody } from './request-body.ts';
import type { RequestRun } from './request-run.ts';

/** A request with a body that the test sends, and the copy's destination. */
function setUp({ ended = false, takes = true } = {}) {
  const events: string[] = [];
  const outcomes: EndpointOutcome[] = [];
  let begun = 0;
  let given = 0;
  let receiver: ResponseReceiver | undefined;
  let connect: (() => void) | undefined;
  const head: RequestHead = {
    version: '1.1',
    method: 'POST',
    scheme: 'http',
    authority: 'app',
    path: '/',
    query: undefined,
    headers: new HeaderMap(),
    upgrade: undefined,
    contentLength: undefined,
    expectsContinue: true,
  };
  const body = new RequestBody(ended, 1000, (bytes) => (given += bytes));
  const exchange: ClientExchange = {
    write: (chunk) => {
      events.push(chunk.toString('latin1'));
      return takes;
    },
    end: () => void events.push('end'),
    consumed: () => {},
    reset: () => void events.push('reset'),
  };
  const endpoint = {
    begin: () => begun++,
    finish: (outcome: EndpointOutcome) => outcomes.push(outcome),
    connection: (
      _head: unknown,
      _ms: unknown,
      done: (connection: { request: (...args: unknown[]) => ClientExchange } | undefined) => void,
    ) => {
      connect = () =>
        done({
          request: (sent, whole, told) => {
            const { authority, expectsContinue } = sent as RequestHead;
            events.push(`${authority} ${String(expectsContinue)} ${String(whole)}`);
            receiver = told as ResponseReceiver;
            return exchange;
          },
        });
    },
  };
  const engine: unknown = {
    clusters: { pick: (_at: unknown, done: (one: typeof endpoint) => void) => done(endpoint) },
  };
  const client: unknown = { config: { routing: { settings: { resolve: () => ({}) } } } };
  const run: unknown = { head, requestBody: body };
  sendMirror(engine as HttpEngine, client as ClientConnectionContext, run as RequestRun, {
    service: 'ns/copy',
    port: 80,
  });
  return {
    body,
    events,
    outcomes,
    begun: () => begun,
    given: () => given,
    connect: () => connect?.(),
    answer: (status: number, whole: boolean) =>
      receiver?.head({ status, headers: new HeaderMap(), contentLength: undefined }, whole),
    answerEnd: () => receiver?.end(),
  };
}
const target = (): ClientExchange => ({
  write: () => true,
  end: () => {},
  consumed: () => {},
  reset: () => {},
});

test('a copy gets the body, and its answer counts for its endpoint', () => {
  const copy = setUp();
  copy.body.data(Buffer.from('one'));
  copy.connect();
  copy.body.data(Buffer.from('two'));
  copy.body.end(undefined);
  assert.deepEqual(copy.events, ['app-shadow false false', 'one', 'two', 'end']);
  copy.answer(503, false);
  copy.answerEnd();
  copy.body.close();
  assert.deepEqual(copy.outcomes, [{ kind: 'response', status: 503 }]);
  assert.equal(copy.begun(), 1);
});

test('a copy that does not keep up is given up, and counts no more', () => {
  const before = mirrorStats.dropped;
  const copy = setUp({ takes: false });
  copy.connect();
  copy.body.data(Buffer.from('one'));
  copy.body.data(Buffer.from('two'));
  assert.deepEqual(copy.events.slice(1), ['one', 'reset']);
  assert.deepEqual(copy.outcomes, [{ kind: 'abandoned' }]);
  assert.equal(mirrorStats.dropped, before + 1);
});

test('a request that is cut takes its copies with it, those that are not connected yet as well', () => {
  const copy = setUp();
  copy.connect();
  copy.body.data(Buffer.from('one'));
  copy.body.close();
  assert.equal(copy.events.at(-1), 'reset');
  assert.deepEqual(copy.outcomes, [{ kind: 'abandoned' }]);

  const late = setUp();
  late.body.data(Buffer.from('one'));
  late.body.close();
  late.connect();
  assert.deepEqual(late.events, ['app-shadow false false', 'reset']);
  assert.deepEqual(late.outcomes, [{ kind: 'abandoned' }]);
});

test('a copy that comes after a part was sent and is not kept gets nothing of it', () => {
  const copy = setUp();
  copy.body.forget();
  copy.body.sendTo(target());
  copy.body.data(Buffer.from('one'));
  copy.connect();
  assert.equal(copy.events.at(-1), 'reset');
  const early = setUp();
  early.body.forget();
  early.body.sendTo(target());
  early.connect();
  early.body.data(Buffer.from('one'));
  assert.equal(early.events.at(-1), 'one', 'nothing had come before');
});
