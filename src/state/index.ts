// state: what the mesh is right now. Owns the store of workloads, services and policies with its indexes, and the
// mirror: the part of the store that a worker holds, kept up to date by messages that are plain data.
// Imports kit, model and policy. Must not know how records arrive (xDS), how messages travel (threads), or what is
// decided on them.
export * from './mesh-store.ts';
export * from './mirror-messages.ts';
export * from './mirror-source.ts';
export * from './mirror-view.ts';
export type { LocalName } from './workload-index.ts';
