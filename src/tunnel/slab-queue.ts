// Bytes that wait for a socket, in order, copied into slabs since what is read is only lent. A slab is in use from
// the first byte that is laid into it until its bytes are written.
import { largeSlab, releaseSlab, smallSlab, takeSlab } from './slabs.ts';

/** Gives back what `take` gave, once it is written. */
export function releaseSlabs(slabs: readonly Buffer[]): void {
  for (const slab of slabs) releaseSlab(slab);
}

export class SlabQueue {
  #slabs: Buffer[] = [];
  /** Bytes in the last slab. */
  #end = 0;
  /** Bytes that wait. */
  size = 0;

  /** Copies the chunk. */
  push(chunk: Buffer): void {
    this.size += chunk.length;
    let at = 0;
    while (at < chunk.length) {
      let slab = this.#slabs.at(-1);
      if (slab === undefined || this.#end === slab.length) {
        slab = takeSlab(slab !== undefined || chunk.length - at > smallSlab ? largeSlab : smallSlab);
        this.#slabs.push(slab);
        this.#end = 0;
      }
      const length = chunk.copy(slab, this.#end, at);
      this.#end += length;
      at += length;
    }
  }

  /** All that waits, in order; the queue is then empty. Every slab but the last is full. Release them when written. */
  take(): { readonly slabs: readonly Buffer[]; readonly last: number } {
    const taken = { slabs: this.#slabs, last: this.#end };
    this.#slabs = [];
    this.#end = 0;
    this.size = 0;
    return taken;
  }
}
