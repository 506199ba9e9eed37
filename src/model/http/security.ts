// AuthorizationPolicy and RequestAuthentication as a waypoint applies them.
import type { Cidr } from '#/kit/index.ts';
import type { ServiceAccountMatch, StringMatch } from '../policy.ts';
import type { Attachment } from './attachment.ts';

/** Within a field: any of `values` and none of `notValues`. Empty and absent: no restriction. */
export interface Either<T> {
  readonly values: readonly T[];
  readonly notValues: readonly T[];
}

/** A path with `{*}` for one element and `{**}` for the rest. */
export interface PathTemplate {
  readonly kind: 'template';
  readonly value: string;
}

export interface HttpSource {
  readonly principals?: Either<StringMatch>;
  readonly requestPrincipals?: Either<StringMatch>;
  readonly namespaces?: Either<StringMatch>;
  readonly serviceAccounts?: Either<ServiceAccountMatch>;
  readonly trustDomains?: Either<StringMatch>;
  /** The peer's address. */
  readonly ipBlocks?: Either<Cidr>;
  /** The client's address as X-Forwarded-For or PROXY tell it, behind trusted proxies; else the peer's. */
  readonly remoteIpBlocks?: Either<Cidr>;
}

export interface HttpOperation {
  readonly hosts?: Either<StringMatch>;
  readonly ports?: Either<number>;
  readonly methods?: Either<StringMatch>;
  readonly paths?: Either<StringMatch | PathTemplate>;
}

/** `when`: the key as written (`request.headers[x-token]`), parsed once by the policy's compiler. */
export interface HttpCondition {
  readonly key: string;
  readonly values: readonly string[];
  readonly notValues: readonly string[];
}

/** from AND to AND when; the entries of a list OR (conditions AND). An empty list does not restrict. */
export interface HttpPolicyRule {
  readonly from: readonly HttpSource[];
  readonly to: readonly HttpOperation[];
  readonly when: readonly HttpCondition[];
}

export interface HttpPolicy extends Attachment {
  readonly kind: 'http-policy';
  /** `ns/name` of the AuthorizationPolicy. */
  readonly name: string;
  readonly action: 'Allow' | 'Deny' | 'Audit' | 'Custom';
  /** Name of the extension provider, for Custom. */
  readonly provider?: string;
  /** No rule: matches nothing (an Allow without rules denies all). A rule without fields matches everything. */
  readonly rules: readonly HttpPolicyRule[];
  readonly dryRun: boolean;
}

export interface TokenLocation {
  /** Header names in lower case. */
  readonly headers: readonly { readonly name: string; readonly prefix: string }[];
  readonly params: readonly string[];
  readonly cookies: readonly string[];
}

export interface JwtRule {
  readonly issuer: string;
  readonly audiences: readonly string[];
  /** The key set as JSON, or where to fetch it. Neither: found through the issuer's discovery document. */
  readonly jwks?: string;
  readonly jwksUri?: string;
  /** All empty: `Authorization: Bearer` and the parameter `access_token`. */
  readonly from: TokenLocation;
  readonly outputPayloadToHeader?: string;
  readonly outputClaimToHeaders: readonly { readonly header: string; readonly claim: string }[];
  readonly forwardOriginalToken: boolean;
  readonly timeoutMs: number;
  readonly spaceDelimitedClaims: readonly string[];
}

export interface RequestAuthentication extends Attachment {
  readonly kind: 'request-authentication';
  /** `ns/name`. */
  readonly name: string;
  readonly rules: readonly JwtRule[];
}
