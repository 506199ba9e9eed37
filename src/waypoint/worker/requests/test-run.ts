// For the tests of filters: one request through its run, between a client and a destination that are played by hand.
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
import { silentLogger, type Ip } from '#/kit/index.ts';
import { identityOf, type HttpSubject } from '#/model/index.ts';
import type { ForwardPlan } from '#/route/index.ts';
import type { ChosenEndpoint } from '../upstream/cluster.ts';
import type { ClientConnectionContext } from './client-connection.ts';
import { requestFacts } from './request-facts.ts';
import type { RequestFilter } from './request-filter.ts';
import { RequestRun, type RunOutcome } from './request-run.ts';

export interface TestRequest {
  readonly method?: string;
  readonly path?: string;
  readonly query?: string;
  readonly headers?: readonly (readonly [string, string])[];
  /** A body will come. */
  readonly body?: boolean;
  /** The token of Upgrade. */
  readonly upgrade?: string;
  readonly claims?: Readonly<Record<string, unknown>>;
}

/** What the client has got. */
class Client implements ServerExchange {
  readonly request: RequestHead;
  readonly requestEnded: boolean;
  receiver: MessageReceiver | undefined;
  head: ResponseHead | undefined;
  readonly chunks: Buffer[] = [];
  ended = false;
  wasReset = false;
  /** Window that it has got back, bytes. */
  window = 0;

  constructor(request: RequestHead, requestEnded: boolean) {
    this.request = request;
    this.requestEnded = requestEnded;
  }

  get status(): number | undefined {
    return this.head?.status;
  }
  get text(): string {
    return Buffer.concat(this.chunks).toString();
  }
  consumed(bytes: number): void {
    this.window += bytes;
  }
  inform(): void {}
  respond(head: ResponseHead, ended: boolean): void {
    this.head = head;
    this.ended = ended;
  }
  write(chunk: Buffer): boolean {
    this.chunks.push(Buffer.from(chunk));
    return true;
  }
  end(): void {
    this.ended = true;
  }
  reset(): void {
    this.wasReset = true;
  }
  send(text: string): void {
    this.receiver?.data(Buffer.from(text));
  }
  sendEnd(): void {
    this.receiver?.end();
  }
  leave(): void {
    this.receiver?.failed({ kind: 'reset', message: 'gone' });
  }
}

/** What the destination has got, and what it answers. */
class Destination {
  receiver: ResponseReceiver | undefined;
  method = '';
  target = '';
  headers = new HeaderMap();
  contentLength: number | undefined;
  readonly chunks: Buffer[] = [];
  ended = false;
  wasReset = false;
  window = 0;

  get asked(): boolean {
    return this.receiver !== undefined;
  }
  get text(): string {
    return Buffer.concat(this.chunks).toString();
  }
  readonly connection: ClientConnection = {
    capacity: 1,
    openExchanges: 0,
    drain: () => {},
    destroy: () => {},
    request: (head, ended, receiver) => {
      this.receiver = receiver;
      this.method = head.method;
      this.target = head.query === undefined ? head.path : `${head.path}?${head.query}`;
      this.headers = head.headers.clone();
      this.contentLength = head.contentLength;
      this.ended = ended;
      return {
        write: (chunk) => {
          this.chunks.push(Buffer.from(chunk));
          return true;
        },
        end: () => {
          this.ended = true;
        },
        consumed: (bytes) => {
          this.window += bytes;
        },
        reset: () => {
          this.wasReset = true;
        },
      };
    },
  };

  answer(status: number, headers: readonly (readonly [string, string])[] = [], ended = false): void {
    this.receiver?.head(
      { status, headers: HeaderMap.of(headers), contentLength: ended ? 0 : undefined },
      ended,
    );
  }
  send(text: string): void {
    this.receiver?.data(Buffer.from(text));
  }
  sendEnd(): void {
    this.receiver?.end();
  }
  fail(kind: ExchangeFailure['kind'] = 'reset'): void {
    this.receiver?.failed({ kind, message: 'gone' });
  }
}

export class TestRun {
  readonly client: Client;
  readonly destination = new Destination();
  readonly run: RequestRun;
  outcome: RunOutcome | undefined;

  constructor(
    filters: readonly RequestFilter[],
    { method = 'GET', path = '/items', query, headers = [], body = false, upgrade, claims }: TestRequest = {},
  ) {
    const head: RequestHead = {
      version: '1.1',
      method,
      scheme: 'http',
      authority: 'shop.example',
      path,
      query,
      headers: HeaderMap.of(headers),
      upgrade,
      contentLength: body || upgrade !== undefined ? undefined : 0,
      expectsContinue: false,
    };
    this.client = new Client(head, !body && upgrade === undefined);
    const endpoint: ChosenEndpoint = {
      uid: 'a',
      address: { ip: '10.0.0.1' as Ip, port: 80 },
      workload: undefined,
      setCookie: undefined,
      begin: () => {},
      finish: () => {},
      connection: (_head, _ms, done) => {
        done(this.destination.connection);
        return undefined;
      },
      channel: () => {
        throw new Error('not HTTP');
      },
    };
    const plan = ({ request }: HttpSubject): ForwardPlan => ({
      kind: 'forward',
      settings: {},
      requestHeaders: [],
      responseHeaders: [],
      authority: request.authority,
      path: request.path,
      mirrors: [],
    });
    const context: unknown = {
      context: { log: silentLogger, config: { maxRetryBytes: 1024 * 1024, bodyTimeoutMs: 600_000 } },
      settings: { maxRequestBodyBytes: undefined, maxResponseBodyBytes: undefined },
      connectTimeoutMs: 1000,
      routing: { plan },
      pick: (_plan: unknown, _head: unknown, _tried: unknown, done: (one: ChosenEndpoint) => void) =>
        done(endpoint),
      admitRetry: () => undefined,
      mirror: () => {},
      finished: (_run: unknown, outcome: RunOutcome) => {
        this.outcome = outcome;
      },
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
      token: claims === undefined ? undefined : { issuer: 'i', subject: 's', claims },
    };
    this.run = new RequestRun(
      context as ClientConnectionContext,
      this.client,
      subject,
      filters,
      0,
      undefined,
    );
    this.run.proceed();
  }

  /** Until the condition holds; the test's own time limit ends it. */
  async until(condition: (run: this) => unknown): Promise<this> {
    while (condition(this) !== true) await new Promise((resolve) => setTimeout(resolve, 1));
    return this;
  }

  asked(): Promise<this> {
    return this.until(({ destination }) => destination.asked);
  }

  over(): Promise<this> {
    return this.until(({ outcome }) => outcome !== undefined);
  }
}
