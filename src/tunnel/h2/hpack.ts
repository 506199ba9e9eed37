// HPACK (RFC 7541): the header compression of HTTP/2. Decodes everything a peer may send; encodes with the
// static table, a small dynamic table and plain literals, so that a tunnel that repeats itself costs a byte a field.
import { huffmanDecode } from './huffman.ts';

/** Name (lower case) and value, in order. Values are latin1. */
export type HeaderField = readonly [name: string, value: string];
export type HeaderList = readonly HeaderField[];

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

// prettier-ignore
const staticTable: HeaderList = [
  [':authority', ''], [':method', 'GET'], [':method', 'POST'], [':path', '/'], [':path', '/index.html'], [':scheme', 'http'],
  [':scheme', 'https'], [':status', '200'], [':status', '204'], [':status', '206'], [':status', '304'], [':status', '400'],
  [':status', '404'], [':status', '500'], ['accept-charset', ''], ['accept-encoding', 'gzip, deflate'], ['accept-language', ''],
  ['accept-ranges', ''], ['accept', ''], ['access-control-allow-origin', ''], ['age', ''], ['allow', ''], ['authorization', ''],
  ['cache-control', ''], ['content-disposition', ''], ['content-encoding', ''], ['content-language', ''], ['content-length', ''],
  ['content-location', ''], ['content-range', ''], ['content-type', ''], ['cookie', ''], ['date', ''], ['etag', ''], ['expect', ''],
  ['expires', ''], ['from', ''], ['host', ''], ['if-match', ''], ['if-modified-since', ''], ['if-none-match', ''], ['if-range', ''],
  ['if-unmodified-since', ''], ['last-modified', ''], ['link', ''], ['location', ''], ['max-forwards', ''], ['proxy-authenticate', ''],
  ['proxy-authorization', ''], ['range', ''], ['referer', ''], ['refresh', ''], ['retry-after', ''], ['server', ''], ['set-cookie', ''],
  ['strict-transport-security', ''], ['transfer-encoding', ''], ['user-agent', ''], ['vary', ''], ['via', ''], ['www-authenticate', ''],
];
const staticSize = staticTable.length;

const fieldSize = (name: string, value: string): number => name.length + value.length + 32;

/** The dynamic table, newest first. Sizes as RFC 7541, 4.1 counts them. */
class DynamicTable {
  readonly #fields: HeaderField[] = [];
  #size = 0;
  limit: number;

  constructor(limit: number) {
    this.limit = limit;
  }

  get length(): number {
    return this.#fields.length;
  }

  at(index: number): HeaderField | undefined {
    return this.#fields[index];
  }

  find(name: string, value: string): number {
    return this.#fields.findIndex((field) => field[0] === name && field[1] === value);
  }

  add(name: string, value: string): void {
    const size = fieldSize(name, value);
    this.#evict(this.limit - size);
    if (size > this.limit) return;
    this.#fields.unshift([name, value]);
    this.#size += size;
  }

  resize(limit: number): void {
    this.limit = limit;
    this.#evict(limit);
  }

  #evict(room: number): void {
    while (this.#size > Math.max(0, room)) {
      const [name, value] = this.#fields.pop() as HeaderField;
      this.#size -= fieldSize(name, value);
    }
  }
}

const nothing = new Uint8Array(0);

export class HpackDecoder {
  readonly #table: DynamicTable;
  readonly #tableLimit: number;
  readonly #listLimit: number;
  #bytes: Uint8Array = nothing;
  #at = 0;

  /** @param listLimit largest header list, counted as SETTINGS_MAX_HEADER_LIST_SIZE counts it */
  constructor(listLimit: number, tableLimit = 4096) {
    this.#table = new DynamicTable(tableLimit);
    this.#tableLimit = tableLimit;
    this.#listLimit = listLimit;
  }

  /** One whole header block. Throws HeadersTooLarge; or CompressionError, after which the decoder is of no use. */
  decode(block: Uint8Array): HeaderList {
    this.#bytes = block;
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
        this.#table.add(field[0], field[1]);
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
    const raw = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    if (!huffman) return Buffer.from(raw.buffer, raw.byteOffset, raw.length).toString('latin1');
    const decoded = huffmanDecode(raw);
    if (decoded === undefined) throw new CompressionError('string has an invalid Huffman code');
    return decoded.toString('latin1');
  }

  #byte(): number {
    const byte = this.#bytes[this.#at++];
    if (byte === undefined) throw new CompressionError('header block ends early');
    return byte;
  }
}

const staticNames = new Map<string, number>();
const staticFields = new Map<string, number>();
staticTable.forEach(([name, value], i) => {
  if (!staticNames.has(name)) staticNames.set(name, i + 1);
  if (value !== '') staticFields.set(`${name}\0${value}`, i + 1);
});

/** A header that differs at every request is not worth a place in the table. */
const neverIndexed = new Set(['traceparent', 'forwarded', ':authority']);

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
    for (const [name, value] of fields) this.#encodeField(name, value);
    return this.#out.subarray(0, this.#length);
  }

  #resize(limit: number): void {
    this.#table.resize(limit);
    this.#integer(0x20, 5, limit);
  }

  #encodeField(name: string, value: string): void {
    const known = staticFields.get(`${name}\0${value}`);
    if (known !== undefined) {
      this.#integer(0x80, 7, known);
      return;
    }
    const indexed = this.#table.limit >= fieldSize(name, value) && !neverIndexed.has(name);
    if (indexed) {
      const at = this.#table.find(name, value);
      if (at >= 0) {
        this.#integer(0x80, 7, staticSize + 1 + at);
        return;
      }
    }
    const nameIndex = staticNames.get(name) ?? 0;
    if (indexed) {
      this.#integer(0x40, 6, nameIndex);
      this.#table.add(name, value);
    } else {
      this.#integer(0, 4, nameIndex);
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
