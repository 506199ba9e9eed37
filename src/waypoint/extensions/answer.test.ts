// The thread is not believed: whatever it says is read without harm.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readAnswer } from './answer.ts';

const failures: readonly (readonly [unknown, RegExp])[] = [
  [undefined, /no text/],
  [{ e: [] }, /no text/],
  ['', /cannot be read/],
  ['{"e":', /cannot be read/],
  ['null', /no object/],
  ['7', /no object/],
  [`{"p":"${'x'.repeat(1024 * 1024)}"}`, /characters/],
  ['{"e":["replace","a","b"]}', /unknown/],
  ['{"e":["set","a",null]}', /no text/],
  ['{"e":["set",["a"],"b"]}', /no text/],
  ['{"e":["set","A","b"]}', /malformed/],
  ['{"e":["set","a","b\\r\\n\\r\\nGET / HTTP/1.1"]}', /malformed/],
  ['{"e":["add","connection","close"]}', /proxy's own/],
  ['{"p":7}', /no text/],
  ['{"p":"/a%00"}', /NUL/],
  [`{"p":"/${'x'.repeat(9000)}"}`, /too long/],
  ['{"b":{}}', /no text/],
  ['{"r":{}}', /status/],
  ['{"r":[200]}', /cannot be read/],
  ['{"r":[200,["a"],7]}', /cannot be read/],
  ['{"r":[{"toString":1},[],""]}', /200 to 599/],
  ['{"r":[200.5,[],""]}', /200 to 599/],
  ['{"r":[200,["content-length","9"],""]}', /proxy's own/],
  ['{"x":"a\\nb"}', /^a b$/],
  ['{"x":{"toString":1}}', /./],
];
for (const [text, why] of failures)
  test(`refused: ${String(JSON.stringify(text)).slice(0, 60)}`, () => {
    const { failure } = readAnswer(text).result;
    assert.match(failure ?? 'it was taken', why);
  });

test('what is not understood is left out', () => {
  const { result, lines } = readAnswer(
    '{"e":"no","zz":1,"l":[["fatal","a\\r\\nb"],7,["warn",null]],"st":[1]}',
  );
  assert.deepEqual(result, { edits: [], state: [1] });
  assert.deepEqual(lines, [
    ['info', 'a b'],
    ['info', ''],
    ['warn', 'null'],
  ]);
});

test('a text that was damaged anywhere is read, or refused', () => {
  const whole = JSON.stringify({
    e: ['set', 'a', 'b'],
    p: '/a?b',
    r: [200, ['c', 'd'], 'e'],
    st: { a: 1 },
    l: [['info', 'x']],
  });
  const with_ = ['"', '{', '[', ',', '0', '\\', '\n', ''];
  for (let i = 0; i < whole.length; i++)
    for (const char of with_) readAnswer(whole.slice(0, i) + char + whole.slice(i + 1));
});
