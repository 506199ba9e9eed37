// Reads the URI names of a certificate from its DER (RFC 5280 §4.2.1.6). Node's own text form joins all names
// with commas, so that a name with a comma in it could pass for two; here only bytes with the right tag count.

const tag = { sequence: 0x30, octetString: 0x04, oid: 0x06, extensions: 0xa3, uri: 0x86 } as const;
const subjectAltName = [0x55, 0x1d, 0x11];

interface Element {
  readonly tag: number;
  readonly start: number;
  readonly end: number;
}

/** The element at `at`, which must lie within `end`. Only single-byte tags and definite lengths: DER has no others here. */
function element(der: Uint8Array, at: number, end: number): Element {
  const first = der[at + 1];
  if (at + 2 > end || first === undefined) throw new RangeError('a certificate is cut short');
  let length = first;
  let start = at + 2;
  if (first & 0x80) {
    const size = first & 0x7f;
    if (size === 0 || size > 3 || start + size > end) throw new RangeError('a certificate has a bad length');
    length = 0;
    for (let i = 0; i < size; i++) length = length * 256 + (der[start + i] as number);
    start += size;
  }
  if (start + length > end) throw new RangeError('a certificate is cut short');
  return { tag: der[at] as number, start, end: start + length };
}

function* children(der: Uint8Array, parent: Element): Generator<Element> {
  for (let at = parent.start; at < parent.end;) {
    const child = element(der, at, parent.end);
    yield child;
    at = child.end;
  }
}

function firstChild(der: Uint8Array, parent: Element): Element {
  return element(der, parent.start, parent.end);
}

function is(der: Uint8Array, { start, end }: Element, bytes: readonly number[]): boolean {
  return end - start === bytes.length && bytes.every((byte, i) => der[start + i] === byte);
}

// Anything beyond printable ASCII is no URI (RFC 3986) and would only serve to deceive a reader of logs.
function printable(der: Uint8Array, { start, end }: Element): string | undefined {
  let text = '';
  for (let i = start; i < end; i++) {
    const byte = der[i] as number;
    if (byte < 0x21 || byte > 0x7e) return undefined;
    text += String.fromCharCode(byte);
  }
  return text;
}

/**
 * The URI subject alternative names of a DER certificate, in order; names with characters that no URI has are left
 * out. Throws RangeError on malformed DER, and when the extension is there twice.
 */
export function uriNames(der: Uint8Array): readonly string[] {
  const tbs = firstChild(der, element(der, 0, der.length));
  const names: string[] = [];
  let seen = false;
  for (const field of children(der, tbs)) {
    if (field.tag !== tag.extensions) continue;
    for (const extension of children(der, firstChild(der, field))) {
      const parts = [...children(der, extension)];
      const [oid, value] = [parts[0], parts.at(-1)];
      if (oid?.tag !== tag.oid || value?.tag !== tag.octetString || !is(der, oid, subjectAltName)) continue;
      if (seen) throw new RangeError('a certificate has two lists of subject alternative names');
      seen = true;
      for (const name of children(der, firstChild(der, value))) {
        const text = name.tag === tag.uri ? printable(der, name) : undefined;
        if (text !== undefined) names.push(text);
      }
    }
  }
  return names;
}
