import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '#/kit/index.ts';
import { TestHost, until } from './test-host.ts';

const endless = `export default { onRequest(request) {
  if (request.headers.has('x-loop')) for (;;);
  return { status: 200, body: request.headers.get('x-name') ?? '' };
} }`;
const named = (name: string) => ({ h: ['x-name', name] });
const loops = { h: ['x-loop', '1'] };

test('an endless loop ends with its deadline; what came behind it is asked again in a new thread', async () => {
  const clock = new ManualClock();
  using one = new TestHost(endless, { timeoutMs: 100 }, { clock });
  assert.equal((await one.request(named('a'))).failure, undefined);
  const loop = one.request(loops);
  clock.advance(60);
  const behind = one.request(named('b'));
  clock.advance(60);
  assert.equal((await loop).failure, 'no answer within 100 ms');
  const answer = await behind;
  assert.ok(answer.failure === undefined && answer.reply?.body === 'b');
  assert.deepEqual(one.host.counters, { calls: 3, failures: 1, timeouts: 1, restarts: 1, skipped: 0 });
});

test('one that hangs again is left alone for a while: calls fail at once, then it is tried again', async () => {
  const clock = new ManualClock();
  using one = new TestHost(endless, { timeoutMs: 100 }, { clock });
  for (let i = 0; i < 2; i++) {
    const loop = one.request(loops);
    await until(() => one.host.state === 'ready');
    clock.advance(100);
    assert.ok((await loop).failure);
  }
  assert.equal(one.host.state, 'waiting');
  assert.match((await one.request()).failure ?? '', /not started again yet/);
  clock.advance(100);
  assert.equal((await one.request(named('a'))).failure, undefined);
});

test('a promise that nobody keeps ends with the deadline too', async () => {
  const clock = new ManualClock();
  using one = new TestHost(
    'export default { onRequest() { return new Promise(() => {}) } }',
    { timeoutMs: 50 },
    { clock },
  );
  const asked = one.request();
  await until(() => one.host.state === 'ready');
  clock.advance(50);
  assert.equal((await asked).failure, 'no answer within 50 ms');
});

const hogs: readonly (readonly [string, string])[] = [
  ['a list that grows', 'const all = []; for (;;) all.push({ a: [1, 2, 3] });'],
  ['a map that grows', 'const all = new Map(); for (let i = 0; ; i++) all.set(i, {});'],
  ['a text that grows', 'const all = []; for (;;) all.push("x".repeat(1e6) + all.length, [...all].join());'],
];
for (const [name, code] of hogs)
  test(`memory: ${name} ends the thread and nothing else; the next call has a new one`, async () => {
    using one = new TestHost(`export default { onRequest(r) { if (r.headers.has('x-hog')) { ${code} } } }`, {
      memoryMb: 32,
    });
    const { failure } = await one.request({ h: ['x-hog', '1'] });
    assert.match(failure ?? '', /more than 32 MB|Invalid string length/);
    assert.equal((await one.request()).failure, undefined);
  });

test('one huge allocation, which would end the process, is refused', async () => {
  using one = new TestHost(`export default { onRequest(r) {
    if (r.path === '/from') return { status: 200, body: String(Array.from({ length: 1e8 }).length) };
    if (r.path === '/buffer') return { status: 200, body: String(new Uint8Array(1e9).length) };
    return { status: 200, body: String(new Array(1e8).fill(1.5).length) };
  } }`);
  assert.match((await one.request({ p: '/from' })).failure ?? '', /elements at once/);
  assert.match((await one.request({ p: '/fill' })).failure ?? '', /elements at once/);
  assert.match((await one.request({ p: '/buffer' })).failure ?? '', /Uint8Array is not defined/);
});

test('a thread that is shot during a call: that call fails, those behind it are asked again', async () => {
  using one = new TestHost(
    `let kept; export default { onRequest(r) {
    if (r.path === '/hog') { kept = []; for (;;) kept.push({ a: [1, 2, 3] }); }
    return { status: 200, body: r.path };
  } }`,
    { memoryMb: 32 },
  );
  await one.request({ p: '/a' });
  const hog = one.request({ p: '/hog' });
  const behind = one.request({ p: '/b' });
  assert.ok((await hog).failure);
  const answer = await behind;
  assert.ok(answer.failure === undefined && answer.reply?.body === '/b');
});

test('a module that cannot be loaded fails every call, is a problem, and is not tried again', async () => {
  const wrong: readonly (readonly [string, RegExp])[] = [
    ['export default {', /SyntaxError|Expected|Unexpected/],
    ['enum A { b } export default {}', /enum/],
    ['import { readFile } from "node:fs"; export default {}', /imports "node:fs"/],
    ['export default { async onRequest() { await import("node:fs") } }', /import\(\)/],
    ['export default { onRequest() { import/* */\n// \n("node:fs") } }', /import\(\)/],
    ['export default { onRequest() { return import.meta.url } }', /import.meta/],
    ['export default { onRequest: 1 }', /onRequest is of type number/],
    ['export default {}', /none of onRequest/],
    ['export const a = 1', /default export is of type undefined/],
    ['throw new TypeError("no")', /TypeError: no/],
    ['throw 7', /no error/],
    ['new Function("return 1")()', /EvalError|Code generation/],
    ['process.exit()', /process is not defined/],
  ];
  for (const [module, why] of wrong) {
    using one = new TestHost(module);
    assert.match((await one.request()).failure ?? '', why, module);
    assert.match(one.host.problem ?? '', why, module);
    assert.equal(one.host.state, 'broken');
    assert.match((await one.request()).failure ?? '', why, module);
    assert.equal(one.host.counters.restarts, 0);
  }
});

test('a module whose own code never ends is given up', async () => {
  using one = new TestHost('for (;;); export default {}', {}, { loadMs: 50 });
  assert.match((await one.request()).failure ?? '', /timed out/);
  assert.match(one.host.problem ?? '', /timed out/);
  // Twice, since it may have been the machine's fault; then after a while.
  assert.equal(one.host.counters.restarts, 2);
  assert.equal(one.host.state, 'waiting');
});

test('calls under way are bounded; more of them fail', async () => {
  using one = new TestHost(endless, {}, { maxInFlight: 2 });
  const both = [one.request(named('a')), one.request(named('b'))];
  assert.match((await one.request()).failure ?? '', /2 calls are under way/);
  for (const answer of await Promise.all(both)) assert.equal(answer.failure, undefined);
});

test('a host that is given up finishes what has begun with it, then ends', async () => {
  using one = new TestHost(endless);
  one.host.enter();
  const asked = one.request(named('a'));
  one.host.retire();
  assert.equal((await asked).failure, undefined);
  assert.equal(one.host.state, 'ready');
  assert.equal((await one.request(named('b'))).failure, undefined);
  one.host.leave();
  assert.equal(one.host.state, 'idle');
  // A request that had begun before, and comes here late.
  assert.equal((await one.request(named('c'))).failure, undefined);
  assert.ok(one.host.over && one.host.state === 'idle');
});

test('the end of the proxy ends what is under way', async () => {
  using one = new TestHost(endless);
  const asked = one.request(loops);
  one.host.destroy();
  assert.match((await asked).failure ?? '', /shutting down/);
  assert.match((await one.request()).failure ?? '', /gone/);
});
