// External authorization: one question about one request, over gRPC or HTTP, and an answer in every case.
import type { ConnectionFacts } from '#/model/index.ts';
import type { AuthzAnswer, AuthzCall, AuthzProvider, AuthzRequest, BodyPrefix } from './authz-answer.ts';
import {
  callFailure,
  countFailure,
  emptyCallCounters,
  type CallCounters,
  type CallFailure,
} from './call-failure.ts';
import type { ExternalChannels } from './channels.ts';
import { checkByGrpc } from './grpc-authz.ts';
import { checkByHttp } from './http-authz.ts';
import type { HttpClients } from './http-clients.ts';

const noBody = Buffer.alloc(0);

export class ExternalAuthorizer {
  readonly counters: CallCounters = emptyCallCounters();
  readonly #channels: ExternalChannels;
  readonly #http: HttpClients;

  constructor(channels: ExternalChannels, http: HttpClients) {
    this.#channels = channels;
    this.#http = http;
  }

  /** Never rejects. `body` only if the provider includes it. */
  async check(
    provider: AuthzProvider,
    request: AuthzRequest,
    connection: ConnectionFacts,
    body?: BodyPrefix,
    signal?: AbortSignal,
  ): Promise<AuthzAnswer> {
    if (body !== undefined && !body.complete && provider.includeBody?.allowPartial !== true) {
      this.counters.denied++;
      return {
        allow: false,
        status: 413,
        headers: [],
        body: Buffer.from('Payload Too Large'),
        details: 'request_payload_too_large',
      };
    }
    return this.#answer(provider, { request, connection, body, signal });
  }

  /** For a connection without HTTP: gRPC providers only; one that speaks HTTP has no answer. */
  checkTcp(provider: AuthzProvider, connection: ConnectionFacts, signal?: AbortSignal): Promise<AuthzAnswer> {
    return this.#answer(provider, { request: undefined, connection, body: undefined, signal });
  }

  async #answer(provider: AuthzProvider, call: AuthzCall): Promise<AuthzAnswer> {
    try {
      const answer =
        provider.type === 'ext-authz-grpc'
          ? await checkByGrpc(this.#channels, provider, call)
          : await checkByHttp(this.#http, provider, call);
      if (answer.allow) this.counters.ok++;
      else this.counters.denied++;
      return answer;
    } catch (error) {
      const failure = callFailure(error);
      countFailure(this.counters, failure, provider.failOpen);
      return withoutAnswer(provider, failure);
    }
  }
}

/** A policy that names a provider which is not there, or is of another kind, refuses (as upstream). */
export const unknownProvider = (name: string): AuthzAnswer => ({
  allow: false,
  status: 403,
  headers: [],
  body: noBody,
  details: 'ext_authz_error',
  error: `authorization by ${name === '' ? 'an unnamed provider' : name}: no such provider; see extensionProviders of the mesh configuration`,
});

function withoutAnswer(provider: AuthzProvider, { message }: CallFailure): AuthzAnswer {
  const error = `authorization by ${provider.name}: ${message}`;
  if (provider.failOpen)
    return {
      allow: true,
      failedOpen: true,
      requestHeaders: [],
      removeRequestHeaders: [],
      responseHeaders: [],
      clearRouteCache: false,
      error,
    };
  const { statusOnError } = provider;
  const status = statusOnError >= 200 && statusOnError <= 599 ? statusOnError : 403;
  return { allow: false, status, headers: [], body: noBody, details: 'ext_authz_error', error };
}
