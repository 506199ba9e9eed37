// HPACK (RFC 7541): the header compression of HTTP/2. Decodes everything a peer may send; encodes with the
// static table, a small dynamic table and plain literals, so that a tunnel that repeats itself costs a byte a field.
import {
  DynamicTable,
  fieldSize,
  staticNames,
  staticSize,
  staticTable,
  type HeaderField,
  type HeaderList,
} from './hpack-table.ts';
import { huffmanDecode } from './huffman.ts';

export type { HeaderField, HeaderList };

/** The compressed state of the connection is lost: the connection must end (RFC 9113, 4.3). */
export class CompressionError extends Error {}

/** The list is larger than the limit. The compressed state is intact: only the stream must end. */
export class HeadersTooLarge extends Error {
  /** The fields before the limit. */
  readonly kept: HeaderList;

  constructor(message: string, kept: HeaderList) {
    super(message);
    this.kept = kept;
  }
}

const nothing = Buffer.alloc(0);

export class HpackDecoder {
  readonly #table: DynamicTable;
  readonly #tableLimit: number;
  readonly #listLimit: number;
  #bytes: Buffer = nothing;
  #at = 0;

  /** @param listLimit largest header list, counted as SETTINGS_MAX_HEADER_LIST_SIZE counts it */
  constructor(listLimit: number, tableLimit = 4096) {
    this.#table = new DynamicTable(tableLimit);
    this.#tableLimit = tableLimit;
    this.#listLimit = listLimit;
  }

  /** One whole header block. Throws HeadersTooLarge; or CompressionError, after which the decoder is of no use. */
  decode(block: Uint8Array): HeaderList {
    this.#bytes = Buffer.isBuffer(block) ? block : Buffer.from(block.buffer, block.byteOffset, block.length);
    this.#at = 0;
    try {
      return this.#fields(block.length);
    } finally {
      // The block is a piece of the transport's chunk, which an idle connection must not hold on to.
      this.#bytes = nothing;
    }
  }

  #fields(length: number): HeaderList {
    const fields: HeaderField[] = [];
    let size = 0;
    let begun = false;
    while (this.#at < length) {
      const first = this.#bytes[this.#at] as number;
      let field: HeaderField;
      if (first >= 0x80) {
        field = this.#field(this.#integer(7));
      } else if (first >= 0x40) {
        field = this.#literal(6);
        this.#table.add(field);
      } else if (first >= 0x20) {
        const limit = this.#integer(5);
        if (begun) throw new CompressionError('table size update after a field');
        if (limit > this.#tableLimit)
          throw new CompressionError(`table size ${limit} is over ${this.#tableLimit}`);
        this.#table.resize(limit);
        continue;
      } else {
        field = this.#literal(4);
      }
      begun = true;
      size += fieldSize(field[0], field[1]);
      // A list that is too large is read to its end, since the table is shared by all streams.
      if (size <= this.#listLimit) fields.push(field);
    }
    if (size > this.#listLimit)
      throw new HeadersTooLarge(`header list of ${size}, over ${this.#listLimit}`, fields);
    return fields;
  }

  #field(index: number): HeaderField {
    const field = index <= staticSize ? staticTable[index - 1] : this.#table.at(index - staticSize - 1);
    if (field === undefined) throw new CompressionError(`no header at index ${index}`);
    return field;
  }

  #literal(prefix: number): HeaderField {
    const index = this.#integer(prefix);
    const name = index === 0 ? this.#string() : this.#field(index)[0];
    return [name, this.#string()];
  }

  #integer(prefix: number): number {
    const mask = (1 << prefix) - 1;
    let value = this.#byte() & mask;
    if (value < mask) return value;
    for (let shift = 0; shift <= 21; shift += 7) {
      const byte = this.#byte();
      value += (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw new CompressionError('integer is too long');
  }

  #string(): string {
    const huffman = ((this.#bytes[this.#at] ?? 0) & 0x80) !== 0;
    const length = this.#integer(7);
    const end = this.#at + length;
    if (end > this.#bytes.length) throw new CompressionError('string runs past the end of the block');
    const start = this.#at;
    this.#at = end;
    if (!huffman) return this.#bytes.toString('latin1', start, end);
    const decoded = huffmanDecode(this.#bytes.subarray(start, end));
    if (decoded === undefined) throw new CompressionError('string has an invalid Huffman code');
    return decoded.toString('latin1');
  }

  #byte(): number {
    const byte = this.#bytes[this.#at++];
    if (byte === undefined) throw new CompressionError('header block ends early');
    return byte;
  }
}

/**
 * What differs at every request is not worth a place in the table; and what is secret must not be guessed by filling
 * the table (RFC 7541, 7.1): `secret` is also to be so wherever it goes on.
 */
const neverIndexed = new Set(
  `traceparent tracestate b3 x-b3-traceid x-b3-spanid x-b3-parentspanid x-request-id forwarded x-forwarded-for
  :authority :path content-length content-range date age etag expires last-modified if-modified-since if-none-match
  location grpc-timeout grpc-message x-envoy-upstream-service-time`.split(/\s+/),
);
const secret = new Set(['authorization', 'proxy-authorization', 'cookie', 'set-cookie']);

const largestTable = 4096;

export class HpackEncoder {
  readonly #table = new DynamicTable(largestTable);
  #pendingLimit: number | undefined;
  #lowestLimit = largestTable;
  #out: Buffer = Buffer.allocUnsafe(1024);
  #length = 0;

  /** The peer's SETTINGS_HEADER_TABLE_SIZE; at most 4096 is used. Announced in the next block. */
  setTableLimit(limit: number): void {
    const used = Math.min(limit, largestTable);
    if (this.#pendingLimit === undefined) {
      if (used === this.#table.limit) return;
      this.#lowestLimit = used;
    }
    this.#lowestLimit = Math.min(this.#lowestLimit, used);
    this.#pendingLimit = used;
  }

  /** Encodes one block. The result is valid until the next call. */
  encode(fields: HeaderList): Buffer {
    this.#length = 0;
    if (this.#pendingLimit !== undefined) {
      // The lowest limit in between is announced as well (RFC 7541, 4.2): the peer has emptied its table for it.
      if (this.#lowestLimit < this.#pendingLimit) this.#resize(this.#lowestLimit);
      this.#resize(this.#pendingLimit);
      this.#pendingLimit = undefined;
    }
    for (const field of fields) this.#encodeField(field);
    return this.#out.subarray(0, this.#length);
  }

  #resize(limit: number): void {
    this.#table.resize(limit);
    this.#integer(0x20, 5, limit);
  }

  #encodeField(field: HeaderField): void {
    const [name, value] = field;
    const known = staticNames.get(name);
    const whole = known?.values?.get(value);
    if (whole !== undefined) {
      this.#integer(0x80, 7, whole);
      return;
    }
    const nameIndex = known?.index ?? 0;
    if (neverIndexed.has(name) || fieldSize(name, value) > this.#table.limit) {
      this.#integer(0, 4, nameIndex);
    } else if (secret.has(name)) {
      this.#integer(0x10, 4, nameIndex);
    } else {
      const at = this.#table.find(name, value);
      if (at >= 0) {
        this.#integer(0x80, 7, staticSize + 1 + at);
        return;
      }
      this.#integer(0x40, 6, nameIndex);
      this.#table.add(field);
    }
    if (nameIndex === 0) this.#string(name);
    this.#string(value);
  }

  #integer(flags: number, prefix: number, value: number): void {
    this.#reserve(6);
    const mask = (1 << prefix) - 1;
    if (value < mask) {
      this.#out[this.#length++] = flags | value;
      return;
    }
    this.#out[this.#length++] = flags | mask;
    let rest = value - mask;
    for (; rest >= 0x80; rest >>>= 7) this.#out[this.#length++] = (rest & 0x7f) | 0x80;
    this.#out[this.#length++] = rest;
  }

  #string(text: string): void {
    this.#integer(0, 7, text.length);
    this.#reserve(text.length);
    this.#length += this.#out.write(text, this.#length, 'latin1');
  }

  #reserve(bytes: number): void {
    if (this.#length + bytes <= this.#out.length) return;
    const larger = Buffer.allocUnsafe(Math.max(this.#out.length * 2, this.#length + bytes));
    this.#out.copy(larger, 0, 0, this.#length);
    this.#out = larger;
  }
}
