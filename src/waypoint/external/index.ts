// waypoint/external: services that are asked about a request. Owns their protocols, deadlines, limits, and what becomes
// of a request when they do not answer. Must not know policies: callers say whom to ask.
export { ExternalAuthorizer, unknownProvider } from './authorizer.ts';
export type { AuthzAnswer, AuthzProvider, AuthzRequest, BodyPrefix } from './authz-answer.ts';
export { ExternalChannels, type ExternalChannelOptions } from './channels.ts';
export { CallFailure, emptyCallCounters, type CallCounters } from './call-failure.ts';
export { applyHeaderEdits, type HeaderEdit } from './header-edits.ts';
export { HttpClients } from './http-clients.ts';
export { ExternalProcessor, type Processing } from './processor.ts';
export type { ProcessingOutcome } from './processing-outcome.ts';
export { RateLimitClient, type LimitAnswer } from './rate-limit.ts';
