// Field lines of HTTP/1.1, read strictly (RFC 9112, 5): what two readers could understand in two ways is refused.
import {
  isToken,
  lowerTokenByte,
  mayNotBeNamedByConnection,
  parseContentLength,
  valueByte,
} from '../header-rules.ts';
import { hashStep, knownByText, knownName, role, type Role } from './known-names.ts';
import { refuse, type Refusal } from './refusal.ts';

/** Each is compared with each header. */
const maxNamed = 16;

const cr = 13;
const lf = 10;
const colon = 58;
const space = 32;
const tab = 9;

/** The fields of one head: what the codec reads itself apart, all others in a list as HeaderMap has it. */
export class FieldBlock {
  flat: string[] = [];
  count = 0;
  host: string | undefined;
  contentLength: number | undefined;
  chunked = false;
  /** Of Connection. */
  close = false;
  keepAlive = false;
  namesUpgrade = false;
  #named: string[] | undefined;
  #trailers = false;
  upgrade: string | undefined;
  expectsContinue = false;

  /** True if framing says how long the body is. */
  get framed(): boolean {
    return this.chunked || this.contentLength !== undefined;
  }

  /**
   * Reads lines until the empty one.
   * @param text of `bytes` from `base` on, latin1
   * @param at of the first line. The bytes end with an empty line, or with a byte that is not allowed.
   * @param limit of fields
   */
  read(bytes: Uint8Array, text: string, base: number, at: number, limit: number): Refusal | undefined {
    for (;;) {
      if (bytes[at] === cr) return bytes[at + 1] === lf ? this.#finish() : refuse('a bare CR');
      const from = at;
      let hash = 0;
      for (let c = lowerTokenByte[bytes[at] as number]; c !== 0 && c !== undefined;) {
        hash = hashStep(hash, c);
        c = lowerTokenByte[bytes[++at] as number];
      }
      if (bytes[at] !== colon || at === from) return badName(bytes[at], at === from);
      const known = knownName(bytes, from, at, hash);
      const nameEnd = at++;
      while (bytes[at] === space || bytes[at] === tab) at++;
      const valueFrom = at;
      while (valueByte[bytes[at] as number] === 1) at++;
      if (bytes[at] !== cr || bytes[at + 1] !== lf) return badValue(bytes[at]);
      let to = at;
      while (to > valueFrom && (bytes[to - 1] === space || bytes[to - 1] === tab)) to--;
      at += 2;
      if (++this.count > limit) return refuse(`more than ${limit} headers`, 431);
      const value = text.slice(valueFrom - base, to - base);
      const name = known?.name ?? text.slice(from - base, nameEnd - base).toLowerCase();
      const own = (known ?? knownByText(name))?.role ?? role.ordinary;
      if (own === role.ordinary) this.flat.push(name, value);
      else {
        const refusal = this.#own(own, value);
        if (refusal !== undefined) return refusal;
      }
    }
  }

  #own(own: Role, value: string): Refusal | undefined {
    switch (own) {
      case role.host:
        if (this.host !== undefined) return refuse('more than one Host');
        this.host = value;
        return undefined;
      case role.contentLength: {
        // RFC 9110, 8.6 lets a list of equal lengths pass; nobody sends one in good faith.
        if (this.contentLength !== undefined) return refuse('more than one Content-Length');
        this.contentLength = parseContentLength(value);
        return this.contentLength === undefined ? refuse('an invalid Content-Length') : undefined;
      }
      case role.transferEncoding:
        // Of other codings nobody knows the end, and `chunked, chunked` is an attack.
        if (this.chunked) return refuse('more than one Transfer-Encoding');
        if (value.toLowerCase() !== 'chunked') return refuse('a Transfer-Encoding other than chunked');
        this.chunked = true;
        return undefined;
      case role.connection:
        return this.#connection(value);
      case role.upgrade:
        // h2c is not offered (RFC 9113, 3.1); of a list, the first that is not h2c.
        for (const protocol of value.toLowerCase().split(',')) {
          const offered = protocol.trim();
          if (offered !== 'h2c' && /^[\w!#$%&'*+\-.^`|~]+(?:\/[\w!#$%&'*+\-.^`|~]+)?$/.test(offered))
            this.upgrade ??= offered;
        }
        return undefined;
      case role.expect:
        if (value.toLowerCase() !== '100-continue') return refuse('an unknown Expect', 417);
        this.expectsContinue = true;
        return undefined;
      case role.te:
        for (const coding of value.toLowerCase().split(','))
          if (coding.trim() === 'trailers' && !this.#trailers) {
            this.#trailers = true;
            this.flat.push('te', 'trailers');
          }
        return undefined;
      case role.dropped:
      case role.ordinary:
        return undefined;
    }
  }

  #connection(value: string): Refusal | undefined {
    const lower = value.toLowerCase();
    if (lower === 'keep-alive') this.keepAlive = true;
    else if (lower === 'close') this.close = true;
    else if (lower === 'upgrade') this.namesUpgrade = true;
    else
      for (const part of lower.split(',')) {
        const option = part.trim();
        if (option === '') continue;
        if (!isToken(option)) return refuse('an invalid Connection');
        if (option === 'keep-alive') this.keepAlive = true;
        else if (option === 'close') this.close = true;
        else if (option === 'upgrade') this.namesUpgrade = true;
        else if (mayNotBeNamedByConnection(option)) return refuse(`Connection names ${option}`);
        else if (option !== 'te') {
          this.#named ??= [];
          if (this.#named.length === maxNamed) return refuse('Connection names too many headers');
          this.#named.push(option);
        }
      }
    return undefined;
  }

  #finish(): undefined {
    if (this.#named === undefined) return;
    const kept: string[] = [];
    for (let i = 0; i < this.flat.length; i += 2)
      if (!this.#named.includes(this.flat[i] as string))
        kept.push(this.flat[i] as string, this.flat[i + 1] as string);
    this.flat = kept;
  }
}

function badName(byte: number | undefined, empty: boolean): Refusal {
  if (byte === space || byte === tab)
    return refuse(empty ? 'a folded header or a blank before one' : 'a blank before a colon');
  if (byte === colon) return refuse('a header without a name');
  return byte === lf ? refuse('a bare LF') : refuse('an invalid byte in the name of a header');
}

function badValue(byte: number | undefined): Refusal {
  if (byte === cr) return refuse('a bare CR');
  return byte === lf ? refuse('a bare LF') : refuse('a control byte in a header');
}
