// Why a token is refused, in upstream's words, since they are what clients and runbooks match on.

export const refusals = {
  notYetValid: 'Jwt not yet valid',
  expired: 'Jwt is expired',
  badFormat: 'Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections',
  headerBadBase64: 'Jwt header is an invalid Base64url encoded',
  headerBadJson: 'Jwt header is an invalid JSON',
  headerBadAlg: 'Jwt header [alg] field is required and must be a string',
  headerUnknownAlg: 'Jwt header [alg] is not supported',
  headerBadKid: 'Jwt header [kid] field is not a string',
  payloadBadBase64: 'Jwt payload is an invalid Base64url encoded',
  payloadBadJson: 'Jwt payload is an invalid JSON',
  payloadBadIss: 'Jwt payload [iss] field is not a string',
  payloadBadSub: 'Jwt payload [sub] field is not a string',
  payloadBadIat: 'Jwt payload [iat] field is not an integer',
  payloadBadNbf: 'Jwt payload [nbf] field is not an integer',
  payloadBadExp: 'Jwt payload [exp] field is not an integer',
  payloadBadJti: 'Jwt payload [jti] field is not a string',
  payloadBadAud: 'Jwt payload [aud] field is not a string or string list',
  signatureBadBase64: 'Jwt signature is an invalid Base64url encoded',
  unknownIssuer: 'Jwt issuer is not configured',
  audience: 'Audiences in Jwt are not allowed',
  verification: 'Jwt verification fails',
  multiple: 'Found multiple Jwt tokens',
  noValidKeys: "Jwks doesn't have any valid public key",
  noMatchingKey: "Jwks doesn't have key to match kid or alg from Jwt",
  fetchFailed: 'Jwks remote fetch is failed',
  // These two are our own: upstream has no such limits.
  tooLarge: 'Jwt is too large',
  overloaded: 'Jwt verification is overloaded',
} as const;

export type Refusal = keyof typeof refusals;

/** As upstream: an audience that is not allowed is 403, everything else 401. */
export function refusalStatus(refusal: Refusal): 401 | 403 | 503 {
  if (refusal === 'audience') return 403;
  return refusal === 'overloaded' ? 503 : 401;
}
