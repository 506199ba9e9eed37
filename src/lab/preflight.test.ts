import assert from 'node:assert/strict';
import { test } from 'node:test';
import { missingParts, type Machine } from './preflight.ts';

const whole: Machine = { uid: 0, hasTool: () => true, hasFile: () => true };

test('a machine that has all is not spoken of', () => assert.equal(missingParts(whole), undefined));

test('what is missing is said in one sentence, with the packages that bring it', () => {
  assert.match(missingParts({ ...whole, uid: 1000 }) ?? '', /needs root/);
  assert.equal(
    missingParts({
      ...whole,
      hasTool: (name) => !['ip', 'nsenter', 'unshare'].includes(name),
      hasFile: () => false,
    }),
    'the lab needs Debian packages that are not installed: apt-get install iproute2 util-linux containernetworking-plugins',
  );
});
