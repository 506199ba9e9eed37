import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Ip } from '#/kit/index.ts';
import { proxyHeader } from './proxy-header.ts';

const at = (ip: string, port: number) => ({ ip: ip as Ip, port });

test('nobody asked: none', () => {
  const ends = { source: at('10.0.0.1', 1), destination: at('10.0.0.2', 80) };
  assert.equal(proxyHeader(undefined, ends), undefined);
});

test('version 1 is text', () => {
  const v4 = { source: at('10.0.0.1', 4000), destination: at('10.0.0.2', 80) };
  assert.equal(proxyHeader('V1', v4)?.toString(), 'PROXY TCP4 10.0.0.1 10.0.0.2 4000 80\r\n');
  const v6 = { source: at('fd00::1', 4000), destination: at('fd00::2', 80) };
  assert.equal(proxyHeader('V1', v6)?.toString(), 'PROXY TCP6 fd00::1 fd00::2 4000 80\r\n');
  const mixed = { source: at('10.0.0.1', 4000), destination: at('fd00::2', 80) };
  assert.equal(proxyHeader('V1', mixed)?.toString(), 'PROXY UNKNOWN\r\n');
});

test('version 2 begins with its signature', () => {
  const ends = { source: at('10.0.0.1', 1), destination: at('10.0.0.2', 80) };
  assert.match(
    proxyHeader('V2', ends)?.toString('hex') ?? '',
    /^0d0a0d0a000d0a515549540a2111000c0a0000010a000002/,
  );
});
