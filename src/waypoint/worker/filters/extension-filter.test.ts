import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { silentLogger, systemClock } from '#/kit/index.ts';
import type { Extension } from '#/model/index.ts';
import { ExtensionHosts } from '../../extensions/index.ts';
import { TestRun, type TestRequest } from '../requests/test-run.ts';
import { extensionFilters } from './extension-filter.ts';

const hosts = new ExtensionHosts(systemClock, silentLogger);
after(() => hosts.destroy());
let names = 0;

const extension = (module: string, changes: Partial<Extension> = {}): Extension => ({
  kind: 'extension',
  name: `shop/${++names}`,
  targets: [],
  phase: 'UNSPECIFIED',
  priority: 0,
  module: `export default { ${module} }`,
  language: 'typescript',
  config: null,
  onFailure: 'refuse',
  timeoutMs: 60_000,
  memoryMb: 64,
  ...changes,
});

const run = (extensions: readonly Extension[], request?: TestRequest): TestRun =>
  new TestRun(extensionFilters(hosts, extensions, 'UNSPECIFIED'), request);

test('a request and its response pass a filter, with their state; it is told of the end', async () => {
  const one = extension(`
    onRequest(request, { state, claims }) {
      state.at = request.path; request.headers.set('x-user', claims.sub); request.path = '/v2' + request.path;
    },
    onResponse(response, { state }) { response.headers.set('x-at', state.at + ' ' + response.status); },
    onLog(record, { log }) { log(record.path + ' ' + record.status); },`);
  const passing = await run([one], { query: 'a=1', claims: { sub: 'ann' } }).asked();
  const { client, destination } = passing;
  assert.equal(destination.target, '/v2/items?a=1');
  assert.equal(destination.headers.get('x-user'), 'ann');
  destination.answer(200);
  destination.send('he');
  // What comes while the head is held back keeps its window.
  assert.equal(destination.window, 0);
  destination.send('llo');
  destination.sendEnd();
  await passing.over();
  assert.equal(client.text, 'hello');
  assert.equal(client.head?.headers.get('x-at'), '/items?a=1 200');
  assert.equal(destination.window, 5);
  await passing.until(() => hosts.of(one).inFlight === 0);
  assert.equal(hosts.of(one).counters.calls, 3);
});

test('its own answer: nothing is sent on, and it is not asked about that again', async () => {
  const one = extension(`
    onRequest() { return { status: 403, headers: { 'Content-Type': 'text/html', 'x-why': 'bot' }, body: '<p>' }; },
    onResponse() { throw new Error('not asked'); },`);
  const { client, destination, outcome } = await run([one]).over();
  assert.ok(!destination.asked && client.ended);
  assert.equal(client.status, 403);
  assert.equal(client.text, '<p>');
  assert.deepEqual(client.head?.headers.all('content-type'), ['text/html']);
  assert.equal(outcome?.details, 'extension_reply');
});

test('several: requests in their order, responses in the other', async () => {
  const marking = (name: string) =>
    extension(`
      onRequest({ headers }) { headers.add('x-seen', '${name}') },
      onResponse({ headers }) { headers.add('x-seen', '${name}') },`);
  const one = await run([marking('a'), marking('b')]).asked();
  assert.equal(one.destination.headers.get('x-seen'), 'a,b');
  one.destination.answer(200, [], true);
  await one.over();
  assert.equal(one.client.head?.headers.get('x-seen'), 'b,a');
});

test('bodies: seen, replaced, or answered; one that is too long is only seen as it begins', async () => {
  const one = extension(`
    onRequestBody(body) {
      if (body.text === 'bad') return { status: 422, body: 'no' };
      if (body.complete) return { body: body.text.toUpperCase() };
      if (body.text.endsWith('x')) return { body: 'not possible' };
    },`);
  const send = (text: string): TestRun => {
    const sent = run([one], { method: 'POST', body: true });
    sent.client.send(text.slice(0, 1));
    sent.client.send(text.slice(1));
    sent.client.sendEnd();
    return sent;
  };
  const replaced = (await send('good').asked()).destination;
  assert.deepEqual([replaced.text, replaced.contentLength, replaced.ended], ['GOOD', 4, true]);
  const refused = await send('bad').over();
  assert.deepEqual([refused.client.status, refused.destination.asked], [422, false]);
  const long = (await send('y'.repeat(70_000)).asked()).destination;
  assert.equal(long.text.length, 70_000);
  assert.equal((await send('x'.repeat(70_000)).over()).outcome?.details, 'extension_failed');
  assert.ok((await run([one]).asked()).destination.ended);
});

test('a failure refuses with 500, or passes without it', async () => {
  const failing = 'onRequest() { throw new Error("no") }, onResponse() { throw new Error("no") }';
  const refused = await run([extension(failing)]).over();
  assert.deepEqual(
    [refused.client.status, refused.outcome?.details, refused.outcome?.flags, refused.destination.asked],
    [500, 'extension_failed', [], false],
  );
  const skip = extension(failing, { onFailure: 'skip' });
  const skipped = await run([skip]).asked();
  skipped.destination.answer(204, [], true);
  await skipped.over();
  assert.equal(skipped.client.status, 204);
  assert.deepEqual(hosts.of(skip).counters, {
    calls: 1,
    failures: 1,
    timeouts: 0,
    restarts: 0,
    skipped: 1,
  });
});

test('a response that it fails on becomes 500, or passes; one that it replaces is given up', async () => {
  const failing = 'onResponse() { throw new Error("no") }';
  const refused = await run([extension(failing)]).asked();
  refused.destination.answer(200);
  refused.destination.send('hello');
  await refused.over();
  assert.deepEqual([refused.client.status, refused.client.text], [500, '']);
  assert.ok(refused.destination.wasReset);
  assert.equal(refused.destination.window, 5);
  const skipped = await run([extension(failing, { onFailure: 'skip' })]).asked();
  skipped.destination.answer(200);
  skipped.destination.send('hello');
  skipped.destination.sendEnd();
  await skipped.over();
  assert.deepEqual([skipped.client.status, skipped.client.text], [200, 'hello']);
  const replaced = await run([extension('onResponse() { return { status: 503, body: "later" } }')]).asked();
  replaced.destination.answer(500);
  await replaced.over();
  assert.deepEqual([replaced.client.status, replaced.client.text], [503, 'later']);
  assert.ok(replaced.destination.wasReset);
});

test('the destination fails while its head is held back: the client gets one answer', async () => {
  const one = await run([extension('onResponse() {}')]).asked();
  one.destination.answer(200);
  one.destination.fail();
  await one.over();
  assert.deepEqual([one.client.status, one.outcome?.flags], [503, ['UC']]);
});

test('answers of the proxy itself pass it as well', async () => {
  const one = await run([extension('onResponse(r) { r.headers.set("x-seen", "1") }')]).asked();
  one.destination.fail();
  await one.over();
  assert.deepEqual([one.client.status, one.client.head?.headers.get('x-seen')], [503, '1']);
  assert.match(one.client.text, /reset reason/);
});

test('a client that leaves while it is asked: nothing is sent on', async () => {
  const one = run([extension('onRequest() {}')]);
  one.client.leave();
  await one.over();
  assert.deepEqual([one.outcome?.status, one.destination.asked], [0, false]);
});

test('an upgrade: its heads pass, its bytes are nobody’s', async () => {
  const one = await run(
    [extension('onRequestBody() { throw 1 }, onResponse(r) { r.headers.set("x-seen", String(r.status)) }')],
    { upgrade: 'websocket' },
  ).asked();
  one.destination.answer(101);
  one.destination.send('hello');
  await one.until(({ client }) => client.text === 'hello');
  assert.deepEqual([one.client.status, one.client.head?.headers.get('x-seen')], [101, '101']);
  one.client.send('there');
  assert.equal(one.destination.text, 'there');
  one.client.sendEnd();
  one.destination.sendEnd();
  await one.over();
});

test('a later filter that throws costs this request alone', async () => {
  const throwing = { name: 'x', apply: () => assert.fail('scripted') };
  const one = new TestRun([
    ...extensionFilters(hosts, [extension('onRequest() {}')], 'UNSPECIFIED'),
    throwing,
  ]);
  await one.over();
  assert.deepEqual([one.client.status, one.outcome?.details], [500, 'internal_error']);
});

test('phases are sorted by place, and by priority in it', () => {
  const at = (phase: Extension['phase']): Extension => extension('onRequest() {}', { phase });
  const all = [at('STATS'), at('AUTHN'), at('UNSPECIFIED'), at('AUTHZ')];
  assert.equal(extensionFilters(hosts, all, 'AUTHN').length, 1);
  assert.equal(extensionFilters(hosts, all, 'STATS', 'UNSPECIFIED').length, 2);
});
