// Bytes of a connection whose turn has not come. Their window has not been given back, which bounds them.

export class HeldBytes {
  #pieces: Buffer[] = [];
  bytes = 0;

  /** Copies the chunk from `at` on. */
  add(chunk: Buffer, at: number): void {
    this.#pieces.push(Buffer.from(at === 0 ? chunk : chunk.subarray(at)));
    this.bytes += chunk.length - at;
  }

  take(): Buffer {
    const all = this.#pieces.length === 1 ? (this.#pieces[0] as Buffer) : Buffer.concat(this.#pieces);
    this.clear();
    return all;
  }

  /** @returns how many there were */
  clear(): number {
    const { bytes } = this;
    this.#pieces = [];
    this.bytes = 0;
    return bytes;
  }
}
