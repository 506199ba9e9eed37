// What the author of an extension writes: a module with a default export of this shape. Only types: a module imports
// them with `import type`, which is gone before it runs.

/** Header fields of one message. Names are in lower case; a name that is given in another case is taken as that. */
export interface ExtensionHeaders extends Iterable<readonly [name: string, value: string]> {
  /** Several values joined with `,` (cookies with `; `). */
  get(name: string): string | undefined;
  /** Every value as it was sent. */
  all(name: string): string[];
  has(name: string): boolean;
  /** Replaces all of that name. */
  set(name: string, value: string): void;
  /** Adds one more. */
  add(name: string, value: string): void;
  delete(name: string): void;
}

export interface ExtensionRequest {
  readonly method: string;
  readonly scheme: 'http' | 'https';
  /** Host, lower case, with the port if one was sent. */
  readonly authority: string;
  /** With the query. May be changed; routes and later policies see the new one. */
  path: string;
  readonly headers: ExtensionHeaders;
}

export interface ExtensionResponse {
  readonly status: number;
  readonly headers: ExtensionHeaders;
}

export interface ExtensionBody {
  /** As UTF-8; bytes that are none are replaced by U+FFFD. */
  readonly text: string;
  /** False: the body is longer, and this is how it begins. It cannot be replaced then. */
  readonly complete: boolean;
}

/** Instead of the destination's answer. */
export interface ExtensionReply {
  /** 200 to 599. */
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

export interface ExtensionContext<Config = unknown> {
  /** From the Extension object; cannot be changed. */
  readonly config: Config;
  /** One request's own, kept from phase to phase. Plain data; at most 16 KiB as JSON. */
  readonly state: Record<string, unknown>;
  /** SPIFFE identity of the client; undefined: none was proven. */
  readonly identity: string | undefined;
  /** Of the client. */
  readonly source: { readonly ip: string; readonly port: number };
  /** Of the token that was accepted. Never there in the phase AUTHN, which is before. */
  readonly claims: Readonly<Record<string, unknown>> | undefined;
  /** Into the waypoint's log, at most 20 lines a call and 50 a second. */
  log(message: string, level?: 'debug' | 'info' | 'warn' | 'error'): void;
}

export interface ExtensionRecord {
  readonly method: string;
  readonly authority: string;
  /** As it was sent on. */
  readonly path: string;
  /** 0: the client has gone before there was one. */
  readonly status: number;
  /** In Envoy's words. */
  readonly details: string;
  readonly flags: readonly string[];
  readonly bytesReceived: number;
  readonly bytesSent: number;
  readonly attempts: number;
}

type Maybe<Value> = Value | undefined | void;
type Now<Value> = Value | Promise<Value>;

/** Every phase may be left out. One that throws, or takes longer than the object's `timeout`, has failed. */
export interface ExtensionModule<Config = unknown> {
  /** Before anything is sent. What it returns is the answer to the client. */
  onRequest?(request: ExtensionRequest, context: ExtensionContext<Config>): Now<Maybe<ExtensionReply>>;
  /** After onRequest, if there is a body: of at most 64 KiB, or how it begins. */
  onRequestBody?(
    body: ExtensionBody,
    context: ExtensionContext<Config>,
  ): Now<Maybe<ExtensionReply | { readonly body: string }>>;
  /** Before the response's head goes to the client. What it returns replaces the response. */
  onResponse?(
    response: ExtensionResponse,
    context: ExtensionContext<Config>,
    request: Readonly<Pick<ExtensionRequest, 'method' | 'authority' | 'path'>>,
  ): Now<Maybe<ExtensionReply>>;
  /** When all is over. */
  onLog?(record: ExtensionRecord, context: ExtensionContext<Config>): Now<void>;
}
