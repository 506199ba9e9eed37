// The limits of a connection, with their defaults.
import type { HttpLimits } from './exchange.ts';

export const defaultHttpLimits: HttpLimits = {
  maxHeadBytes: 60 * 1024,
  maxHeaders: 100,
  maxTrailers: 100,
  maxConcurrentStreams: 100,
  headTimeoutMs: 60_000,
  idleTimeoutMs: 3_600_000,
};
