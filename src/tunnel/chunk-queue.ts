// Bytes that wait for a slow reader, in order. A peer may send them one at a time, and each chunk costs far more than
// its bytes and may hold on to a larger one that it was cut from: small ones are copied together, so that what waits
// costs about as much memory as it has bytes.

/** Chunks from this size on are kept as they are, if they make up half of the memory that they hold. */
const keepFrom = 4096;
const firstSlab = 1024;
const largestSlab = 16 * 1024;

export class ChunkQueue {
  #pieces: Buffer[] = [];
  /** The newest chunk, as it came: one that stays alone is never copied. */
  #newest: Buffer | undefined;
  #slab: Buffer | undefined;
  #start = 0;
  #end = 0;
  /** Bytes that wait. */
  size = 0;

  push(chunk: Buffer): void {
    this.size += chunk.length;
    if (this.#newest !== undefined) this.#store(this.#newest);
    this.#newest = chunk;
  }

  #store(chunk: Buffer): void {
    if (chunk.length >= keepFrom && chunk.length * 2 >= chunk.buffer.byteLength) {
      this.#seal();
      this.#pieces.push(chunk);
      return;
    }
    let at = 0;
    while (at < chunk.length) {
      const slab = this.#room();
      const length = chunk.copy(slab, this.#end, at);
      this.#end += length;
      at += length;
    }
  }

  #room(): Buffer {
    if (this.#slab !== undefined && this.#end < this.#slab.length) return this.#slab;
    this.#seal();
    const size = this.#slab === undefined ? firstSlab : Math.min(largestSlab, this.#slab.length * 4);
    this.#slab = Buffer.allocUnsafeSlow(size);
    this.#start = this.#end = 0;
    return this.#slab;
  }

  #seal(): void {
    if (this.#slab !== undefined && this.#end > this.#start)
      this.#pieces.push(this.#slab.subarray(this.#start, this.#end));
    this.#start = this.#end;
  }

  /** All that waits, in order. The queue is then empty. */
  take(): Buffer[] {
    this.#seal();
    const pieces = this.#pieces;
    if (this.#newest !== undefined) pieces.push(this.#newest);
    this.#pieces = [];
    this.#newest = undefined;
    this.#slab = undefined;
    this.#start = this.#end = 0;
    this.size = 0;
    return pieces;
  }
}
