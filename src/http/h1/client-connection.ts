// A client's connection of HTTP/1.1: one request at a time, no pipelining. A server that sends what was not asked for,
// or says the length of a body in two ways, loses the connection.
import { systemClock, type Clock } from '#/kit/index.ts';
import { h2Error, type TurnTask } from '#/tunnel/index.ts';
import type { ByteChannel, ByteSink } from '../byte-channel.ts';
import type {
  ClientConnection,
  ClientExchange,
  ClientHandlers,
  ExchangeFailure,
  HttpLimits,
  RequestHead,
  ResponseReceiver,
} from '../exchange.ts';
import { defaultHttpLimits } from '../limits.ts';
import { BodyReader } from './body-reader.ts';
import { H1ClientExchange, type ClientOwner } from './client-exchange.ts';
import { HeadAssembler, type Assembled } from './head-assembler.ts';
import { IdleWatch } from './idle-watch.ts';
import { OneTimer } from './one-timer.ts';
import { Output } from './output.ts';
import { isIdempotent, requestText } from './request-text.ts';
import { parseResponseHead, type ParsedResponse } from './response-head.ts';

export interface H1ClientOptions {
  readonly limits?: Partial<HttpLimits>;
  readonly clock?: Clock;
  /** For tests that run turns by hand. */
  readonly atEndOfTurn?: (task: TurnTask) => void;
}

/** Takes over the channel, on which nothing has been sent. */
export function h1Client(
  channel: ByteChannel,
  options: H1ClientOptions,
  handlers: ClientHandlers,
): ClientConnection {
  return new H1ClientConnection(channel, options, handlers);
}

type State = 'idle' | 'head' | 'body' | 'stream' | 'over';

/** Per request; a server could send them for ever. */
const maxInterim = 16;
/** For the server to end after we have. */
const lingerMs = 2000;

class H1ClientConnection implements ClientConnection, ByteSink, ClientOwner {
  readonly output: Output;
  readonly #channel: ByteChannel;
  readonly #handlers: ClientHandlers;
  readonly #limits: HttpLimits;
  readonly #timer: OneTimer;
  readonly #heads: HeadAssembler;
  readonly #body: BodyReader;
  readonly #idle: IdleWatch;
  #state: State = 'idle';
  #exchange: H1ClientExchange | undefined;
  #keepAlive = true;
  #draining = false;
  #served = 0;
  #interim = 0;
  #answerBegun = false;
  /** The count of writes when the request was made: none since, and nothing of it has gone out. */
  #sendsBefore = 0;
  /** The chunk has bytes behind the response. */
  #surplus = false;
  #unsendable: string | undefined;

  constructor(channel: ByteChannel, options: H1ClientOptions, handlers: ClientHandlers) {
    this.#channel = channel;
    this.#handlers = handlers;
    const clock = options.clock ?? systemClock;
    this.#timer = new OneTimer(clock);
    this.#limits = { ...defaultHttpLimits, ...options.limits };
    this.output = new Output(channel, () => this.#afterTurn(), options.atEndOfTurn);
    this.#heads = new HeadAssembler(this.#limits.maxHeadBytes, false);
    this.#body = new BodyReader(this.#limits);
    this.#idle = new IdleWatch(
      clock,
      this.#limits.idleTimeoutMs,
      () => this.#state === 'idle',
      () => this.#close(),
    );
    this.#idle.begin();
    channel.sink = this;
  }

  get capacity(): number {
    return this.#state === 'idle' && !this.#draining ? 1 : 0;
  }

  get openExchanges(): number {
    return this.#state === 'idle' || this.#state === 'over' ? 0 : 1;
  }

  request(head: RequestHead, ended: boolean, receiver: ResponseReceiver): ClientExchange {
    if (this.capacity === 0) throw new Error('request on an HTTP/1.1 connection that is busy or closed');
    const made = requestText(head, ended);
    const exchange = new H1ClientExchange(
      this,
      head,
      made.failure === undefined ? made.framing : 'none',
      receiver,
    );
    this.#exchange = exchange;
    this.#state = 'head';
    this.#interim = 0;
    this.#answerBegun = false;
    this.#sendsBefore = this.output.sends;
    if (made.failure !== undefined) {
      // Told at the end of the turn, when the caller has the exchange.
      this.#unsendable = made.failure;
      this.output.wake();
      return exchange;
    }
    this.output.text(made.text);
    if (made.framing === 'none') exchange.requestEnded = true;
    return exchange;
  }

  drain(): void {
    this.#draining = true;
    if (this.#state === 'idle') this.#close();
  }

  destroy(): void {
    this.#fail({ kind: 'local', message: 'the connection was closed here' }, h2Error.cancel);
  }

  #afterTurn(): void {
    if (this.#unsendable === undefined) return;
    const message = this.#unsendable;
    this.#unsendable = undefined;
    this.#fail({ kind: 'local', message });
  }

  get #unsent(): boolean {
    return this.output.sends === this.#sendsBefore;
  }

  // What the channel tells.

  data(chunk: Buffer): void {
    let at = 0;
    let spent = 0;
    while (at < chunk.length)
      switch (this.#state) {
        case 'head': {
          if (this.#unsent) {
            // Before the question, so it is the answer to none; the request may go elsewhere.
            this.#lost('the server sent bytes that were not asked for');
            break;
          }
          this.#answerBegun = true;
          const assembled = this.#heads.add(chunk, at);
          at += this.#heads.taken;
          spent += this.#heads.taken;
          this.#surplus = at < chunk.length;
          this.#onHead(assembled);
          break;
        }
        case 'body':
          this.#body.at = at;
          spent += this.#readBody(chunk);
          at = this.#body.at;
          break;
        case 'stream':
          this.#exchange?.receiver?.data(at === 0 ? chunk : chunk.subarray(at));
          at = chunk.length;
          break;
        default:
          spent += chunk.length - at;
          at = chunk.length;
          if (this.#state !== 'over') this.#protocol('bytes that were not asked for');
      }
    if (spent > 0) this.#channel.consumed(spent);
  }

  ended(): void {
    switch (this.#state) {
      case 'body':
        if (this.#body.untilClose) {
          this.#keepAlive = false;
          this.#responseEnded();
        } else this.#fail({ kind: 'reset', message: 'the server closed the connection within a body' });
        return;
      case 'stream':
        this.#exchange?.receiver?.end();
        return;
      case 'over':
        return;
      default:
        this.#lost('the server closed the connection');
    }
  }

  writable(): void {
    this.output.blocked = false;
    this.#exchange?.receiver?.writable();
  }

  closed(reason?: { readonly message: string }): void {
    if (this.#state === 'over') {
      this.#timer.stop();
      return;
    }
    if (this.#state === 'stream' && reason === undefined) this.#over();
    else this.#lost(reason?.message ?? 'the server closed the connection');
  }

  // Reading.

  #onHead(assembled: Assembled): void {
    const heads = this.#heads;
    const exchange = this.#exchange as H1ClientExchange;
    if (assembled === 'more') {
      this.#timer.start(this.#limits.headTimeoutMs, () =>
        this.#protocol('the response head did not come in time'),
      );
      return;
    }
    this.#timer.stop();
    if (assembled === 'long') {
      this.#protocol('response headers too large');
      return;
    }
    const toHead = exchange.request.method === 'HEAD';
    const parsed = parseResponseHead(heads.bytes, heads.from, heads.to, this.#limits.maxHeaders, toHead);
    heads.release();
    if (parsed.failure !== undefined || assembled === 'bad')
      this.#protocol(parsed.failure ?? 'an invalid byte in the response head');
    else if (parsed.head.status < 200) this.#onInterim(parsed, exchange);
    else this.#onResponse(parsed, exchange);
  }

  #onInterim({ head, upgrade }: ParsedResponse, exchange: H1ClientExchange): void {
    if (head.status !== 101) {
      if (++this.#interim > maxInterim) this.#protocol('too many interim responses');
      else exchange.receiver?.inform(head.status, head.headers);
      return;
    }
    if (!exchange.upgrading || upgrade !== exchange.request.upgrade?.toLowerCase()) {
      this.#protocol('an upgrade that was not asked for');
      return;
    }
    this.#state = 'stream';
    this.#keepAlive = false;
    exchange.receiver?.head({ ...head, contentLength: undefined }, false);
    exchange.switched();
  }

  #onResponse({ head, body, keepAlive }: ParsedResponse, exchange: H1ClientExchange): void {
    this.#keepAlive = keepAlive;
    if (exchange.upgrading) {
      // Refused. The request ended with its head.
      exchange.requestEnded = true;
    }
    this.#state = 'body';
    this.#body.begin(body);
    exchange.receiver?.head(head, body === 0);
    if (body === 0 && this.#exchange === exchange) this.#responseEnded(true);
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
        const receiver = this.#exchange?.receiver;
        if (receiver === undefined) spent += bytes;
        else receiver.data(bytes === chunk.length ? chunk : chunk.subarray(body.dataFrom, body.dataTo));
        if (this.#state !== 'body') return spent;
      } else if (step === 'end') {
        this.#surplus = body.at < chunk.length;
        this.#responseEnded();
        return spent;
      } else {
        this.#protocol(body.problem);
        return spent;
      }
    }
  }

  // Endings.

  /** @param told the head said that there is no body */
  #responseEnded(told = false): void {
    const exchange = this.#exchange as H1ClientExchange;
    const { receiver } = exchange;
    exchange.receiver = undefined;
    this.#served++;
    if (!exchange.requestEnded || this.#surplus) {
      // The server does not want the rest of the request, and how much is under way is not known; or it has sent more
      // than was asked for, which must not be taken for the next response.
      this.#over(undefined, h2Error.cancel);
    } else if (!this.#keepAlive || this.#draining) this.#close();
    else {
      this.#exchange = undefined;
      this.#state = 'idle';
      this.#idle.begin();
    }
    if (!told) receiver?.end(this.#body.trailers);
    if (this.capacity > 0) this.#handlers.available();
  }

  abort(exchange: H1ClientExchange, failure?: ExchangeFailure): void {
    if (exchange !== this.#exchange) return;
    if (failure === undefined) exchange.receiver = undefined;
    this.#fail(failure ?? { kind: 'local', message: 'the request was cancelled' }, h2Error.cancel);
  }

  consumed(bytes: number): void {
    this.#channel.consumed(bytes);
  }

  #protocol(message: string): void {
    this.#fail({ kind: 'protocol', message: `the server broke HTTP/1.1: ${message}` }, h2Error.protocolError);
  }

  /** The other side has gone. */
  #lost(message: string): void {
    const exchange = this.#exchange;
    if (exchange !== undefined && this.#unsent) {
      this.#fail({ kind: 'refused', message });
      return;
    }
    if (exchange === undefined || this.#answerBegun || this.#served === 0) {
      this.#fail({ kind: 'reset', message });
      return;
    }
    const kind = isIdempotent(exchange.request.method) ? 'refused' : 'reset';
    this.#fail({ kind, message, stale: true });
  }

  /** At once. */
  #fail(failure: ExchangeFailure, code: number = h2Error.cancel): void {
    if (this.#state === 'over') return;
    const receiver = this.#exchange?.receiver;
    this.#over(failure, code);
    receiver?.failed(failure);
  }

  /** In order. */
  #close(): void {
    if (this.#state === 'over') return;
    this.output.end();
    this.#over();
    this.#timer.start(lingerMs, () => this.#channel.reset(h2Error.noError));
  }

  #over(failure?: ExchangeFailure, code?: number): void {
    this.#state = 'over';
    this.#idle.stop();
    this.#timer.stop();
    if (this.#exchange !== undefined) this.#exchange.receiver = undefined;
    this.#exchange = undefined;
    if (code !== undefined) {
      this.output.close();
      this.#channel.reset(code);
    }
    this.#handlers.closed(failure);
  }
}
