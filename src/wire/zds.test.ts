import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import {
  decodeAck,
  decodeHello,
  decodeWorkloadRequest,
  encodeAck,
  encodeHello,
  encodeWorkloadRequest,
  zdsMaxBytes,
  type WorkloadRequest,
} from './zds.ts';

const bytes = (hex: string): Buffer => Buffer.from(hex.replaceAll(' ', ''), 'hex');
const hex = (data: Uint8Array): string => (Buffer.from(data).toString('hex').match(/../g) ?? []).join(' ');

test('a hello is version 1 in field 1', () => {
  assert.equal(hex(encodeHello()), '08 01');
  assert.equal(decodeHello(bytes('08 01')), 1);
});

suite('a hello is refused', () => {
  for (const input of ['', '08 00', '08 02', '08', 'ff ff'])
    test(`as "${input}"`, () => {
      assert.throws(() => decodeHello(bytes(input)), { name: 'WireError' });
    });
});

suite('a request', () => {
  const info = { name: 'a', namespace: 'n', serviceAccount: 's' };
  const cases: readonly [string, WorkloadRequest][] = [
    ['0a 0e 0a 01 75 12 09 0a 01 61 12 01 6e 1a 01 73', { kind: 'add', uid: 'u', info }],
    ['0a 03 0a 01 75', { kind: 'add', uid: 'u' }],
    ['12 03 12 01 75', { kind: 'del', uid: 'u' }],
    ['1a 00', { kind: 'snapshot-sent' }],
    ['2a 03 0a 01 75', { kind: 'keep', uid: 'u' }],
  ];
  for (const [text, request] of cases)
    test(`to ${request.kind}${'info' in request ? ' with information' : ''} has its numbers`, () => {
      assert.equal(hex(encodeWorkloadRequest(request)), text);
      assert.deepEqual(decodeWorkloadRequest(bytes(text)), request);
    });

  for (const [what, text, reason] of [
    ['nothing', '', /payload: unknown request/],
    ['a kind of the future', '32 00', /payload: unknown request/],
    ['garbage', 'ff', /not a WorkloadRequest/],
    ['no uid', '0a 00', /uid: is empty/],
    ['a deletion whose uid is in field 1', '12 03 0a 01 75', /uid: is empty/],
  ] as const)
    test(`with ${what} is refused`, () => {
      assert.throws(() => decodeWorkloadRequest(bytes(text)), reason);
    });

  test('that does not fit a datagram is refused before it is sent', () => {
    const uid = 'u'.repeat(zdsMaxBytes);
    assert.throws(() => encodeWorkloadRequest({ kind: 'keep', uid }), /bytes do not fit a datagram of 1024/);
  });
});

suite('an acknowledgement', () => {
  test('without an error is empty in field 1, with one has it in field 1 of that', () => {
    assert.equal(hex(encodeAck()), '0a 00');
    assert.equal(hex(encodeAck('no')), '0a 04 0a 02 6e 6f');
    assert.equal(decodeAck(bytes('0a 00')), undefined);
    assert.equal(decodeAck(bytes('0a 04 0a 02 6e 6f')), 'no');
  });

  test('with an error that does not fit is cut between characters', () => {
    const encoded = encodeAck('é'.repeat(2000));
    assert.ok(encoded.length <= zdsMaxBytes);
    assert.match(decodeAck(encoded) ?? '', /^é{500,}$/);
  });

  for (const text of ['', '12 00', 'ff'])
    test(`is refused as "${text}"`, () => {
      assert.throws(() => decodeAck(bytes(text)), { name: 'WireError' });
    });
});
