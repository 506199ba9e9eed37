import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { decodeDiscoveryRequest, encodeClientConfig, encodeDiscoveryResponse } from './state-of-the-world.ts';
import { WireError } from './wire-error.ts';

/** The fields of a message: length-delimited ones as bytes, others as numbers. */
function fields(bytes: Uint8Array): Map<number, (Uint8Array | number)[]> {
  const reader = new BinaryReader(bytes);
  const found = new Map<number, (Uint8Array | number)[]>();
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    const value = type === WireType.LengthDelimited ? reader.bytes() : Number(reader.int64());
    found.set(field, [...(found.get(field) ?? []), value]);
  }
  return found;
}

const inner = (bytes: Uint8Array, ...path: readonly number[]): Uint8Array =>
  path.reduce((at, field) => fields(at).get(field)?.[0] as Uint8Array, bytes);
const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString();

test('a request is read, unknown fields are passed over', () => {
  const writer = new BinaryWriter();
  writer.tag(1, WireType.LengthDelimited).string('version');
  writer.tag(2, WireType.LengthDelimited).fork();
  writer.tag(1, WireType.LengthDelimited).string('debug~0.0.0.0~istioctl~cluster.local').join();
  writer.tag(3, WireType.LengthDelimited).string('a');
  writer.tag(3, WireType.LengthDelimited).string('b');
  writer.tag(4, WireType.LengthDelimited).string('istio.io/debug/syncz');
  writer.tag(5, WireType.LengthDelimited).string('7');
  writer.tag(99, WireType.Varint).int32(1);
  const request = decodeDiscoveryRequest(writer.finish());
  assert.deepEqual(request.resourceNames, ['a', 'b']);
  assert.equal(request.typeUrl, 'istio.io/debug/syncz');
  assert.equal(request.responseNonce, '7');
  assert.equal(request.node?.id, 'debug~0.0.0.0~istioctl~cluster.local');
});

test('bytes that are no request are refused', () => {
  for (const bytes of [[255], [0x12, 5, 1], [0x18, 1], [0x22, 200, 1]])
    assert.throws(() => decodeDiscoveryRequest(new Uint8Array(bytes)), WireError);
});

test('a response holds its resources with their own types', () => {
  const answer = fields(
    encodeDiscoveryResponse({
      typeUrl: 'istio.io/debug/syncz',
      nonce: '1',
      controlPlane: '{}',
      resources: [{ typeUrl: 'x', value: new Uint8Array([1, 2]) }],
    }),
  );
  assert.equal(text(answer.get(4)?.[0] as Uint8Array), 'istio.io/debug/syncz');
  assert.equal(text(inner(answer.get(2)?.[0] as Uint8Array, 1)), 'x');
  assert.deepEqual([...inner(answer.get(2)?.[0] as Uint8Array, 2)], [1, 2]);
  assert.equal(text(inner(answer.get(6)?.[0] as Uint8Array, 1)), '{}');
});

test('a proxy has its node, and its types with state, time and error', () => {
  const bytes = encodeClientConfig({
    nodeId: 'ztunnel~1~a.b~c',
    metadata: { CLUSTER_ID: 'Kubernetes' },
    types: [
      { typeUrl: 'one', state: 'synced', updated: 1_700_000_000_250 },
      { typeUrl: 'two', state: 'rejected', updated: 1_700_000_000_000, error: 'no' },
      { typeUrl: 'three', state: 'never-sent' },
    ],
  });
  assert.equal(text(inner(bytes, 1, 1)), 'ztunnel~1~a.b~c');
  assert.equal(text(inner(bytes, 1, 3, 1, 1)), 'CLUSTER_ID');
  assert.equal(text(inner(bytes, 1, 3, 1, 2, 3)), 'Kubernetes');
  const types = (fields(bytes).get(3) ?? []).map((type) => fields(type as Uint8Array));
  assert.deepEqual(
    types.map((type) => type.get(6)?.[0]),
    [1, 4, 2],
  );
  const time = fields(types[0]?.get(5)?.[0] as Uint8Array);
  assert.deepEqual([time.get(1)?.[0], time.get(2)?.[0]], [1_700_000_000, 250_000_000]);
  assert.equal(text(inner(types[1]?.get(8)?.[0] as Uint8Array, 3)), 'no');
});
