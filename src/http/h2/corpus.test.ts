// The fuzzer's seeds for requests over HTTP/2, and a few changed inputs, as unit tests. `npm run fuzz` goes on from there.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { corpus, fuzz } from '../../../fuzz/fuzz.ts';
import { seeded } from '../../../fuzz/random.ts';
import { targets } from '../../../fuzz/targets.ts';

const target = targets.find(({ name }) => name === 'h2-requests');
assert.ok(target !== undefined);
const files = corpus(target);
assert.ok(files.length > 5);
for (const { name, bytes } of files) test(`h2-requests: ${name}`, () => target.run(bytes));
test('h2-requests: two thousand changed inputs', () => {
  const { failure } = fuzz(target, seeded(8441), (runs) => runs >= 2000);
  assert.equal(failure && `${failure.error} ${Buffer.from(failure.input).toString('hex')}`, undefined);
});
