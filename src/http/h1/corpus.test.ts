// The fuzzer's seeds for this room, and a few changed inputs, as unit tests. `npm run fuzz` goes on from there.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { corpus, fuzz } from '../../../fuzz/fuzz.ts';
import { seeded } from '../../../fuzz/random.ts';
import { targets } from '../../../fuzz/targets.ts';

for (const name of ['h1-server', 'h1-client', 'h1-chunks', 'sniff', 'http-path']) {
  const target = targets.find((candidate) => candidate.name === name);
  assert.ok(target !== undefined);
  const files = corpus(target);
  assert.ok(files.length > 4);
  for (const { name: file, bytes } of files) test(`${name}: ${file}`, () => target.run(bytes));
  test(`${name}: two thousand changed inputs`, () => {
    const { failure } = fuzz(target, seeded(9112), (runs) => runs >= 2000);
    assert.equal(failure && `${failure.error} ${Buffer.from(failure.input).toString('hex')}`, undefined);
  });
}
