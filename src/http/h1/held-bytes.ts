// Bytes of a connection whose turn has not come. Their window has not been given back, which bounds them. They are kept
// in one piece: a peer could send one byte at a time.

export class HeldBytes {
  #store: Buffer | undefined;
  bytes = 0;

  /** Copies the chunk from `at` on. */
  add(chunk: Buffer, at: number): void {
    const length = this.bytes + chunk.length - at;
    if (this.#store === undefined || this.#store.length < length) {
      const grown = Buffer.allocUnsafe(Math.max(512, length, this.bytes * 2));
      this.#store?.copy(grown, 0, 0, this.bytes);
      this.#store = grown;
    }
    chunk.copy(this.#store, this.bytes, at);
    this.bytes = length;
  }

  take(): Buffer {
    const all = this.#store?.subarray(0, this.bytes) ?? Buffer.alloc(0);
    this.clear();
    return all;
  }

  /** @returns how many there were */
  clear(): number {
    const { bytes } = this;
    this.#store = undefined;
    this.bytes = 0;
    return bytes;
  }
}
