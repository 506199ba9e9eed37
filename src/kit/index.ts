// kit: small pure tools without mesh words. Owns addresses, delays, time, sizes of things.
// Imports nothing of the house. Must not know pods, policies, tunnels or files.
export * from './backoff.ts';
export * from './clock.ts';
export * from './ip.ts';
export * from './log.ts';
export * from './lru.ts';
export * from './single-flight.ts';
