// The chain that a request passes before it is routed: an ordered list of filters, one file each.
import type { HeaderMap, RequestHead, ResponseHead, ServerExchange } from '#/http/index.ts';
import type { AuthenticatedToken, HeaderValue, HttpSubject } from '#/model/index.ts';
import type { HttpResponseFlag } from '#/telemetry/index.ts';
import type { BodyAsk } from './body-pipe.ts';
import type { ResponseTap } from './response-relay.ts';

export interface Reply {
  readonly status: number;
  readonly body?: string;
  readonly headers?: readonly HeaderValue[];
  /** In Envoy's words, for the log. */
  readonly details: string;
  readonly flag?: HttpResponseFlag;
  /** For a gRPC request; default: what the status maps to. */
  readonly grpcStatus?: number;
}

/** Told of the response before its head goes to the client; may change it. */
export type ResponseStep = (head: ResponseHead) => void;

/** What a request came to. */
export interface RequestEnd {
  /** 0: there was no response. */
  readonly status: number;
  readonly details: string;
  readonly flags: readonly HttpResponseFlag[];
  readonly bytesReceived: number;
  readonly bytesSent: number;
  readonly attempts: number;
}

/** A request as a filter sees it. */
export interface FilteredRequest {
  readonly head: RequestHead;
  readonly subject: HttpSubject;
  /** The client has gone, or the request has been answered: whoever waited does nothing any more. */
  readonly over: boolean;
  /** What later filters and the application see as the accepted token. */
  setToken(token: AuthenticatedToken): void;
  /** Answers instead of the destination. */
  reply(reply: Reply): void;
  /** As `reply`; if the response has begun, it is cut off. */
  fail(reply: Reply): void;
  /** Goes on with the next filter, after a `wait`. */
  proceed(): void;
  onResponse(step: ResponseStep): void;
  /** Looks at the response on its way, and may hold it back. Answers of later filters as well, but not its own. */
  tapResponse(tap: ResponseTap): void;
  /** Called when the exchange is over, however it ended. */
  onOver(step: (end: RequestEnd) => void): void;
  /**
   * Collects the body up to `maxBytes` and calls back once it is whole, or longer than that (`complete` false). What was
   * collected is sent on afterwards. Only before `proceed`.
   */
  collectBody(maxBytes: number, done: (body: Buffer, complete: boolean) => void): void;
  /** There is a body, or may be one. Not for an upgrade. */
  readonly hasBody: boolean;
  /** Instead of a body that was collected whole. Only before `proceed`. */
  replaceBody(body: Buffer): void;
  /** Looks at the body chunk by chunk, from now on and at what came before. Once, and only before `proceed`. */
  pipeBody(ask: BodyAsk): void;
  /** What routes and later filters see, and what is sent. In canonical form. */
  setPath(path: string, query: string | undefined): void;
}

/** `next`: go on. `wait`: it has replied, or calls `proceed` later. */
export type FilterOutcome = 'next' | 'wait';

export interface RequestFilter {
  readonly name: string;
  apply(request: FilteredRequest): FilterOutcome;
}

export type { HeaderMap, ServerExchange };
