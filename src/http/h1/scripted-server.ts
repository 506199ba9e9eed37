// For tests: a client's connection whose server is a script.
import { ManualClock } from '#/kit/index.ts';
import type {
  ClientConnection,
  ClientExchange,
  ExchangeFailure,
  HttpLimits,
  RequestHead,
  ResponseHead,
  ResponseReceiver,
} from '../exchange.ts';
import type { TurnTask } from '#/tunnel/index.ts';
import { HeaderMap } from '../header-map.ts';
import { h1Client } from './client-connection.ts';
import { ScriptedChannel, turn } from './scripted-channel.ts';

export const head = (over: Partial<RequestHead> = {}): RequestHead => ({
  version: '1.1',
  method: 'GET',
  scheme: 'http',
  authority: 'h:80',
  path: '/a',
  query: undefined,
  headers: new HeaderMap(),
  upgrade: undefined,
  contentLength: undefined,
  expectsContinue: false,
  ...over,
});

export class Answer implements ResponseReceiver {
  readonly events: string[] = [];
  exchange: ClientExchange | undefined;
  failure: ExchangeFailure | undefined;
  inform(status: number): void {
    this.events.push(`inform ${status}`);
  }
  head({ status, headers, contentLength }: ResponseHead, ended: boolean): void {
    this.events.push(`${status} ${JSON.stringify(headers.flat)} ${contentLength}${ended ? ' ended' : ''}`);
  }
  data(chunk: Buffer): void {
    this.events.push(`data ${chunk.toString('latin1')}`);
    this.exchange?.consumed(chunk.length);
  }
  end(trailers?: HeaderMap): void {
    this.events.push(`end${trailers === undefined ? '' : ` ${JSON.stringify(trailers.flat)}`}`);
  }
  failed(failure: ExchangeFailure): void {
    this.failure = failure;
    this.events.push(`failed ${failure.kind}${failure.stale === true ? ' stale' : ''}`);
  }
  writable(): void {
    this.events.push('writable');
  }
}

export class Client {
  readonly channel = new ScriptedChannel();
  readonly clock = new ManualClock();
  readonly connection: ClientConnection;
  available = 0;
  readonly closed: (string | undefined)[] = [];
  readonly #tasks: TurnTask[] = [];
  /** @param byHand turns end when `flush` is called */
  constructor(limits: Partial<HttpLimits> = {}, byHand = false) {
    this.connection = h1Client(
      this.channel,
      {
        limits,
        clock: this.clock,
        ...(byHand && { atEndOfTurn: (task: TurnTask) => this.#tasks.push(task) }),
      },
      {
        available: () => this.available++,
        closed: (failure) => this.closed.push(failure?.kind),
      },
    );
  }
  ask(over: Partial<RequestHead> = {}, ended = true): Answer {
    const answer = new Answer();
    answer.exchange = this.connection.request(head(over), ended, answer);
    return answer;
  }
  flush(): void {
    for (let task = this.#tasks.shift(); task !== undefined; task = this.#tasks.shift()) task.endOfTurn();
  }
  async asked(over: Partial<RequestHead> = {}, ended = true): Promise<Answer> {
    const answer = this.ask(over, ended);
    await turn();
    return answer;
  }
  async take(): Promise<string> {
    await turn();
    return this.channel.take();
  }
}

export const okBytes = 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n';
