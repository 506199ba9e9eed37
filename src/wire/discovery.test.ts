import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import {
  decodeCertificateRequest,
  decodeCertificateResponse,
  encodeCertificateRequest,
  encodeCertificateResponse,
} from './ca.ts';
import {
  decodeDeltaRequest,
  decodeDeltaResponse,
  encodeDeltaRequest,
  encodeRemovals,
  encodeResourceEntry,
  encodeResponseHead,
} from './discovery.ts';

const bytes = (hex: string): Buffer => Buffer.from(hex.replaceAll(' ', ''), 'hex');
const hex = (data: Uint8Array): string => (Buffer.from(data).toString('hex').match(/../g) ?? []).join(' ');

suite('a delta request', () => {
  const fields: readonly [string, string, Parameters<typeof encodeDeltaRequest>[0]][] = [
    ['node 1: id 1', '0a 03 0a 01 69', { node: { id: 'i' } }],
    ['node 1: metadata 3', '0a 0c 1a 0a 0a 08 0a 01 4b 12 03 1a 01 76', { node: { metadata: { K: 'v' } } }],
    ['type_url 2', '12 01 74', { typeUrl: 't' }],
    ['resource_names_subscribe 3', '1a 01 2a', { resourceNamesSubscribe: ['*'] }],
    ['resource_names_unsubscribe 4', '22 01 2a', { resourceNamesUnsubscribe: ['*'] }],
    ['initial_resource_versions 5', '2a 06 0a 01 6e 12 01 76', { initialResourceVersions: { n: 'v' } }],
    ['response_nonce 6', '32 01 6e', { responseNonce: 'n' }],
    ['error_detail 7', '3a 05 08 03 12 01 65', { errorDetail: { code: 3, message: 'e' } }],
  ];
  for (const [field, text, request] of fields)
    test(`has ${field}`, () => {
      assert.equal(hex(encodeDeltaRequest(request)), text);
    });
});

suite('a delta response', () => {
  test('is put together from parts without looking inside', () => {
    const entry = encodeResourceEntry({
      name: 'n',
      version: 'v',
      typeUrl: 't',
      resource: bytes('01 02'),
      aliases: ['a'],
    });
    assert.equal(hex(entry), '12 12 0a 01 76 12 07 0a 01 74 12 02 01 02 1a 01 6e 22 01 61');
    const head = encodeResponseHead({ systemVersion: 's', typeUrl: 't', nonce: 'o', controlPlane: 'c' });
    assert.equal(hex(head), '0a 01 73 22 01 74 2a 01 6f 3a 03 0a 01 63');
    assert.equal(hex(encodeRemovals(['x', 'y'])), '32 01 78 32 01 79');
    const response = decodeDeltaResponse(Buffer.concat([entry, head, entry, encodeRemovals(['x'])]));
    assert.equal(response.systemVersionInfo, 's');
    assert.equal(response.typeUrl, 't');
    assert.equal(response.nonce, 'o');
    assert.equal(response.controlPlane?.identifier, 'c');
    assert.deepEqual(response.removedResources, ['x']);
    assert.equal(response.resources.length, 2);
    const [resource] = response.resources;
    assert.equal(resource?.name, 'n');
    assert.equal(resource?.version, 'v');
    assert.deepEqual(resource?.aliases, ['a']);
    assert.equal(resource?.resource?.typeUrl, 't');
    assert.deepEqual([...(resource?.resource?.value ?? [])], [1, 2]);
  });

  test('has no version for a resource that has none', () => {
    const entry = encodeResourceEntry({ name: 'n', version: '', typeUrl: 't', resource: new Uint8Array() });
    assert.equal(hex(entry), '12 0a 12 05 0a 01 74 12 00 1a 01 6e');
  });

  test('that is garbage is refused', () => {
    assert.throws(() => decodeDeltaResponse(bytes('12 ff')), { name: 'WireError' });
    assert.throws(() => decodeDeltaRequest(bytes('12 ff')), { name: 'WireError' });
  });
});

suite('a certificate request', () => {
  test('has csr 1, validity_duration 3 and metadata 4', () => {
    const request = { csr: 'c', ttlSeconds: 60, impersonatedIdentity: 'spiffe://x' };
    const text = `0a 01 63 18 3c 22 24 0a 22 0a 14 ${hex(Buffer.from('ImpersonatedIdentity'))} 12 0a 1a 08`;
    const encoded = encodeCertificateRequest({ ...request, impersonatedIdentity: 'spiffe:x' });
    assert.equal(hex(encoded), `${text} ${hex(Buffer.from('spiffe:x'))}`);
    assert.deepEqual(decodeCertificateRequest(encodeCertificateRequest(request)), request);
    assert.equal(hex(encodeCertificateRequest({ csr: 'c', ttlSeconds: 0 })), '0a 01 63');
  });

  test('passes over metadata that is no name', () => {
    // ImpersonatedIdentity: 1
    const text = `22 21 0a 1f 0a 14 ${hex(Buffer.from('ImpersonatedIdentity'))} 12 07 11 00 00 00 00 00 00`;
    assert.throws(() => decodeCertificateRequest(bytes(text)), { name: 'WireError' });
    const number = `22 23 0a 21 0a 14 ${hex(Buffer.from('ImpersonatedIdentity'))} 12 09 11 00 00 00 00 00 00 f0 3f`;
    assert.deepEqual(decodeCertificateRequest(bytes(number)), { csr: '', ttlSeconds: 0 });
  });

  test('is answered by a list in field 1', () => {
    assert.equal(hex(encodeCertificateResponse(['a', 'b'])), '0a 01 61 0a 01 62');
    assert.deepEqual(decodeCertificateResponse(bytes('0a 01 61 0a 01 62')), ['a', 'b']);
  });
});
