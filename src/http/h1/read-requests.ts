// For tests and the fuzzer: what a server understands of some bytes, as one line of text per request.
import { ManualClock } from '#/kit/index.ts';
import type { TurnTask } from '#/tunnel/index.ts';
import type { HttpLimits, ServerExchange } from '../exchange.ts';
import { HeaderMap } from '../header-map.ts';
import { ScriptedChannel } from './scripted-channel.ts';
import { h1Server } from './server-connection.ts';

export interface Understood {
  /** `METHOD authority path?query version [headers] body`, then a refusal, if there was one: `status reason`. */
  readonly lines: readonly string[];
  readonly refused: boolean;
  readonly channel: ScriptedChannel;
}

/** Feeds the pieces to a server that answers each request when it is complete. */
export function readRequests(pieces: readonly Buffer[], limits: Partial<HttpLimits> = {}): Understood {
  const channel = new ScriptedChannel();
  const lines: string[] = [];
  let refused = false;
  const tasks: TurnTask[] = [];
  h1Server(
    channel,
    { scheme: 'http', limits, clock: new ManualClock(), atEndOfTurn: (task) => tasks.push(task) },
    {
      request: (exchange) => collect(exchange, lines),
      refused: ({ status, reason }) => {
        refused = true;
        lines.push(`${status} ${reason}`);
      },
      closed: () => {},
    },
  );
  for (const piece of pieces) {
    channel.send(piece);
    for (let task = tasks.shift(); task !== undefined; task = tasks.shift()) task.endOfTurn();
  }
  return { lines, refused, channel };
}

function collect(exchange: ServerExchange, lines: string[]): void {
  const { request } = exchange;
  let body = '';
  const done = (trailers?: HeaderMap): void => {
    const query = request.query === undefined ? '' : `?${request.query}`;
    const fields = [
      request.method,
      request.authority,
      `${request.path}${query}`,
      request.version,
      request.headers.size > 0 ? JSON.stringify(request.headers.flat) : '',
      request.upgrade === undefined ? '' : `upgrade=${request.upgrade}`,
      body === '' ? '' : `body=${body}`,
      trailers === undefined ? '' : `trailers=${JSON.stringify(trailers.flat)}`,
    ];
    lines.push(fields.filter((field) => field !== '').join(' '));
    exchange.respond({ status: 200, headers: new HeaderMap(), contentLength: 0 }, true);
  };
  exchange.receiver = {
    data: (chunk) => {
      body += chunk.toString('latin1');
      exchange.consumed(chunk.length);
    },
    end: done,
    failed: ({ kind }) => lines.push(`failed ${kind}`),
    writable: () => {},
  };
  if (exchange.requestEnded || request.upgrade !== undefined) done();
}
