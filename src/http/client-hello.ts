// The first message of TLS, as far as routing needs it: the server's name and the protocols that are offered
// (RFC 8446, 4.1.2; RFC 6066, 3; RFC 7301). It is read before anything is trusted.

export interface ClientHello {
  /** Lower case; undefined if none was sent or it is no hostname. */
  readonly sni: string | undefined;
  /** In the client's order; latin1. */
  readonly alpn: readonly string[];
}

const malformed = 'malformed';
const more = 'more';

const handshakeRecord = 22;
const clientHello = 1;
const maxHello = 16_384;

/** @returns 'more' if it is cut off, 'malformed' if it breaks its own lengths, is too long, or says a thing twice */
export function readClientHello(bytes: Uint8Array): ClientHello | 'more' | 'malformed' {
  const message = unwrapRecords(bytes);
  return typeof message === 'string' ? message : parse(new Cursor(message));
}

/** The bytes of the message, out of as many records as it was cut into. */
function unwrapRecords(bytes: Uint8Array): Uint8Array | 'more' | 'malformed' {
  const pieces: Uint8Array[] = [];
  let have = 0;
  for (let at = 0; ;) {
    if (bytes.length < at + 5) return more;
    const length = u16(bytes, at + 3);
    if (bytes[at] !== handshakeRecord || bytes[at + 1] !== 3 || length === 0 || length > maxHello)
      return malformed;
    const piece = bytes.subarray(at + 5, at + 5 + length);
    pieces.push(piece);
    have += piece.length;
    at += 5 + length;
    const message = have < 4 ? undefined : Buffer.concat(pieces);
    if (message !== undefined) {
      const size = message.readUIntBE(1, 3);
      if (message[0] !== clientHello || size > maxHello) return malformed;
      if (have >= 4 + size) return message.subarray(4, 4 + size);
    }
    if (piece.length < length) return more;
  }
}

const u16 = (bytes: Uint8Array, at: number): number =>
  ((bytes[at] as number) << 8) | (bytes[at + 1] as number);

/** Reads forward; `ok` turns false for good when the bytes do not suffice. */
class Cursor {
  readonly bytes: Uint8Array;
  at = 0;
  ok = true;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  get atEnd(): boolean {
    return this.at >= this.bytes.length;
  }

  take(length: number): Uint8Array {
    if (this.at + length > this.bytes.length) {
      this.ok = false;
      this.at = this.bytes.length;
      return new Uint8Array();
    }
    const taken = this.bytes.subarray(this.at, this.at + length);
    this.at += length;
    return taken;
  }

  number(size: number): number {
    let value = 0;
    for (const byte of this.take(size)) value = value * 256 + byte;
    return value;
  }

  /** What stands behind a length of `size` bytes. */
  block(size: number): Cursor {
    const inner = new Cursor(this.take(this.number(size)));
    inner.ok = this.ok;
    return inner;
  }
}

function parse(hello: Cursor): ClientHello | 'malformed' {
  hello.take(2 + 32);
  hello.block(1);
  hello.block(2);
  hello.block(1);
  if (!hello.ok) return malformed;
  if (hello.atEnd) return { sni: undefined, alpn: [] };
  const extensions = hello.block(2);
  if (!hello.atEnd) return malformed;
  const seen = new Set<number>();
  let sni: string | undefined;
  let alpn: string[] = [];
  while (!extensions.atEnd) {
    const type = extensions.number(2);
    const body = extensions.block(2);
    if (!extensions.ok || seen.has(type)) return malformed;
    seen.add(type);
    if (type === 0) sni = serverName(body);
    else if (type === 16) alpn = protocols(body);
    if (!body.ok) return malformed;
  }
  return extensions.ok ? { sni, alpn } : malformed;
}

function serverName(body: Cursor): string | undefined {
  const list = body.block(2);
  const type = list.number(1);
  const name = list.block(2);
  body.ok = list.ok && name.ok && type === 0 && list.atEnd && body.atEnd;
  const text = Buffer.from(name.bytes).toString('latin1').toLowerCase();
  return /^(?!\.)(?:[a-z0-9_-]|\.(?=[a-z0-9_-])){1,253}$/.test(text) ? text : undefined;
}

function protocols(body: Cursor): string[] {
  const list = body.block(2);
  const names: string[] = [];
  while (!list.atEnd) {
    const name = list.block(1).bytes;
    if (name.length === 0) list.ok = false;
    names.push(Buffer.from(name).toString('latin1'));
  }
  body.ok = list.ok && body.atEnd;
  return names;
}
