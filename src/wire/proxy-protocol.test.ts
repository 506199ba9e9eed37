import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Ip } from '#/kit/index.ts';
import type { Identity } from '#/model/index.ts';
import { encodeProxyHeader } from './proxy-protocol.ts';

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const signature = '0d0a0d0a000d0a515549540a';
const at = (ip: string, port: number) => ({ ip: ip as Ip, port });

test('IPv4 addresses and an identity', () => {
  const identity = 'spiffe://td/ns/a/sa/b' as Identity;
  assert.equal(
    hex(encodeProxyHeader(at('10.0.0.1', 1), at('10.0.0.2', 80), identity)),
    `${signature}21110024${'0a000001'}${'0a000002'}00010050d00015${Buffer.from(identity).toString('hex')}`,
  );
});

test('no identity, no TLV', () => {
  assert.equal(
    hex(encodeProxyHeader(at('10.0.0.1', 1), at('10.0.0.2', 80))),
    `${signature}2111000c0a0000010a00000200010050`,
  );
});

test('mixed families are written as IPv6', () => {
  assert.equal(
    hex(encodeProxyHeader(at('10.0.0.1', 1), at('fd00::2', 80))),
    `${signature}21210024${'00000000000000000000ffff0a000001'}fd00000000000000000000000000000200010050`,
  );
});

test('text that is no address is refused', () => {
  assert.throws(
    () => encodeProxyHeader(at('example', 1), at('10.0.0.2', 80)),
    /'example' is not an IP address/,
  );
});
