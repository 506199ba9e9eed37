import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readRequests } from './read-requests.ts';
import { smugglingCorpus } from './smuggling-corpus.ts';

for (const { name, bytes, expect } of smugglingCorpus)
  test(name, () => {
    const all = Buffer.from(bytes, 'latin1');
    const whole = readRequests([all]);
    assert.deepEqual(whole.lines, expect);
    assert.equal(whole.channel.credited, all.length, 'every byte is given back');
    for (let cut = 1; cut < all.length; cut++)
      assert.deepEqual(
        readRequests([all.subarray(0, cut), all.subarray(cut)]).lines,
        expect,
        `cut at ${cut}`,
      );
    const bytewise = readRequests(Array.from(all, (byte) => Buffer.from([byte])));
    assert.deepEqual(bytewise.lines, expect, 'byte by byte');
    assert.equal(bytewise.channel.credited, all.length);
  });
