// For tests: a server's connection whose client is a script.
import { ManualClock } from '#/kit/index.ts';
import type {
  HttpLimits,
  MessageReceiver,
  ResponseHead,
  ServerConnection,
  ServerExchange,
} from '../exchange.ts';
import { HeaderMap } from '../header-map.ts';
import { ScriptedChannel, turn } from './scripted-channel.ts';
import { h1Server } from './server-connection.ts';

export const none = new HeaderMap();
export const ok = (contentLength?: number, headers: HeaderMap = none): ResponseHead => ({
  status: 200,
  headers,
  contentLength,
});

export class Receiver implements MessageReceiver {
  readonly events: string[] = [];
  readonly exchange: ServerExchange;
  hold = false;
  constructor(exchange: ServerExchange) {
    this.exchange = exchange;
    exchange.receiver = this;
  }
  data(chunk: Buffer): void {
    this.events.push(`data ${chunk.toString('latin1')}`);
    if (!this.hold) this.exchange.consumed(chunk.length);
  }
  end(trailers?: HeaderMap): void {
    this.events.push(`end${trailers === undefined ? '' : ` ${JSON.stringify(trailers.flat)}`}`);
  }
  failed({ kind }: { kind: string }): void {
    this.events.push(`failed ${kind}`);
  }
  writable(): void {
    this.events.push('writable');
  }
}

export class Server {
  readonly channel = new ScriptedChannel();
  readonly clock = new ManualClock();
  readonly receivers: Receiver[] = [];
  readonly refusals: string[] = [];
  readonly connection: ServerConnection;
  closed = 0;
  constructor(limits: Partial<HttpLimits> = {}) {
    this.connection = h1Server(
      this.channel,
      { scheme: 'http', limits, clock: this.clock },
      {
        request: (exchange) => this.receivers.push(new Receiver(exchange)),
        refused: ({ status, reason, line }) => this.refusals.push(`${status} ${reason} | ${line}`),
        closed: () => this.closed++,
      },
    );
  }
  get last(): Receiver {
    return this.receivers.at(-1) as Receiver;
  }
  async answer(): Promise<string> {
    await turn();
    return this.channel.take();
  }
}

export const get = 'GET /a HTTP/1.1\r\nHost: h\r\n\r\n';
export const post = (lines: string): string => `POST /a HTTP/1.1\r\nHost: h\r\n${lines}\r\n`;
