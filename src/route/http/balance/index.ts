// Choosing an endpoint. Part of route/http, exported through its door.
export * from './balancer.ts';
export type { Candidate, Place } from './candidate.ts';
export { hashText } from './hash.ts';
export * from './hash-key.ts';
export { levelLoads, type LevelHealth, type LevelLoad } from './level-loads.ts';
export * from './subset.ts';
