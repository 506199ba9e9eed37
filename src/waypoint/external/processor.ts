// External processing: a service that sees, and may change, the parts of a request and of its response. One stream for
// each request; each part that is sent is answered once.
import type { ClientDuplexStream, ServiceError } from '@grpc/grpc-js';
import type { HeaderMap } from '#/http/index.ts';
import type { Clock } from '#/kit/index.ts';
import type { ExternalProcessing, ProcessingMode } from '#/model/index.ts';
import { processMethod } from '#/wire/index.ts';
import {
  CallFailure,
  callFailure,
  countFailure,
  emptyCallCounters,
  type CallCounters,
} from './call-failure.ts';
import { failureOf, type ExternalChannels } from './channels.ts';
import { addressText } from './header-edits.ts';
import {
  outcomeOf,
  unchanged,
  type PartKind,
  type ProcessingOutcome,
  type ProcessingResponse,
} from './processing-outcome.ts';

type RequestInit = Parameters<typeof processMethod.request.encode>[0];
type Stream = ClientDuplexStream<RequestInit, ProcessingResponse>;

/** One request. Which parts are to be sent is the caller's choice, by the configuration. */
export interface Processing {
  /** With `:method`, `:path`, `:authority` and `:scheme`, or `:status`. Never rejects. */
  headers(of: 'request' | 'response', headers: HeaderMap, ended: boolean): Promise<ProcessingOutcome>;
  /** A chunk, or the whole of a buffered body. Wait for the outcome before the next. Never rejects. */
  body(of: 'request' | 'response', bytes: Buffer, ended: boolean): Promise<ProcessingOutcome>;
  /** No more parts. Always call it. */
  close(): void;
}

const bodyModes: Readonly<Record<ProcessingMode, 0 | 1 | 2>> = { NONE: 0, STREAMED: 1, BUFFERED: 2 };

export class ExternalProcessor {
  /** Of parts, not of requests. */
  readonly counters: CallCounters = emptyCallCounters();
  readonly #channels: ExternalChannels;
  readonly #clock: Clock;

  constructor(channels: ExternalChannels, clock: Clock) {
    this.#channels = channels;
    this.#clock = clock;
  }

  /** Opens nothing before the first part. */
  begin(config: ExternalProcessing): Processing {
    return new ProcessingStream(config, this.#channels, this.#clock, this.counters);
  }
}

interface Waiting {
  readonly kind: PartKind;
  settle(result: ProcessingResponse | CallFailure | 'skip'): void;
}

class ProcessingStream implements Processing {
  readonly #config: ExternalProcessing;
  readonly #channels: ExternalChannels;
  readonly #clock: Clock;
  readonly #counters: CallCounters;
  readonly #waiting: Waiting[] = [];
  /** `over`: every further part goes on unchanged. */
  #state: 'new' | 'open' | 'over' | 'failed' = 'new';
  #stream: Stream | undefined;
  /** Until the service must have ended. */
  #grace: Disposable | undefined;

  constructor(config: ExternalProcessing, channels: ExternalChannels, clock: Clock, counters: CallCounters) {
    this.#config = config;
    this.#channels = channels;
    this.#clock = clock;
    this.#counters = counters;
  }

  headers(of: 'request' | 'response', headers: HeaderMap, ended: boolean): Promise<ProcessingOutcome> {
    const list: { key: string; rawValue: Uint8Array }[] = [];
    for (let i = 0; i + 1 < headers.flat.length; i += 2)
      list.push({
        key: headers.flat[i] as string,
        rawValue: Buffer.from(headers.flat[i + 1] as string, 'latin1'),
      });
    const value = { headers: { headers: list }, endOfStream: ended };
    return of === 'request'
      ? this.#send('requestHeaders', { case: 'requestHeaders', value })
      : this.#send('responseHeaders', { case: 'responseHeaders', value });
  }

  body(of: 'request' | 'response', bytes: Buffer, ended: boolean): Promise<ProcessingOutcome> {
    const value = { body: bytes, endOfStream: ended };
    return of === 'request'
      ? this.#send('requestBody', { case: 'requestBody', value })
      : this.#send('responseBody', { case: 'responseBody', value });
  }

  close(): void {
    if (this.#state !== 'failed') this.#state = 'over';
    this.#stream?.end();
    // What is still waited for is no longer wanted; the service may take its time to end.
    if (this.#waiting.length > 0) this.#end('skip');
    const stream = this.#stream;
    if (stream !== undefined)
      this.#grace ??= this.#clock.after(this.#config.timeoutMs, () => stream.cancel());
  }

  async #send(kind: PartKind, request: NonNullable<RequestInit['request']>): Promise<ProcessingOutcome> {
    if (this.#state === 'over') return unchanged;
    if (this.#state === 'failed')
      return this.#config.failOpen ? unchanged : failed('the stream has failed', 500);
    try {
      const answer = await this.#ask(kind, request);
      if (answer === 'skip') return unchanged;
      const outcome = outcomeOf(kind, answer);
      if (outcome.kind === 'respond') this.#state = 'over';
      this.#counters[outcome.kind === 'respond' ? 'denied' : 'ok']++;
      return outcome;
    } catch (error) {
      const failure = callFailure(error);
      this.#state = 'failed';
      this.#stream?.cancel();
      countFailure(this.#counters, failure, this.#config.failOpen);
      if (failure.kind === 'timeout') this.#channels.timedOut(this.#config.server);
      return this.#config.failOpen
        ? unchanged
        : failed(
            `external processing by ${addressText(this.#config.server)}: ${failure.message}`,
            failure.kind === 'timeout' ? 504 : 500,
          );
    }
  }

  #ask(kind: PartKind, request: NonNullable<RequestInit['request']>): Promise<ProcessingResponse | 'skip'> {
    const first = this.#stream === undefined;
    // Throws if too many are under way.
    const stream = (this.#stream ??= this.#open());
    const { requestBody, responseBody, timeoutMs } = this.#config;
    return new Promise((resolve, reject) => {
      const timer = this.#clock.after(timeoutMs, () =>
        this.#end(new CallFailure('timeout', `no answer within ${timeoutMs} ms`)),
      );
      this.#waiting.push({
        kind,
        settle(result) {
          timer[Symbol.dispose]();
          if (result instanceof CallFailure) reject(result);
          else resolve(result);
        },
      });
      stream.write({
        request,
        ...(first && {
          protocolConfig: {
            requestBodyMode: bodyModes[requestBody],
            responseBodyMode: bodyModes[responseBody],
          },
        }),
      });
    });
  }

  #open(): Stream {
    const stream = this.#channels.stream(this.#config.server, processMethod);
    this.#state = 'open';
    stream.on('data', (response: ProcessingResponse) => this.#received(response));
    // Closed in good order: the service has nothing more to say about this request.
    stream.on('status', ({ code }) => {
      this.#grace?.[Symbol.dispose]();
      if (this.#state === 'open') this.#state = code === 0 ? 'over' : 'failed';
      if (code === 0) this.#end('skip');
    });
    stream.on('error', (error: ServiceError) => {
      if (this.#state === 'open') this.#state = 'failed';
      this.#end(failureOf(this.#config.server, error));
    });
    return stream;
  }

  #received(response: ProcessingResponse): void {
    const { case: answered } = response.response;
    if (answered === 'immediateResponse') {
      // Whatever is under way: the first to wait gets it, the others are over.
      this.#state = 'over';
      this.#waiting.shift()?.settle(response);
      this.#end('skip');
      this.#stream?.end();
      return;
    }
    const index = this.#waiting.findIndex(({ kind }) => kind === answered);
    if (index < 0) {
      this.#end(new CallFailure('protocol', `an answer that nobody waits for: ${answered ?? 'empty'}`));
      this.#state = 'failed';
      this.#stream?.cancel();
      return;
    }
    this.#waiting.splice(index, 1)[0]?.settle(response);
  }

  #end(result: CallFailure | 'skip'): void {
    for (const waiting of this.#waiting.splice(0)) waiting.settle(result);
  }
}

const failed = (error: string, status: 500 | 504): ProcessingOutcome => ({ kind: 'failed', status, error });
