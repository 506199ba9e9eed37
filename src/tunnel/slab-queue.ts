// Bytes that wait for a socket, copied into slabs that are used again and again: what is read is only lent, and
// memory that is allocated per chunk costs more in garbage collection than the copy. A slab is in use from the first
// byte that is laid into it until its bytes are written.

const smallSize = 4 * 1024;
const largeSize = 64 * 1024;
/** Free slabs that are kept per size: 4 MiB each. */
const keepSmall = 1024;
const keepLarge = 64;

const freeSmall: Buffer[] = [];
const freeLarge: Buffer[] = [];

function takeSlab(large: boolean): Buffer {
  return (large ? freeLarge : freeSmall).pop() ?? Buffer.allocUnsafeSlow(large ? largeSize : smallSize);
}

/** Gives slabs back once nobody reads or writes them any more. */
export function releaseSlabs(slabs: readonly Buffer[]): void {
  for (const slab of slabs) {
    if (slab.length === smallSize && freeSmall.length < keepSmall) freeSmall.push(slab);
    else if (slab.length === largeSize && freeLarge.length < keepLarge) freeLarge.push(slab);
  }
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
        slab = takeSlab(slab !== undefined || chunk.length - at > smallSize);
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
