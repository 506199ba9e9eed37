// Header fields in their order, looked up by lower-case name. Names are kept in lower case: HTTP/1.1 does not care,
// HTTP/2 demands it. Values are checked by the codecs before they come here.

/** A flat list `[name, value, name, value, …]` with the look-ups that routing and policy need. */
export class HeaderMap {
  #flat: string[];

  constructor(flat?: readonly string[]) {
    this.#flat = flat === undefined ? [] : flat.slice();
  }

  /** For codecs: takes the list itself, which the caller gives away. */
  static adopt(flat: string[]): HeaderMap {
    const map = new HeaderMap();
    map.#flat = flat;
    return map;
  }

  static of(entries: Iterable<readonly [string, string]>): HeaderMap {
    const map = new HeaderMap();
    for (const [name, value] of entries) map.add(name, value);
    return map;
  }

  /** Several values joined with `,` (RFC 9110, 5.2), cookies with `; ` (RFC 9113, 8.2.3). */
  get(name: string): string | undefined {
    let found: string | undefined;
    for (let i = 0; i < this.#flat.length; i += 2)
      if (this.#flat[i] === name) {
        const value = this.#flat[i + 1] as string;
        found = found === undefined ? value : `${found}${name === 'cookie' ? '; ' : ','}${value}`;
      }
    return found;
  }

  /** Every value as it was sent. */
  all(name: string): string[] {
    const values: string[] = [];
    for (let i = 0; i < this.#flat.length; i += 2)
      if (this.#flat[i] === name) values.push(this.#flat[i + 1] as string);
    return values;
  }

  has(name: string): boolean {
    for (let i = 0; i < this.#flat.length; i += 2) if (this.#flat[i] === name) return true;
    return false;
  }

  /** Appends. */
  add(name: string, value: string): void {
    this.#flat.push(name, value);
  }

  /** Replaces all of that name, in the place of the first. */
  set(name: string, value: string): void {
    for (let i = 0; i < this.#flat.length; i += 2)
      if (this.#flat[i] === name) {
        this.#flat[i + 1] = value;
        this.#remove(name, i + 2);
        return;
      }
    this.#flat.push(name, value);
  }

  delete(name: string): void {
    this.#remove(name, 0);
  }

  #remove(name: string, from: number): void {
    let kept = from;
    for (let i = from; i < this.#flat.length; i += 2) {
      if (this.#flat[i] === name) continue;
      this.#flat[kept] = this.#flat[i] as string;
      this.#flat[kept + 1] = this.#flat[i + 1] as string;
      kept += 2;
    }
    this.#flat.length = kept;
  }

  /** Number of fields. */
  get size(): number {
    return this.#flat.length / 2;
  }

  /** The flat list itself, for codecs; not to be changed. */
  get flat(): readonly string[] {
    return this.#flat;
  }

  clone(): HeaderMap {
    return new HeaderMap(this.#flat);
  }
}
