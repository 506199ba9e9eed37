// Reads a protobuf message without its schema, for tests that look at what went over the wire.

export type ProtoValue = bigint | Uint8Array;

/** Values by field number, in order. Varints and fixed64 as numbers, fixed32 as numbers, the rest as bytes. */
export function protoFields(bytes: Uint8Array): Map<number, ProtoValue[]> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const fields = new Map<number, ProtoValue[]>();
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = view.getUint8(at++);
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  const value = (type: number): ProtoValue => {
    if (type === 0) return varint();
    if (type === 1) return view.getBigUint64((at += 8) - 8, true);
    if (type === 5) return BigInt(view.getUint32((at += 4) - 4, true));
    if (type !== 2) throw new TypeError(`wire type ${type} at ${at}`);
    const length = Number(varint());
    at += length;
    return bytes.subarray(at - length, at);
  };
  while (at < bytes.length) {
    const tag = Number(varint());
    const list = fields.get(tag >>> 3) ?? [];
    list.push(value(tag & 7));
    fields.set(tag >>> 3, list);
  }
  return fields;
}

/** Bytes as text. */
export const texts = (value: unknown): string | undefined =>
  value instanceof Uint8Array ? new TextDecoder().decode(value) : undefined;
