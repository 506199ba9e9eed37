import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseMountinfo } from './mounts.ts';

test('mountinfo: point, type and propagation, with escaped blanks', () => {
  const text = [
    '36 35 98:0 /mnt1 /mnt/with\\040blank rw,noatime master:1 - ext3 /dev/root rw,errors=continue',
    '60 27 0:40 / /home/u/.aura/run rw,relatime shared:12 - tmpfs aura-1234 rw,mode=755',
    '61 60 0:4 net:[4026532389] /home/u/.aura/run/ns/switch rw shared:13 master:2 - nsfs nsfs rw',
    '',
  ].join('\n');
  assert.deepEqual(parseMountinfo(text), [
    { point: '/mnt/with blank', type: 'ext3', shared: false },
    { point: '/home/u/.aura/run', type: 'tmpfs', shared: true },
    { point: '/home/u/.aura/run/ns/switch', type: 'nsfs', shared: true },
  ]);
});
