// waypoint/extensions: filters of the user's own. Owns their threads, what goes there and back, deadlines and restarts.
// Must not know the chain of filters or connections: callers say when a phase is called, and what follows from its answer.
export { applyEdits, type ExtensionAnswer, type ExtensionResult } from './answer.ts';
export { countExtensions, extensionFamilies, type ExtensionReport } from './counters.ts';
export { ExtensionHost, type ExtensionHostOptions } from './host.ts';
export { ExtensionHosts } from './hosts.ts';
export type * from './module-types.ts';
export { limits as extensionLimits, type PhaseInput } from './protocol.ts';
