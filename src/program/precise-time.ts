// Time since the epoch with microseconds, for log lines and durations.

/** A step of the system's clock, in milliseconds, from which on it is followed; less is the clocks' own jitter. */
const step = 20;

/** Milliseconds since the epoch, with a fraction. Steady between steps of the system's clock, which it follows. */
export function preciseTime(
  wall: () => number = Date.now,
  steady: () => number = () => performance.now(),
): () => number {
  let offset = wall() - steady();
  return () => {
    const at = steady();
    const drift = wall() - (offset + at);
    if (drift > step || drift < -step) offset += drift;
    return offset + at;
  };
}
