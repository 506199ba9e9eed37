// A server's connection of HTTP/1.1: one request at a time. The next is read only after the response is complete; what
// comes meanwhile is held, and its window is not given back, so it is at most a window.
import { systemClock, type Clock } from '#/kit/index.ts';
import { h2Error, type TurnTask } from '#/tunnel/index.ts';
import type { ByteChannel, ByteSink } from '../byte-channel.ts';
import type { PathNormalization } from '../canonical-path.ts';
import type { HttpLimits, ServerConnection, ServerHandlers } from '../exchange.ts';
import { defaultHttpLimits } from '../limits.ts';
import { BodyReader } from './body-reader.ts';
import { HeadAssembler, type Assembled } from './head-assembler.ts';
import { HeldBytes } from './held-bytes.ts';
import { IdleWatch } from './idle-watch.ts';
import { OneTimer } from './one-timer.ts';
import { Output } from './output.ts';
import { printableLine, refusalResponse, refuse, type Refusal } from './refusal.ts';
import { parseRequestHead, type RequestRules } from './request-head.ts';
import { H1ServerExchange, type ExchangeOwner } from './server-exchange.ts';

export interface H1ServerOptions {
  readonly scheme: 'http' | 'https';
  readonly limits?: Partial<HttpLimits>;
  readonly clock?: Clock;
  /** Default BASE, as Istio. */
  readonly pathNormalization?: PathNormalization;
  /** For tests that run turns by hand. */
  readonly atEndOfTurn?: (task: TurnTask) => void;
}

/** Takes over the channel. */
export function h1Server(
  channel: ByteChannel,
  options: H1ServerOptions,
  handlers: ServerHandlers,
): ServerConnection {
  return new H1ServerConnection(channel, options, handlers);
}

type State =
  /** Between requests, or within a head. */
  | 'head'
  /** A request is open, its body is coming. */
  | 'body'
  /** A request is complete, its response is not. */
  | 'reply'
  /** The response is complete; the rest of the request's body is thrown away. */
  | 'drain'
  /** Upgraded. */
  | 'stream'
  /** We have ended; what still comes is thrown away, so that the client can read our last response. */
  | 'linger'
  | 'over';

/** Of a request's body that nobody wants: read to keep the connection. */
const maxDrainBytes = 65_536;
const maxLingerBytes = 262_144;
const lingerMs = 2000;

class H1ServerConnection implements ServerConnection, ByteSink, ExchangeOwner {
  readonly output: Output;
  readonly #channel: ByteChannel;
  readonly #handlers: ServerHandlers;
  readonly #limits: HttpLimits;
  readonly #rules: RequestRules;
  readonly #timer: OneTimer;
  readonly #heads: HeadAssembler;
  readonly #body: BodyReader;
  readonly #idle: IdleWatch;
  readonly #held = new HeldBytes();
  #state: State = 'head';
  #exchange: H1ServerExchange | undefined;
  #thrownAway = 0;
  #draining = false;
  #remoteEnded = false;
  #endSeen = false;

  constructor(channel: ByteChannel, options: H1ServerOptions, handlers: ServerHandlers) {
    this.#channel = channel;
    this.#handlers = handlers;
    const clock = options.clock ?? systemClock;
    this.#timer = new OneTimer(clock);
    this.#limits = { ...defaultHttpLimits, ...options.limits };
    this.#rules = {
      scheme: options.scheme,
      maxHeaders: this.#limits.maxHeaders,
      pathNormalization: options.pathNormalization ?? 'BASE',
    };
    this.output = new Output(channel, () => this.#afterTurn(), options.atEndOfTurn);
    this.#heads = new HeadAssembler(this.#limits.maxHeadBytes, true);
    this.#body = new BodyReader(this.#limits);
    this.#idle = new IdleWatch(
      clock,
      this.#limits.idleTimeoutMs,
      () => this.#state === 'head' && !this.#heads.begun,
      () => this.#close(),
    );
    this.#idle.begin();
    channel.sink = this;
  }

  get openExchanges(): number {
    return this.#exchange === undefined ? 0 : 1;
  }

  drain(): void {
    this.#draining = true;
    if (this.#state === 'head' && !this.#heads.begun && this.#held.bytes === 0) this.#close();
  }

  destroy(): void {
    this.#end('local', 'the connection was closed here', h2Error.cancel);
  }

  // What the channel tells.

  data(chunk: Buffer): void {
    if (this.#held.bytes > 0 || !this.#reads) this.#held.add(chunk, 0);
    else this.#process(chunk);
  }

  ended(): void {
    this.#remoteEnded = true;
    if (this.#held.bytes === 0) this.#onEnd();
  }

  writable(): void {
    this.output.blocked = false;
    this.#exchange?.receiver?.writable();
    if (this.#held.bytes > 0) this.output.wake();
  }

  closed(reason?: { readonly message: string }): void {
    if (this.#state === 'over') return;
    const upgraded = this.#state === 'stream';
    this.#state = 'over';
    this.#idle.stop();
    this.#timer.stop();
    this.output.close();
    const exchange = this.#exchange;
    this.#exchange = undefined;
    if (this.#held.bytes > 0) this.#channel.consumed(this.#held.clear());
    if (!(upgraded && reason === undefined))
      exchange?.fail({ kind: 'reset', message: reason?.message ?? 'the client closed the connection' });
    this.#handlers.closed();
  }

  // Reading.

  /** Whether more bytes can be taken in now. */
  get #reads(): boolean {
    return this.#state !== 'reply' && !(this.#state === 'head' && this.output.blocked);
  }

  #process(chunk: Buffer): void {
    let at = 0;
    let spent = 0;
    while (at < chunk.length && this.#reads)
      switch (this.#state) {
        case 'head': {
          const assembled = this.#heads.add(chunk, at);
          at += this.#heads.taken;
          spent += this.#heads.taken;
          this.#onHead(assembled, at < chunk.length);
          break;
        }
        case 'body':
        case 'drain':
          this.#body.at = at;
          spent += this.#readBody(chunk);
          at = this.#body.at;
          break;
        case 'stream': {
          const rest = at === 0 ? chunk : chunk.subarray(at);
          at = chunk.length;
          if (this.#exchange?.receiver === undefined) spent += rest.length;
          else this.#exchange.receiver.data(rest);
          break;
        }
        default:
          spent += chunk.length - at;
          this.#thrownAway += chunk.length - at;
          at = chunk.length;
      }
    if (at < chunk.length) this.#held.add(chunk, at);
    if (spent > 0) this.#channel.consumed(spent);
    if (this.#state === 'linger' && this.#thrownAway > maxLingerBytes) this.#abandon();
  }

  #onHead(assembled: Assembled, bodyHasCome: boolean): void {
    const heads = this.#heads;
    if (assembled === 'more') {
      if (heads.begun) this.#timer.start(this.#limits.headTimeoutMs, () => this.#headLate());
      return;
    }
    this.#timer.stop();
    if (assembled === 'long') {
      this.#refuse(heads.hasLine ? refuse('headers too large', 431) : refuse('request line too long', 414));
      return;
    }
    const parsed = parseRequestHead(heads.bytes, heads.from, heads.to, this.#rules);
    if (parsed.refusal !== undefined || assembled === 'bad') {
      this.#refuse(parsed.refusal ?? refuse('an invalid byte'));
      return;
    }
    heads.release();
    const { body, head } = parsed;
    const request = head.expectsContinue && bodyHasCome ? { ...head, expectsContinue: false } : head;
    const exchange = new H1ServerExchange(
      this,
      request,
      body === 0 && request.upgrade === undefined,
      parsed.keepAlive,
    );
    this.#exchange = exchange;
    this.#state = body === 0 ? 'reply' : 'body';
    this.#body.begin(body);
    this.#handlers.request(exchange);
  }

  #headLate(): void {
    if (this.#state === 'head') this.#refuse(refuse('the head did not come in time', 408));
  }

  /** @returns bytes that nobody else will give back */
  #readBody(chunk: Buffer): number {
    const body = this.#body;
    let spent = 0;
    for (;;) {
      const from = body.at;
      const step = body.next(chunk);
      const bytes = step === 'data' ? body.dataTo - body.dataFrom : 0;
      spent += body.at - from - bytes;
      if (step === 'more') return spent;
      if (step === 'data') {
        const receiver = this.#state === 'body' ? this.#exchange?.receiver : undefined;
        if (this.#exchange !== undefined) this.#exchange.awaitsContinue = false;
        if (receiver === undefined) spent += this.#throwAway(bytes);
        else receiver.data(bytes === chunk.length ? chunk : chunk.subarray(body.dataFrom, body.dataTo));
      } else if (step === 'end') this.#bodyEnded();
      else this.#bodyBroken();
      if (this.#state !== 'body' && this.#state !== 'drain') return spent;
      if (step !== 'data') return spent;
    }
  }

  #throwAway(bytes: number): number {
    this.#thrownAway += bytes;
    if (this.#state === 'drain' && this.#thrownAway > maxDrainBytes) this.#close();
    return bytes;
  }

  #bodyEnded(): void {
    if (this.#state === 'drain') {
      this.#nextRequest();
      return;
    }
    const exchange = this.#exchange;
    this.#state = 'reply';
    if (exchange === undefined) return;
    exchange.requestEnded = true;
    exchange.receiver?.end(this.#body.trailers);
  }

  #bodyBroken(): void {
    const message = this.#body.problem;
    const exchange = this.#exchange;
    if (this.#state === 'drain' || exchange === undefined) {
      this.#close();
      return;
    }
    this.#exchange = undefined;
    const { answered, request } = exchange;
    const line = `${request.method} ${request.path}`;
    if (answered) {
      this.#end('protocol', message, h2Error.protocolError);
      this.#handlers.refused({ status: undefined, reason: message, line });
    } else this.#refuse(refuse(message), line);
    exchange.fail({ kind: 'protocol', message });
  }

  #refuse({ status, reason }: Refusal, line?: string): void {
    const heads = this.#heads;
    const read = line ?? heads.bytes.toString('latin1', heads.from, Math.min(heads.to, heads.from + 200));
    heads.release();
    this.output.text(refusalResponse(status));
    this.#close();
    this.#handlers.refused({ status, reason, line: printableLine(read) });
  }

  #onEnd(): void {
    if (this.#endSeen) return;
    this.#endSeen = true;
    switch (this.#state) {
      case 'head':
        if (this.#heads.begun)
          this.#handlers.refused({ status: undefined, reason: 'the head was cut off', line: undefined });
        this.#close();
        return;
      case 'drain':
        this.#close();
        return;
      case 'body':
        this.#end('reset', 'the client closed the connection within the request', h2Error.cancel);
        return;
      case 'stream':
        this.#exchange?.receiver?.end();
        return;
      case 'reply':
      case 'linger':
      case 'over':
        return;
    }
  }

  #afterTurn(): void {
    if (this.#state === 'over') return;
    while (this.#held.bytes > 0 && this.#reads) this.#process(this.#held.take());
    if (this.#remoteEnded && this.#held.bytes === 0) this.#onEnd();
  }

  // What the exchange tells.

  mayServeOn(exchange: H1ServerExchange, ended: boolean): boolean {
    if (this.#draining || (this.#remoteEnded && this.#held.bytes === 0)) return false;
    // Whether the client will send the body after all is not known then (RFC 9110, 10.1.1).
    if (exchange.awaitsContinue) return false;
    return !(ended && this.#state === 'body' && this.#body.known > maxDrainBytes);
  }

  responseEnded(exchange: H1ServerExchange): void {
    if (exchange !== this.#exchange) return;
    this.#exchange = undefined;
    if (this.#state === 'reply' && exchange.keepAlive) this.#nextRequest();
    else if (this.#state === 'body' && exchange.keepAlive && this.#body.known <= maxDrainBytes) {
      this.#state = 'drain';
      this.#thrownAway = 0;
      // The client has its answer, and must not keep the connection by sending the rest for ever.
      this.#timer.start(this.#limits.headTimeoutMs, () => this.#close());
    } else this.#close();
  }

  switched(exchange: H1ServerExchange): void {
    if (exchange !== this.#exchange) return;
    this.#state = 'stream';
    this.output.wake();
  }

  abort(exchange: H1ServerExchange): void {
    if (exchange !== this.#exchange) return;
    this.#exchange = undefined;
    this.#channel.reset(h2Error.cancel);
    this.closed();
  }

  consumed(bytes: number): void {
    this.#channel.consumed(bytes);
  }

  // Endings.

  #nextRequest(): void {
    this.#timer.stop();
    this.#state = 'head';
    if (this.#draining || (this.#remoteEnded && this.#held.bytes === 0)) {
      this.#close();
      return;
    }
    this.#idle.begin();
    if (this.#held.bytes > 0) this.output.wake();
  }

  /** In order: what was written goes out, then our direction ends. */
  #close(): void {
    if (this.#state === 'linger' || this.#state === 'over') return;
    this.#state = 'linger';
    this.#thrownAway = 0;
    this.#idle.stop();
    this.#timer.stop();
    this.output.end();
    this.#timer.start(lingerMs, () => this.#abandon());
  }

  /** The client goes on though we have ended. */
  #abandon(): void {
    this.#channel.reset(h2Error.noError);
    this.closed();
  }

  /** At once. */
  #end(kind: 'reset' | 'protocol' | 'local', message: string, code: number): void {
    if (this.#state === 'over') return;
    const exchange = this.#exchange;
    this.#exchange = undefined;
    this.#channel.reset(code);
    this.closed();
    exchange?.fail({ kind, message });
  }
}
