import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { corpus, fuzz } from '../../fuzz/fuzz.ts';
import { seeded } from '../../fuzz/random.ts';
import { randomPolicy, randomService, randomWorkload } from '../../fuzz/random-records.ts';
import { targets } from '../../fuzz/targets.ts';
import { decodeAddress, encodeAddress } from './address.ts';
import { decodePolicy, encodePolicy } from './policy.ts';

suite('a random record comes back as it was', () => {
  for (const seed of [1, 2, 3])
    test(`with seed ${seed}`, () => {
      const random = seeded(seed);
      for (let i = 0; i < 300; i++) {
        const workload = randomWorkload(random);
        assert.deepEqual(decodeAddress(encodeAddress(workload)), workload);
        const service = randomService(random);
        assert.deepEqual(decodeAddress(encodeAddress(service)), service);
        const policy = randomPolicy(random);
        assert.deepEqual(decodePolicy(encodePolicy(policy)), policy);
      }
    });
});

for (const target of targets)
  suite(`the parser of ${target.name} keeps its promise`, () => {
    const files = corpus(target);
    test('and has a corpus', () => assert.ok(files.length > 0));
    for (const { name, bytes } of files) test(`for ${name}`, () => target.run(bytes));
    test('for a thousand changed inputs', () => {
      const { failure } = fuzz(target, seeded(7), (runs) => runs >= 1000);
      assert.equal(failure && Buffer.from(failure.input).toString('hex'), undefined);
    });
  });
