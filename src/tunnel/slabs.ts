// Memory that bytes wait in on their way to a socket, used again and again: what is allocated per chunk costs more in
// garbage collection than the copy. One pool per thread, so that an idle connection holds none.

export const smallSlab: number = 4 * 1024;
/** Room for the largest read and the head of a frame. */
export const largeSlab: number = 64 * 1024 + 64;
/** Free slabs that are kept per size: 4 MiB each. */
const keepSmall = 1024;
const keepLarge = 64;

const freeSmall: Buffer[] = [];
const freeLarge: Buffer[] = [];

/** A slab of at least `bytes`, small or large; the content is what it was. */
export function takeSlab(bytes: number): Buffer {
  const large = bytes > smallSlab;
  // A session inside a session lays frames of more than the largest read: such memory is not kept.
  if (bytes > largeSlab) return Buffer.allocUnsafeSlow(bytes);
  return (large ? freeLarge : freeSmall).pop() ?? Buffer.allocUnsafeSlow(large ? largeSlab : smallSlab);
}

/** Gives a slab back once nobody reads or writes it any more. */
export function releaseSlab(slab: Buffer): void {
  if (slab.length === smallSlab && freeSmall.length < keepSmall) freeSmall.push(slab);
  else if (slab.length === largeSlab && freeLarge.length < keepLarge) freeLarge.push(slab);
}
