// What an authorization service is asked, and what its answer can be.
import type { HeaderMap } from '#/http/index.ts';
import type { ConnectionFacts, HeaderValue, Provider, RequestFacts } from '#/model/index.ts';
import type { HeaderEdit } from './header-edits.ts';

export interface AuthzRequest {
  readonly facts: RequestFacts;
  /** All of them, in order. */
  readonly headers: HeaderMap;
  /** x-request-id, or the like. */
  readonly id?: string;
  /** Of the body, if it is known. */
  readonly contentLength?: number;
}

/** As much of the body as the provider wants to see. */
export interface BodyPrefix {
  readonly bytes: Buffer;
  /** False: there is more. */
  readonly complete: boolean;
}

export type AuthzAnswer =
  | {
      readonly allow: true;
      /** The service gave no answer, and the configuration lets requests pass then. */
      readonly failedOpen: boolean;
      readonly requestHeaders: readonly HeaderEdit[];
      /** Lower case; removed after the changes. */
      readonly removeRequestHeaders: readonly string[];
      /** For the response, when it comes. */
      readonly responseHeaders: readonly HeaderEdit[];
      /** Choose the route anew. */
      readonly clearRouteCache: boolean;
      readonly error?: string;
    }
  | {
      readonly allow: false;
      readonly status: number;
      readonly headers: readonly HeaderValue[];
      readonly body: Buffer;
      /** Response code details; the response flag is UAEX. */
      readonly details: 'ext_authz_denied' | 'ext_authz_error' | 'request_payload_too_large';
      readonly error?: string;
    };

export type AuthzProvider = Extract<Provider, { readonly type: 'ext-authz-grpc' | 'ext-authz-http' }>;

export interface AuthzCall {
  readonly request: AuthzRequest | undefined;
  readonly connection: ConnectionFacts;
  readonly body: BodyPrefix | undefined;
  readonly signal: AbortSignal | undefined;
}
