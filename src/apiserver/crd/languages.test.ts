// The two small languages of definitions: rules in CEL and JSON paths.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { rewriteHas } from './cel-text.ts';
import { compileRule } from './cel.ts';
import { evaluateJsonPath, parseJsonPath } from './json-path.ts';

const rules: [string, unknown, unknown][] = [
  ['self.all(l1, self.exists_one(l2, l1.port == l2.port))', [{ port: 1n }, { port: 2n }], true],
  ['(has(self.a) ? 1 : 0) + (has(self.b) ? 1 : 0) <= 1', { a: 1n, b: 2n }, false],
  ['has(self.list[0].x) && !has(self.list[0].y)', { list: [{ x: 1n }] }, true],
  ["self.a == 'has(x[0].y)'", { a: 'has(x[0].y)' }, true],
  ['url(self).getScheme() in ["http", "https"]', 'https://x/y', true],
  ['isURL(self) ? url(self).getHost() == "x" : false', 'https://x/y', true],
  ['isURL(self)', 'no url', false],
  ["duration(self) >= duration('1ms')", '5s', true],
  ['isIP(self) && ip(self).family() == 4', '10.0.0.1', true],
  ["cidr('10.0.0.0/8').containsIP(self)", '10.1.2.3', true],
  ['quantity(self).isGreaterThan(quantity("1Gi"))', '2Gi', true],
  ['self.find("[0-9]+") == "42"', 'a42b', true],
  ['self.matches(r"""^[a-z]+$""")', 'abc', true],
  ['self.split(",").map(x, x.trim()).size() == 2', 'a, b', true],
  ['self.?foo.orValue("x") == "x"', {}, true],
  ['self.a % 2 == 0', { a: 4n }, true],
];

for (const [rule, value, wanted] of rules)
  test(`CEL: ${rule}`, () => assert.equal(compileRule(rule)({ self: value, oldSelf: null }), wanted));

test('has() of an index is asked in another way, and texts are left alone', () => {
  assert.equal(rewriteHas('has(self.a.b)'), 'has(self.a.b)');
  assert.equal(
    rewriteHas('!has(self.a[0].b) && "has(x[0].y)" != \'\''),
    '!hasField(self.a[0], "b") && "has(x[0].y)" != \'\'',
  );
  assert.equal(rewriteHas('hash(self.a[0].b)'), 'hash(self.a[0].b)');
});

test('JSON paths of columns', () => {
  const object = {
    spec: {
      hosts: ['a', 'b'],
      'x.y': 1,
      list: [
        { type: 'A', v: 1 },
        { type: 'B', v: 2 },
      ],
    },
  };
  const at = (path: string): unknown => evaluateJsonPath(parseJsonPath(path) ?? [], object);
  assert.deepEqual(at('.spec.hosts'), [['a', 'b']]);
  assert.deepEqual(at('.spec.hosts[*]'), ['a', 'b']);
  assert.deepEqual(at('.spec.hosts[0]'), ['a']);
  assert.deepEqual(at('.spec.hosts[-1]'), ['b']);
  assert.deepEqual(at('.spec.x\\.y'), [1]);
  assert.deepEqual(at(".spec['x.y']"), [1]);
  assert.deepEqual(at('.spec.list[?(@.type=="B")].v'), [2]);
  assert.deepEqual(at('.spec.nothing.here'), []);
  assert.equal(parseJsonPath('.spec[(@.length-1)]'), undefined);
});
