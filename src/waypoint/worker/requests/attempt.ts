// One try of a request: an endpoint, a connection to it, the exchange on it.
import type {
  ClientConnection,
  ClientExchange,
  ExchangeFailure,
  HeaderMap,
  RequestHead,
  ResponseHead,
  ResponseReceiver,
} from '#/http/index.ts';
import { tryTimeout, type ForwardPlan, type TryOutcome } from '#/route/index.ts';
import type { HttpResponseFlag } from '#/telemetry/index.ts';
import type { ChosenEndpoint, PickFailure } from '../upstream/cluster.ts';
import type { ClientConnectionContext } from './client-connection.ts';

export interface AttemptFailure {
  readonly outcome: TryOutcome;
  readonly status: 502 | 503 | 504;
  readonly body: string;
  readonly details: string;
  readonly flag: HttpResponseFlag;
  readonly message: string;
}

export interface AttemptOwner {
  readonly head: RequestHead;
  /** The request has no body, or none is to come. */
  readonly requestIsWhole: boolean;
  attemptReady(attempt: Attempt): void;
  attemptWritable(): void;
  attemptInform(status: number, headers: HeaderMap): void;
  attemptHead(attempt: Attempt, head: ResponseHead, ended: boolean): void;
  attemptData(attempt: Attempt, chunk: Buffer): void;
  attemptEnd(trailers: HeaderMap | undefined): void;
  attemptFailed(attempt: Attempt, failure: AttemptFailure): void;
}

export class Attempt implements ResponseReceiver {
  readonly plan: ForwardPlan;
  readonly number: number;
  readonly #owner: AttemptOwner;
  endpoint: ChosenEndpoint | undefined;
  exchange: ClientExchange | undefined;
  /** performance.now() when the head was sent. */
  sentAt = 0;
  #timer: NodeJS.Timeout | undefined;
  #waiting: Disposable | undefined;
  #over = false;
  #status = 0;
  /** Its answer has turned it into bytes both ways. */
  switched = false;

  constructor(owner: AttemptOwner, plan: ForwardPlan, number: number) {
    this.#owner = owner;
    this.plan = plan;
    this.number = number;
  }

  start(client: ClientConnectionContext, tried: readonly ChosenEndpoint[], connectTimeoutMs: number): void {
    let chosen = false;
    const waiting = client.pick(this.plan, this.#owner.head, tried, (picked) => {
      chosen = true;
      this.#waiting = undefined;
      if ('failure' in picked) this.#fail(pickFailure(picked.failure));
      else this.#connect(picked, connectTimeoutMs);
    });
    // Chosen on the spot, it waits for a connection now, and that is what has to be given up with the try.
    if (!chosen) this.#waiting = waiting;
  }

  #connect(endpoint: ChosenEndpoint, connectTimeoutMs: number): void {
    this.endpoint = endpoint;
    endpoint.begin();
    const waiting = endpoint.connection(this.#owner.head, connectTimeoutMs, (connection, failure) => {
      this.#waiting = undefined;
      if (this.#over) return;
      if (connection === undefined)
        this.#fail(connectFailure(failure ?? { kind: 'connect', message: 'no connection' }));
      else this.#send(connection);
    });
    if (!this.#over && this.exchange === undefined) this.#waiting = waiting;
  }

  #send(connection: ClientConnection): void {
    this.sentAt = performance.now();
    const perTry = tryTimeout(this.plan.retry?.perTryTimeoutMs, undefined);
    if (perTry !== undefined) this.#timer = setTimeout(() => this.#onTimeout(), perTry);
    this.exchange = connection.request(this.#owner.head, this.#owner.requestIsWhole, this);
    // It may have failed on the spot.
    if (!this.#over) this.#owner.attemptReady(this);
  }

  #onTimeout(): void {
    if (this.#over) return;
    this.exchange?.reset();
    this.#fail({
      outcome: { kind: 'try-timeout' },
      status: 504,
      body: 'upstream request timeout',
      details: 'upstream_per_try_timeout',
      flag: 'UT',
      message: `no response within ${this.plan.retry?.perTryTimeoutMs} ms`,
    });
  }

  inform(status: number, headers: HeaderMap): void {
    if (!this.#over) this.#owner.attemptInform(status, headers);
  }

  head(head: ResponseHead, ended: boolean): void {
    if (this.#over) return;
    clearTimeout(this.#timer);
    this.#status = head.status;
    const { method, upgrade } = this.#owner.head;
    this.switched =
      upgrade !== undefined && (head.status === 101 || (method === 'CONNECT' && head.status < 300));
    if (ended) this.done();
    this.#owner.attemptHead(this, head, ended);
  }

  data(chunk: Buffer): void {
    if (this.#over) this.exchange?.consumed(chunk.length);
    else this.#owner.attemptData(this, chunk);
  }

  end(trailers?: HeaderMap): void {
    if (this.#over) return;
    // What was upgraded may still be written to.
    if (!this.switched) this.done();
    this.#owner.attemptEnd(trailers);
  }

  failed(failure: ExchangeFailure): void {
    if (this.#over) return;
    this.#fail(exchangeFailure(failure, this.number));
  }

  writable(): void {
    if (!this.#over) this.#owner.attemptWritable();
  }

  consumed(bytes: number): void {
    this.exchange?.consumed(bytes);
  }

  /** Nobody wants the rest. */
  abandon(why: 'client' | 'timeout' = 'client'): void {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#timer);
    this.#waiting?.[Symbol.dispose]();
    this.exchange?.reset();
    this.endpoint?.finish(
      this.#status > 0
        ? { kind: 'response', status: this.#status }
        : { kind: why === 'timeout' ? 'timeout' : 'abandoned' },
    );
  }

  /** It has ended in order. */
  done(): void {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#timer);
    this.endpoint?.finish({ kind: 'response', status: this.#status });
  }

  #fail(failure: AttemptFailure): void {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#timer);
    this.endpoint?.finish({ kind: failure.outcome.kind === 'try-timeout' ? 'timeout' : 'local-failure' });
    this.#owner.attemptFailed(this, failure);
  }
}

function pickFailure({ kind, message }: PickFailure): AttemptFailure {
  switch (kind) {
    case 'none':
      return {
        outcome: { kind: 'overflow' },
        status: 503,
        body: 'no healthy upstream',
        details: 'no_healthy_upstream',
        flag: 'UH',
        message,
      };
    case 'overflow':
      return {
        outcome: { kind: 'overflow' },
        status: 503,
        body: 'upstream connect error or disconnect/reset before headers. reset reason: overflow',
        details: 'upstream_reset_before_response_started{overflow}',
        flag: 'UO',
        message,
      };
    case 'unknown':
      return {
        outcome: { kind: 'overflow' },
        status: 503,
        body: '',
        details: 'cluster_not_found',
        flag: 'NC',
        message,
      };
  }
}

/** What a pool says when it has no connection to give. */
export interface ConnectionFailure {
  readonly kind: 'connect' | 'timeout' | 'refused' | 'identity' | 'overflow';
  readonly message: string;
}

function connectFailure(failure: ConnectionFailure): AttemptFailure {
  if (failure.kind === 'overflow') return pickFailure({ kind: 'overflow', message: failure.message });
  const reason = failure.kind === 'timeout' ? 'connection timeout' : 'remote connection failure';
  return {
    outcome: { kind: 'connect-failure' },
    status: 503,
    body: `upstream connect error or disconnect/reset before headers. reset reason: ${reason}`,
    details: `upstream_reset_before_response_started{${reason.replaceAll(' ', '_')}}`,
    flag: 'UF',
    message: failure.message,
  };
}

function exchangeFailure(failure: ExchangeFailure, number: number): AttemptFailure {
  const refused = failure.kind === 'refused';
  const protocol = failure.kind === 'protocol';
  const reason = protocol
    ? 'protocol error'
    : refused
      ? 'remote refused stream reset'
      : 'connection termination';
  return {
    outcome: refused ? { kind: 'refused' } : { kind: 'reset', requestStarted: true },
    status: protocol ? 502 : 503,
    body: `upstream connect error or disconnect/reset before headers. ${number > 1 ? 'retried and the latest ' : ''}reset reason: ${reason}`,
    details: `upstream_reset_before_response_started{${reason.replaceAll(' ', '_')}}`,
    flag: protocol ? 'UPE' : refused ? 'UR' : 'UC',
    message: failure.message,
  };
}
