// The way of a response to the client: past those who look at it, and in step with what the client takes.
import type { HeaderMap, ResponseHead, ServerExchange } from '#/http/index.ts';
import type { ResponseStep } from './request-filter.ts';
import { ResponseRelay, type ResponseTap } from './response-relay.ts';

export interface ResponseHooks {
  /** Gives window back to the destination, bytes. */
  consumed(bytes: number): void;
  /** The codec has been given everything. */
  ended(): void;
}

export class ResponseSide {
  readonly #exchange: ServerExchange;
  readonly #grpc: boolean;
  readonly #hooks: ResponseHooks;
  #steps: ResponseStep[] | undefined;
  /** Of filters that look at the response; taken by the relay once there is one. */
  #taps: ResponseTap[] | undefined;
  #relay: ResponseRelay | undefined;
  /** Window that is given back when the client takes more. */
  #owed = 0;
  /** As it went to the client; undefined before. */
  head: ResponseHead | undefined;
  trailers: HeaderMap | undefined;
  grpcStatus: number | undefined;
  bytes = 0;

  /** `grpc`: the request was gRPC, so that its status is looked for. */
  constructor(exchange: ServerExchange, grpc: boolean, hooks: ResponseHooks) {
    this.#exchange = exchange;
    this.#grpc = grpc;
    this.#hooks = hooks;
  }

  /** Its head has gone to the client, or is held back by somebody who looks at it. */
  get begun(): boolean {
    return this.head !== undefined || this.#relay !== undefined;
  }

  onHead(step: ResponseStep): void {
    (this.#steps ??= []).push(step);
  }

  tap(tap: ResponseTap): void {
    (this.#taps ??= []).push(tap);
  }

  /** `bodies`: false for an upgrade, whose bytes nobody looks at. */
  begin(head: ResponseHead, ended: boolean, bodies: boolean): void {
    this.#note(head.headers);
    const taps = this.#taps;
    if (taps === undefined) {
      this.#sendHead(head, ended);
      return;
    }
    // Once: what is said instead of a response that was held back goes straight to the client.
    this.#taps = undefined;
    this.#relay = new ResponseRelay(
      taps,
      {
        head: (changed, none) => this.#sendHead(changed, none),
        data: (chunk, owed) => this.#write(chunk, owed),
        end: (trailers) => this.#end(trailers),
      },
      bodies,
      (bytes) => this.#hooks.consumed(bytes),
    );
    this.#relay.head(head, ended);
  }

  /** `owed`: bytes of window to give back once the client has taken the chunk. */
  data(chunk: Buffer, owed: number): void {
    this.bytes += chunk.length;
    if (this.#relay === undefined) this.#write(chunk, owed);
    else this.#relay.data(chunk, owed);
  }

  end(trailers: HeaderMap | undefined): void {
    this.trailers = trailers;
    if (trailers !== undefined) this.#note(trailers);
    if (this.#relay === undefined) this.#end(trailers);
    else this.#relay.end(trailers);
  }

  /** Whoever holds the response back is no longer waited for. True if somebody did. */
  drop(): boolean {
    if (this.#relay === undefined) return false;
    this.#relay.close();
    this.#relay = undefined;
    return true;
  }

  /** The client takes more. */
  writable(): void {
    const owed = this.#owed;
    this.#owed = 0;
    if (owed > 0) this.#hooks.consumed(owed);
  }

  /** The exchange is over: windows belong to connections that others use, too. */
  close(): void {
    this.writable();
    this.#relay?.close();
  }

  #note(headers: HeaderMap): void {
    if (!this.#grpc) return;
    const status = headers.get('grpc-status');
    if (status !== undefined && /^[0-9]{1,3}$/.test(status)) this.grpcStatus = Number(status);
  }

  #sendHead(head: ResponseHead, ended: boolean): void {
    for (const step of this.#steps ?? []) step(head);
    this.head = head;
    this.#exchange.respond(head, ended);
    if (ended) this.#hooks.ended();
  }

  #write(chunk: Buffer, owed: number): void {
    if (!this.#exchange.write(chunk)) this.#owed += owed;
    else if (owed > 0) this.#hooks.consumed(owed);
  }

  #end(trailers: HeaderMap | undefined): void {
    this.#exchange.end(trailers);
    this.#hooks.ended();
  }
}
