// waypoint/authentication: who a request's token says its user is. Owns RequestAuthentication: where tokens are, how
// they are verified, where keys come from, and the words of a refusal. Must not know policies or routes.
export {
  Authenticator,
  type AuthResult,
  type AuthenticatorOptions,
  type CompiledAuthentication,
} from './authenticator.ts';
export { fetchText, type FetchText } from './fetch-text.ts';
export { type JwksCounters } from './jwks-cache.ts';
export { withoutCookies, withoutParams } from './token-locations.ts';
