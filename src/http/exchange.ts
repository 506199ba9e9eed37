// The seam between the HTTP codecs and whoever serves or sends requests: the same for HTTP/1.1 and HTTP/2.
// Bodies are pushed, not read: a chunk is lent for the call, and `consumed` gives the window back. Everything here is
// synchronous, so that a request that needs nobody else goes through in one turn of the event loop.
import type { HeaderMap } from './header-map.ts';

export type HttpVersion = '1.0' | '1.1' | '2';

export interface RequestHead {
  readonly version: HttpVersion;
  readonly method: string;
  readonly scheme: 'http' | 'https';
  /**
   * Host or :authority, lower case, checked (canonical-authority.ts); with the port if one was sent. Empty only for
   * HTTP/1.0 without Host.
   */
  authority: string;
  /** Canonical: see canonical-path.ts. Without the query. */
  path: string;
  /** Without `?`; undefined if there was none. */
  query: string | undefined;
  /**
   * Without Host, connection-level and pseudo headers, and without Content-Length and Expect, which are the fields
   * below; the codec that sends writes them again. `te` is there only as `trailers`.
   */
  readonly headers: HeaderMap;
  /** The token of Upgrade (lower case), or :protocol of an extended CONNECT. The body is then a byte stream. */
  readonly upgrade: string | undefined;
  /** From Content-Length; undefined if chunked or HTTP/2 without one; 0 if there is no body. */
  contentLength: number | undefined;
  /** `Expect: 100-continue` was sent, and nothing of the body has come. */
  readonly expectsContinue: boolean;
}

export interface ResponseHead {
  readonly status: number;
  /** Without connection-level headers and Content-Length; the codec adds framing. */
  readonly headers: HeaderMap;
  /** From Content-Length; undefined if unknown until the end. */
  readonly contentLength: number | undefined;
}

/** Why a message ended before its end. */
export interface ExchangeFailure {
  readonly kind:
    /** The connection was closed or the stream reset by the other side. */
    | 'reset'
    /** It had not looked at the request: safe to try again, whatever the method. */
    | 'refused'
    /** It broke the protocol; the connection is not used again. */
    | 'protocol'
    /** We ended it (deadline, shutdown). */
    | 'local';
  readonly message: string;
  /**
   * A connection that had served before was closed without a byte of this response: nearly always the race with the
   * server's idle timeout. `kind` is `refused` then only for idempotent methods (RFC 9110, 9.2.2).
   */
  readonly stale?: boolean;
}

/**
 * Told of the parts of a message from the other side. After `failed` nothing more is said. After `end` there may be
 * `writable`, which is about what we send, and on a server's exchange `failed`, as long as our response has not ended:
 * the client has gone away.
 */
export interface MessageReceiver {
  /** Lent for the call; give the window back with `consumed` once it has gone on. */
  data(chunk: Buffer): void;
  end(trailers?: HeaderMap): void;
  failed(failure: ExchangeFailure): void;
  /** `write` may be called again after it returned false. */
  writable(): void;
}

/** One request as its server sees it. */
export interface ServerExchange {
  readonly request: RequestHead;
  /**
   * True if the request has no body. Then the receiver is not told `end` again. False for an upgrade: what comes then
   * comes after the 101; if it is answered otherwise, there is neither data nor `end`.
   */
  readonly requestEnded: boolean;
  /** Set before the handler returns. */
  receiver: MessageReceiver | undefined;
  /** Gives back what was received, bytes. */
  consumed(bytes: number): void;
  /** 100, 103. Never 101. */
  inform(status: number, headers: HeaderMap): void;
  /**
   * Once. 101 (or 200 to an extended CONNECT) turns both bodies into byte streams. `ended`: no body, no trailers.
   * Answering before the request has ended is allowed; the codec then drains or closes as its protocol needs.
   */
  respond(head: ResponseHead, ended: boolean): void;
  /** Copies the chunk. False: take no more from the source until `writable`. */
  write(chunk: Buffer): boolean;
  end(trailers?: HeaderMap): void;
  /** Ends the exchange at once, visibly to the client: a stream reset, or a closed connection. */
  reset(): void;
}

export interface ServerHandlers {
  /** A request that has passed every check of the codec. */
  request(exchange: ServerExchange): void;
  /**
   * The codec has refused a request by itself (smuggling, malformed, too large) and has answered `status`, or closed
   * the connection if `status` is undefined. For the log: `reason` says what was wrong, `line` is as far as it was read.
   */
  refused(refusal: {
    readonly status: number | undefined;
    readonly reason: string;
    readonly line: string | undefined;
  }): void;
  /** The connection is over. */
  closed(): void;
}

export interface ServerConnection {
  /** Takes no new requests; lets those that are open finish (Connection: close, or GOAWAY). */
  drain(): void;
  readonly openExchanges: number;
  destroy(): void;
}

/** Told of one response. */
export interface ResponseReceiver extends MessageReceiver {
  inform(status: number, headers: HeaderMap): void;
  head(head: ResponseHead, ended: boolean): void;
}

/** One request as its sender sees it. */
export interface ClientExchange {
  write(chunk: Buffer): boolean;
  end(trailers?: HeaderMap): void;
  consumed(bytes: number): void;
  /** Ends the exchange at once. The receiver is told nothing more. HTTP/1.1: the connection goes with it. */
  reset(): void;
}

export interface ClientConnection {
  /** Requests that can be sent now: 0 or 1 for HTTP/1.1, the peer's limit for HTTP/2; 0 once it is going away. */
  readonly capacity: number;
  readonly openExchanges: number;
  /** The receiver's `failed` tells what was not answered. Call only with capacity. */
  request(head: RequestHead, ended: boolean, receiver: ResponseReceiver): ClientExchange;
  /** Ends once the open exchanges have. */
  drain(): void;
  destroy(): void;
}

export interface ClientHandlers {
  /** Capacity may have grown. */
  available(): void;
  /** The connection is over, or takes no requests any more and has none. */
  closed(failure?: ExchangeFailure): void;
}

/** Limits of one connection; each has a default in the codec. Bytes, counts, milliseconds. */
export interface HttpLimits {
  /** Request or status line and headers together. Default 60 KiB, as Envoy; more is answered 431. */
  readonly maxHeadBytes: number;
  /** Default 100, as Envoy. */
  readonly maxHeaders: number;
  readonly maxTrailers: number;
  /** HTTP/2: streams a client may have open. Default 100. */
  readonly maxConcurrentStreams: number;
  /** A head that has begun must be there within this time: 408. Default 60 000. */
  readonly headTimeoutMs: number;
  /** Between requests. Default 3 600 000. */
  readonly idleTimeoutMs: number;
}
