// The tables of HPACK (RFC 7541, 2.3 and appendix A): the static one, and the one that a connection makes as it goes.

/** Name (lower case) and value, in order. Values are latin1. */
export type HeaderField = readonly [name: string, value: string];
export type HeaderList = readonly HeaderField[];

// prettier-ignore
export const staticTable: HeaderList = [
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
export const staticSize: number = staticTable.length;

/** Where names are in the static table, and the values that it has for them. */
export const staticNames: ReadonlyMap<string, StaticName> = (() => {
  const names = new Map<string, { index: number; values: Map<string, number> | undefined }>();
  staticTable.forEach(([name, value], i) => {
    let known = names.get(name);
    if (known === undefined) names.set(name, (known = { index: i + 1, values: undefined }));
    if (value !== '') (known.values ??= new Map()).set(value, i + 1);
  });
  return names;
})();

export interface StaticName {
  readonly index: number;
  readonly values: ReadonlyMap<string, number> | undefined;
}

export const fieldSize = (name: string, value: string): number => name.length + value.length + 32;

/** The dynamic table; index 0 is the newest. Sizes as RFC 7541, 4.1 counts them. */
export class DynamicTable {
  /** Oldest first; those before #first are evicted. */
  #fields: (HeaderField | undefined)[] = [];
  #first = 0;
  #size = 0;
  limit: number;

  constructor(limit: number) {
    this.limit = limit;
  }

  at(index: number): HeaderField | undefined {
    return this.#fields[this.#fields.length - 1 - index];
  }

  /** The index of the newest that is the same, or −1. */
  find(name: string, value: string): number {
    const fields = this.#fields;
    for (let i = fields.length - 1; i >= this.#first; i--) {
      const field = fields[i] as HeaderField;
      if (field[0] === name && field[1] === value) return fields.length - 1 - i;
    }
    return -1;
  }

  add(field: HeaderField): void {
    const size = fieldSize(field[0], field[1]);
    this.#evict(this.limit - size);
    if (size > this.limit) return;
    this.#fields.push(field);
    this.#size += size;
  }

  resize(limit: number): void {
    this.limit = limit;
    this.#evict(limit);
  }

  #evict(room: number): void {
    while (this.#size > Math.max(0, room)) {
      const [name, value] = this.#fields[this.#first] as HeaderField;
      this.#fields[this.#first++] = undefined;
      this.#size -= fieldSize(name, value);
    }
    // A table has at most 128 fields: the list stays short, and moving it is rare.
    if (this.#first < 128) return;
    this.#fields = this.#fields.slice(this.#first);
    this.#first = 0;
  }
}
