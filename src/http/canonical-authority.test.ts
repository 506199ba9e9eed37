import assert from 'node:assert/strict';
import { test } from 'node:test';
import { canonicalAuthority } from './canonical-authority.ts';

const taken: readonly (readonly [sent: string, canonical: string])[] = [
  ['h', 'h'],
  ['Reviews.Default.svc:9080', 'reviews.default.svc:9080'],
  ['example.com.', 'example.com'],
  ['example.com.:80', 'example.com:80'],
  ['10.0.0.1:8080', '10.0.0.1:8080'],
  ['a_b.example', 'a_b.example'],
  ['[::1]', '[::1]'],
  ['[2001:DB8:0:0:0:0:0:1]:80', '[2001:db8::1]:80'],
  ['h:65535', 'h:65535'],
];
const refused: readonly (readonly [sent: string, reason: string])[] = [
  ['', 'the host is empty'],
  [':80', 'the host is empty'],
  ['.', 'the host is empty'],
  ['u@h', 'the host has userinfo'],
  ['u:p@h', 'the port of the host is invalid'],
  ['h:', 'the port of the host is invalid'],
  ['h:0', 'the port of the host is invalid'],
  ['h:080', 'the port of the host is invalid'],
  ['h:65536', 'the port of the host is invalid'],
  ['h:+80', 'the port of the host is invalid'],
  ['h:80:80', 'the port of the host is invalid'],
  ['h h', 'the host has an invalid character'],
  ['h/', 'the host has an invalid character'],
  ['h?x', 'the host has an invalid character'],
  ['h%41', 'the host has an invalid character'],
  ['h,h', 'the host has an invalid character'],
  ['.h', 'the host has an invalid character'],
  ['a..b', 'the host has an invalid character'],
  ['h..', 'the host has an invalid character'],
  ['-h', 'the host has an invalid character'],
  ['h\xe9', 'the host has an invalid character'],
  ['\u212a', 'the host has an invalid character'],
  ['::1', 'the host is empty'],
  ['[::1', 'the host is not an IPv6 address'],
  ['[]', 'the host is not an IPv6 address'],
  ['[10.0.0.1]', 'the host is not an IPv6 address'],
  ['[fe80::1%25eth0]', 'the host is not an IPv6 address'],
  ['[::1]x', 'the host has an invalid character'],
  ['[::1]:', 'the port of the host is invalid'],
  ['a'.repeat(300), 'the host is too long'],
];

for (const [sent, canonical] of taken)
  test(`taken: ${sent}`, () => {
    assert.deepEqual(canonicalAuthority(sent), { authority: canonical });
    assert.deepEqual(canonicalAuthority(canonical), { authority: canonical });
  });
for (const [sent, reason] of refused)
  test(`refused: ${JSON.stringify(sent.slice(0, 20))}`, () =>
    assert.deepEqual(canonicalAuthority(sent), { reason }));
