// For tests of what can go wrong: one request through its run, against tries that the test plays one by one. Counts what
// is given back: windows, places, timers.
import {
  HeaderMap,
  type ClientConnection,
  type ExchangeFailure,
  type MessageReceiver,
  type RequestHead,
  type ResponseHead,
  type ResponseReceiver,
  type ServerExchange,
} from '#/http/index.ts';
import type { Ip } from '#/kit/index.ts';
import { identityOf, type HttpSubject } from '#/model/index.ts';
import { compileRetry, defaultRetry, type ForwardPlan, type RequestPlan } from '#/route/index.ts';
import type { ChosenEndpoint, EndpointOutcome, PickFailure } from '../upstream/cluster.ts';
import type { PoolFailure } from '../upstream/http-pool.ts';
import type { ClientConnectionContext } from './client-connection.ts';
import { requestFacts } from './request-facts.ts';
import type { RequestFilter } from './request-filter.ts';
import { RequestRun, type RunOutcome } from './request-run.ts';

export const retrying = compileRetry({ ...defaultRetry, on: ['5xx', 'reset', 'connect-failure'] });

export class ScriptedClient implements ServerExchange {
  readonly request: RequestHead;
  readonly requestEnded: boolean;
  receiver: MessageReceiver | undefined;
  readonly events: string[] = [];
  /** What `write` says. */
  takes = true;
  /** Bytes that it has sent and not got back. */
  held = 0;

  constructor(request: RequestHead, requestEnded: boolean) {
    this.request = request;
    this.requestEnded = requestEnded;
  }
  consumed(bytes: number): void {
    this.held -= bytes;
  }
  inform(status: number): void {
    this.events.push(`inform ${status}`);
  }
  respond({ status }: ResponseHead, ended: boolean): void {
    this.events.push(`${status}${ended ? '.' : ''}`);
  }
  write(chunk: Buffer): boolean {
    this.events.push(chunk.toString('latin1'));
    return this.takes;
  }
  end(trailers?: HeaderMap): void {
    this.events.push(trailers === undefined ? 'end' : `end ${trailers.flat.join()}`);
  }
  reset(): void {
    this.events.push('reset');
  }

  send(text: string): void {
    const chunk = Buffer.from(text);
    this.held += chunk.length;
    this.receiver?.data(chunk);
    chunk.fill(0x21);
  }
  sendEnd(): void {
    this.receiver?.end();
  }
  leave(kind: ExchangeFailure['kind'] = 'reset'): void {
    this.receiver?.failed({ kind, message: 'the client has gone' });
  }
}

/** One try: an endpoint, and what becomes of it. */
export class Try {
  receiver: ResponseReceiver | undefined;
  readonly events: string[] = [];
  begun = 0;
  readonly outcomes: EndpointOutcome[] = [];
  /** Set while somebody waits for a connection. */
  connected: ((connection: ClientConnection | undefined, failure?: PoolFailure) => void) | undefined;
  givenUp = false;
  takes = true;
  held = 0;

  connect(): this {
    const { connected } = this;
    this.connected = undefined;
    connected?.(this.#connection);
    return this;
  }
  refuse(kind: PoolFailure['kind'] = 'connect'): void {
    this.connected?.(undefined, { kind, message: 'refused' });
  }

  readonly #connection: ClientConnection = {
    capacity: 1,
    openExchanges: 0,
    drain: () => {},
    destroy: () => {},
    request: (head, ended, receiver) => {
      this.receiver = receiver;
      this.events.push(`${head.method} ${head.headers.get('x-envoy-attempt-count')}${ended ? '.' : ''}`);
      return {
        write: (chunk) => {
          this.events.push(chunk.toString('latin1'));
          return this.takes;
        },
        end: () => void this.events.push('end'),
        consumed: (bytes) => void (this.held -= bytes),
        reset: () => void this.events.push('reset'),
      };
    },
  };

  answer(status: number, ended = false, contentLength?: number): void {
    this.receiver?.head({ status, headers: new HeaderMap(), contentLength }, ended);
  }
  send(text: string): void {
    this.held += text.length;
    this.receiver?.data(Buffer.from(text));
  }
  sendEnd(trailers?: HeaderMap): void {
    this.receiver?.end(trailers);
  }
  fail(kind: ExchangeFailure['kind'] = 'reset'): void {
    this.receiver?.failed({ kind, message: 'the server has gone' });
  }
}

export interface Script {
  readonly head?: Partial<RequestHead>;
  readonly body?: boolean;
  readonly plan?: Partial<ForwardPlan> | RequestPlan;
  readonly filters?: readonly RequestFilter[];
  readonly settings?: { readonly maxRequestBodyBytes?: number; readonly maxResponseBodyBytes?: number };
  readonly maxRetryBytes?: number;
  readonly bodyTimeoutMs?: number;
  readonly pickFailure?: PickFailure;
  /** The endpoint is told later, by hand. */
  readonly pickLater?: boolean;
}

export class ScriptedRun {
  readonly client: ScriptedClient;
  readonly tries: Try[] = [];
  readonly run: RequestRun;
  readonly outcomes: RunOutcome[] = [];
  /** Of a look-up that was put off. */
  picked: (() => void) | undefined;
  pickGivenUp = false;

  constructor(script: Script = {}) {
    const head: RequestHead = {
      version: '1.1',
      method: script.body === true ? 'POST' : 'GET',
      scheme: 'http',
      authority: 'app',
      path: '/',
      query: undefined,
      headers: new HeaderMap(),
      upgrade: undefined,
      contentLength: script.body === true ? undefined : 0,
      expectsContinue: false,
      ...script.head,
    };
    this.client = new ScriptedClient(head, script.body !== true && head.upgrade === undefined);
    const { plan: wanted = {} } = script;
    const plan: RequestPlan =
      'kind' in wanted && wanted.kind !== undefined
        ? (wanted as RequestPlan)
        : {
            kind: 'forward',
            settings: {},
            requestHeaders: [],
            responseHeaders: [],
            authority: 'app',
            path: '/',
            mirrors: [],
            ...wanted,
          };
    const context: unknown = {
      context: {
        config: {
          maxRetryBytes: script.maxRetryBytes ?? 1000,
          bodyTimeoutMs: script.bodyTimeoutMs ?? 600_000,
        },
      },
      settings: {
        maxRequestBodyBytes: script.settings?.maxRequestBodyBytes,
        maxResponseBodyBytes: script.settings?.maxResponseBodyBytes,
      },
      connectTimeoutMs: 1000,
      routing: { plan: () => plan },
      pick: (
        _plan: unknown,
        _head: unknown,
        _tried: unknown,
        done: (one: ChosenEndpoint | { failure: PickFailure }) => void,
      ) => {
        if (script.pickFailure !== undefined) done({ failure: script.pickFailure });
        else if (script.pickLater === true) {
          this.picked = () => done(this.#endpoint());
          return { [Symbol.dispose]: () => (this.pickGivenUp = true) };
        } else done(this.#endpoint());
        return undefined;
      },
      admitRetry: () => ({ [Symbol.dispose]: () => {} }),
      mirror: () => {},
      finished: (_run: unknown, outcome: RunOutcome) => this.outcomes.push(outcome),
    };
    const subject: HttpSubject = {
      request: requestFacts(head),
      connection: {
        identity: identityOf('td', 'front', 'web'),
        source: { ip: '10.1.2.3' as Ip, port: 40_000 },
        destination: { ip: '10.9.0.1' as Ip, port: 80 },
        service: undefined,
        workload: undefined,
        sni: undefined,
      },
      remoteIp: '10.1.2.3' as Ip,
      token: undefined,
    };
    this.run = new RequestRun(
      context as ClientConnectionContext,
      this.client,
      subject,
      script.filters ?? [],
      0,
      undefined,
    );
    this.run.proceed();
  }

  #endpoint(): ChosenEndpoint {
    const one = new Try();
    this.tries.push(one);
    return {
      uid: String(this.tries.length),
      address: { ip: '10.0.0.1' as Ip, port: 80 },
      workload: undefined,
      setCookie: undefined,
      begin: () => void one.begun++,
      finish: (outcome) => void one.outcomes.push(outcome),
      connection: (_head, _ms, done) => {
        one.connected = done;
        return {
          [Symbol.dispose]: () => {
            one.givenUp = true;
            one.connected = undefined;
          },
        };
      },
      channel: () => {
        throw new Error('not HTTP');
      },
    };
  }

  /** The newest try, with its connection. */
  get server(): Try {
    const last = this.tries.at(-1);
    if (last === undefined) throw new Error('nothing was tried');
    return last.connected === undefined ? last : last.connect();
  }

  get outcome(): RunOutcome {
    const [first] = this.outcomes;
    if (first === undefined || this.outcomes.length > 1) throw new Error(`${this.outcomes.length} outcomes`);
    return first;
  }

  /** Nothing is held, and everything that began has finished once. */
  get settled(): boolean {
    return (
      this.client.held === 0 &&
      this.tries.every((one) => one.held === 0 && one.begun === 1 && one.outcomes.length === 1)
    );
  }

  /** Retries have a delay. */
  async tried(count: number): Promise<void> {
    const until = Date.now() + 20_000;
    while (this.tries.length < count) {
      if (Date.now() > until) throw new Error(`${this.tries.length} tries`);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }

  async over(): Promise<RunOutcome> {
    const until = Date.now() + 20_000;
    while (this.outcomes.length === 0) {
      if (Date.now() > until) throw new Error('the request is not over');
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    return this.outcome;
  }
}
