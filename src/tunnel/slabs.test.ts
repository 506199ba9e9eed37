import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { largeSlab, releaseSlab, smallSlab, takeSlab } from './slabs.ts';

suite('slabs', () => {
  test('what is given back is taken again, by its size', () => {
    const small = takeSlab(1);
    const large = takeSlab(smallSlab + 1);
    assert.deepEqual([small.length, large.length], [smallSlab, largeSlab]);
    releaseSlab(small);
    releaseSlab(large);
    assert.equal(takeSlab(smallSlab), small);
    assert.equal(takeSlab(largeSlab), large);
  });

  test('more than the largest gets what it needs, also while large ones are free', () => {
    const large = takeSlab(largeSlab);
    releaseSlab(large);
    const huge = takeSlab(largeSlab + 9);
    assert.equal(huge.length, largeSlab + 9);
    releaseSlab(huge);
    assert.equal(takeSlab(largeSlab), large);
  });
});
