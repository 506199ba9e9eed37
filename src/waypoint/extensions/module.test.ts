// What a module sees, may do, and may not.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HeaderMap } from '#/http/index.ts';
import { applyEdits, type ExtensionAnswer, type ExtensionResult } from './answer.ts';
import { requestInput, TestHost } from './test-host.ts';

const good = (result: ExtensionResult): ExtensionAnswer => {
  if (result.failure !== undefined) assert.fail(result.failure);
  return result;
};

test('a request: what it is, who sent it, and every change', async () => {
  using one = new TestHost(
    `import type { ExtensionModule } from './module-types.ts';
     interface Config { readonly tenant: string }
     const filter: ExtensionModule<Config> = {
       onRequest(request, context): undefined {
         const { headers } = request;
         headers.set('X-Seen', [request.method, request.scheme, request.authority, request.path, context.identity,
           context.source.ip, context.source.port, context.claims?.['sub'], context.config.tenant,
           headers.get('Cookie'), headers.all('cookie').length, headers.has('nothing'),
           [...headers].length].join(' '));
         headers.add('x-list', 'a');
         headers.add('x-list', 'b');
         headers.delete('User-Agent');
         headers.set('x-gone', String(headers.has('user-agent')));
         request.path = '/v2/' + request.path.slice(1);
         context.log('seen ' + headers.get('x-list'), 'warn');
       },
     };
     export default filter;`,
    { config: { tenant: 'acme' } },
  );
  const answer = good(await one.request({ c: { sub: 'ann' } }));
  assert.deepEqual(answer.target, { path: '/v2/items', query: 'a=1' });
  const headers = HeaderMap.of([['user-agent', 'curl/8']]);
  applyEdits(headers, answer.edits);
  assert.deepEqual(
    [...headers.flat],
    'x-seen,GET http shop.example /items?a=1 spiffe://td/ns/front/sa/web 10.1.2.3 40000 ann acme a=1; b=2 2 false 3,x-list,a,x-list,b,x-gone,false'.split(
      ',',
    ),
  );
  assert.deepEqual(one.lines, ['warn seen a,b ']);
});

test('state goes from phase to phase, also through promises; the response can be replaced', async () => {
  using one = new TestHost(`export default {
    async onRequest(request, { state }) { state.n = 1; await null; state.path = request.path; },
    onRequestBody(body, { state }) { state.n++; return { body: body.text.toUpperCase() + body.complete }; },
    onResponse(response, { state }, request) {
      response.headers.set('x-state', JSON.stringify(state) + request.method + response.status);
      if (response.status === 500) return { status: 503, headers: { 'Retry-After': '1' }, body: 'later' };
    },
    onLog(record, { state, log }) { log(record.status + ' ' + record.path + ' ' + state.n); },
  }`);
  const first = good(await one.request());
  assert.deepEqual(first.state, { n: 1, path: '/items?a=1' });
  const { h: _, ...common } = requestInput();
  const body = good(
    await one.call('onRequestBody', { ...common, st: first.state, body: 'abc', complete: true }),
  );
  assert.equal(body.body?.toString(), 'ABCtrue');
  const response = good(await one.call('onResponse', { ...common, st: body.state, h: [], status: 500 }));
  assert.deepEqual(response.edits, [
    { operation: 'set', name: 'x-state', value: '{"n":2,"path":"/items?a=1"}GET500' },
  ]);
  assert.deepEqual(response.reply, {
    status: 503,
    headers: [{ name: 'retry-after', value: '1' }],
    body: 'later',
  });
  good(await one.call('onLog', { ...common, st: response.state, r: { status: 503 } }));
  assert.deepEqual(one.lines, ['info 503 /items?a=1 2 ']);
  assert.ok(one.host.has('onLog'));
});

test('phases that are not there are known once it has started', async () => {
  using one = new TestHost('export default { onResponse() {} }');
  assert.ok(one.host.has('onRequest'));
  good(await one.request());
  assert.ok(!one.host.has('onRequest') && one.host.has('onResponse'));
});

const refused: readonly (readonly [name: string, code: string, why: RegExp])[] = [
  ['an error', 'throw new TypeError("no")', /TypeError: no/],
  ['a text that is thrown', 'throw "no"', /no/],
  ['an object that breaks who reads it', 'throw { get message() { throw 1 } }', /cannot be put in words/],
  ['a promise that fails', 'return Promise.reject(new Error("late"))', /late/],
  ['a recursion without end', '(function again() { again(); })()', /RangeError/],
  ['a number', 'return 5', /returned a number/],
  ['an array', 'return [1]', /an array/],
  ['an object without status', 'return { body: "x" }', /has no status/],
  ['a status that is a text', 'return { status: "200" }', /no whole number/],
  ['a status out of range', 'return { status: 99 }', /200 to 599/],
  ['an interim status', 'return { status: 101 }', /200 to 599/],
  ['a body that is no text', 'return { status: 200, body: { a: 1 } }', /no text/],
  ['headers that are a list', 'return { status: 200, headers: [["a", "b"]] }', /no object/],
  ['a huge answer', 'return { status: 200, body: "x".repeat(2e6) }', /2000\d* characters/],
  ['a huge state', 'context.state.a = "x".repeat(2e4)', /a state of/],
  ['a state that goes in circles', 'context.state.a = context.state', /circular/i],
  [
    'CR and LF in a value',
    'request.headers.set("x-a", "b\\r\\nx-admin: 1")',
    /value of header x-a is malformed/,
  ],
  ['LF in a name', 'request.headers.set("x-a\\nx-b", "1")', /header name .* is malformed/],
  ['NUL in a value', 'request.headers.add("x-a", "\\0")', /malformed/],
  ['a character that is not one byte', 'request.headers.set("x-a", "\\u2028")', /malformed/],
  ['a pseudo header', 'request.headers.set(":path", "/")', /malformed/],
  ['framing', 'request.headers.set("Content-Length", "3")', /proxy's own/],
  ['framing taken away', 'request.headers.delete("transfer-encoding")', /proxy's own/],
  ['the host', 'request.headers.set("Host", "other")', /proxy's own/],
  ['the proxy’s own words', 'request.headers.set("x-envoy-original-path", "/")', /proxy's own/],
  ['CR and LF in an answer', 'return { status: 200, headers: { a: "b\\r\\nc: d" } }', /malformed/],
  ['a path without slash', 'request.path = "items"', /slash/],
  ['a path with a line break', 'request.path = "/a b\\r\\n"', /invalid character/],
  ['a path with a fragment', 'request.path = "/a#b"', /fragment/],
  ['config that is changed', 'context.config.a.push(1)', /not extensible/],
];
test('what makes a call fail', async (t) => {
  const cases = refused.map(([, code], i) => `if (n === ${i}) { ${code}; return; }`).join('\n');
  using one = new TestHost(
    `export default { onRequest(request, context) { const n = Number(request.headers.get('x-case')); ${cases} } }`,
    { config: { a: [] } },
  );
  for (const [i, [name, , why]] of refused.entries())
    await t.test(name, async () => {
      const { failure } = await one.request({ h: ['x-case', String(i)] });
      assert.match(failure ?? 'it did not fail', why);
    });
  assert.equal(one.host.counters.failures, refused.length);
  assert.equal(one.host.counters.restarts, 0);
});

test('nothing of the outside is in reach', async () => {
  const probes = [
    'typeof process',
    'typeof require',
    'typeof fetch',
    'typeof setTimeout',
    'typeof console',
    'typeof WebAssembly',
    'typeof SharedArrayBuffer',
    // The way out of many sandboxes: an object from outside, its maker, the maker's maker.
    'attempt(() => request.constructor.constructor("return typeof process")())',
    'attempt(() => context.log.constructor("return typeof process")())',
    'attempt(() => globalThis.constructor.constructor("return typeof process")())',
    'attempt(() => context.config.constructor.constructor("return typeof process")())',
    'attempt(() => (0, eval)("1"))',
  ];
  using one = new TestHost(
    `const attempt = (what) => { try { return what() } catch (error) { return error.name } };
     export default { onRequest(request, context) { return { status: 200, body: [${probes.join()}].join() } } }`,
    { config: {} },
  );
  assert.equal(
    good(await one.request()).reply?.body,
    [...Array<string>(7).fill('undefined'), ...Array<string>(5).fill('EvalError')].join(),
  );
});

test('lines of the log are bounded, and stay lines', async () => {
  using one = new TestHost(`export default { onRequest(request, { log }) {
    for (let i = 0; i < 100; i++) log('a\\nb'.padEnd(5000, 'c'));
  } }`);
  good(await one.request());
  assert.equal(one.lines.length, 20);
  assert.match(one.lines[0] ?? '', /^info a bc{1021} $/);
});
