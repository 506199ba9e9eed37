// The tries of one request: the first, those that follow when one fails in a way that the route repeats, and the time
// that they have together.
import type { HeaderMap, RequestHead, ResponseHead } from '#/http/index.ts';
import { decideRetry, type ForwardPlan, type TryOutcome } from '#/route/index.ts';
import type { HttpResponseFlag } from '#/telemetry/index.ts';
import type { ChosenEndpoint } from '../upstream/cluster.ts';
import { Attempt, type AttemptFailure, type AttemptOwner } from './attempt.ts';
import type { ClientConnectionContext } from './client-connection.ts';
import type { RequestBody } from './request-body.ts';

/** Milliseconds to wait for a connection to an endpoint, if nothing else is said. */
const defaultConnectTimeoutMs = 10_000;

/** The request, as its tries see it. */
export interface TriesOwner {
  readonly head: RequestHead;
  readonly over: boolean;
  readonly grpc: boolean;
  readonly requestIsWhole: boolean;
  readonly requestBody: RequestBody;
  /** Something of a response has been taken: no other try can follow. */
  readonly responseBegun: boolean;
  flag(flag: HttpResponseFlag): void;
  informed(status: number, headers: HeaderMap): void;
  /** The response that counts. */
  answered(attempt: Attempt, head: ResponseHead, ended: boolean): void;
  responseData(attempt: Attempt, chunk: Buffer): void;
  responseEnd(trailers: HeaderMap | undefined): void;
  /** No other try follows. */
  lost(failure: AttemptFailure): void;
  /** The time of all tries is over. */
  late(): void;
}

export class RequestTries implements AttemptOwner {
  readonly #owner: TriesOwner;
  readonly #client: ClientConnectionContext;
  #attempt: Attempt | undefined;
  /** Endpoints that were tried, for retries that avoid them. */
  #tried: ChosenEndpoint[] = [];
  #deadline: NodeJS.Timeout | undefined;
  #deadlineAt: number | undefined;
  #wait: NodeJS.Timeout | undefined;
  /** The place of the retry that is under way, among those that the destination takes at a time. */
  #place: Disposable | undefined;
  count = 0;
  /** Why a try failed, the last time. */
  failureReason: string | undefined;

  constructor(owner: TriesOwner, client: ClientConnectionContext) {
    this.#owner = owner;
    this.#client = client;
  }

  get head(): RequestHead {
    return this.#owner.head;
  }

  get requestIsWhole(): boolean {
    return this.#owner.requestIsWhole;
  }

  get endpoint(): ChosenEndpoint | undefined {
    return this.#attempt?.endpoint;
  }

  start(plan: ForwardPlan): void {
    if (plan.retry === undefined) this.#owner.requestBody.forget();
    if (plan.timeoutMs !== undefined) {
      this.#deadlineAt = performance.now() + plan.timeoutMs;
      this.#deadline = setTimeout(() => {
        if (this.#owner.over) return;
        this.#attempt?.abandon('timeout');
        this.#owner.late();
      }, plan.timeoutMs);
    }
    this.#try(plan);
  }

  #try(plan: ForwardPlan): void {
    if (this.#owner.over) return;
    this.count++;
    this.head.headers.set('x-envoy-attempt-count', String(this.count));
    const attempt = new Attempt(this, plan, this.count);
    this.#attempt = attempt;
    attempt.start(
      this.#client,
      this.#tried,
      plan.settings.limits?.connectTimeoutMs ?? this.#client.connectTimeoutMs ?? defaultConnectTimeoutMs,
    );
  }

  /** Nobody wants the answer any more. */
  abandon(): void {
    this.#attempt?.abandon();
  }

  /** Both directions of an upgraded exchange have ended in order. */
  done(): void {
    this.#attempt?.done();
  }

  /** The client has taken so much of the response. */
  consumed(bytes: number): void {
    this.#attempt?.consumed(bytes);
  }

  close(): void {
    clearTimeout(this.#deadline);
    clearTimeout(this.#wait);
    this.#place?.[Symbol.dispose]();
    // Answered by somebody else than the destination, which is not to go on.
    this.#attempt?.abandon();
  }

  /** The try has a connection: the body goes there. */
  attemptReady(attempt: Attempt): void {
    if (attempt.exchange !== undefined && !this.requestIsWhole)
      this.#owner.requestBody.sendTo(attempt.exchange);
  }

  attemptWritable(): void {
    this.#owner.requestBody.writable();
  }

  attemptInform(status: number, headers: HeaderMap): void {
    if (status !== 100 && status !== 101) this.#owner.informed(status, headers);
  }

  attemptHead(attempt: Attempt, head: ResponseHead, ended: boolean): void {
    if (this.#owner.over) return;
    if (attempt.plan.retry !== undefined) {
      const grpc = ended && this.#owner.grpc ? head.headers.get('grpc-status') : undefined;
      const outcome: TryOutcome = {
        kind: 'response',
        status: head.status,
        ...(grpc === undefined ? {} : { grpcStatus: Number(grpc) }),
        header: (name) => head.headers.get(name),
      };
      if (this.#again(attempt, outcome, `response with status ${head.status}`)) return;
    }
    this.#tried.length = 0;
    this.#owner.requestBody.forget();
    this.#owner.answered(attempt, head, ended);
  }

  attemptData(attempt: Attempt, chunk: Buffer): void {
    if (this.#owner.over) attempt.consumed(chunk.length);
    else this.#owner.responseData(attempt, chunk);
  }

  attemptEnd(trailers: HeaderMap | undefined): void {
    if (!this.#owner.over) this.#owner.responseEnd(trailers);
  }

  attemptFailed(attempt: Attempt, failure: AttemptFailure): void {
    if (this.#owner.over) return;
    this.failureReason = failure.message;
    const repeats = failure.outcome.kind !== 'overflow';
    if (repeats && !this.#owner.responseBegun && this.#again(attempt, failure.outcome, failure.message))
      return;
    this.#owner.flag(failure.flag);
    this.#owner.lost(failure);
  }

  /** True if another try is under way. */
  #again(attempt: Attempt, outcome: TryOutcome, why: string): boolean {
    const { plan } = attempt;
    const { retry } = plan;
    if (retry === undefined) return false;
    const decision = decideRetry(
      retry,
      outcome,
      {
        retries: this.count - 1,
        replayable: this.#owner.requestBody.replayable && this.head.upgrade === undefined,
        responseStarted: this.#owner.responseBegun,
        ...(this.#deadlineAt === undefined ? {} : { remainingMs: this.#deadlineAt - performance.now() }),
      },
      Math.random,
    );
    if (!decision.retry) {
      if (decision.because === 'limit') this.#owner.flag('URX');
      return false;
    }
    this.#place?.[Symbol.dispose]();
    this.#place = this.#client.admitRetry(plan);
    if (this.#place === undefined) {
      this.#owner.flag('UO');
      return false;
    }
    this.failureReason = why;
    if (attempt.endpoint !== undefined && retry.avoidPrevious) this.#tried.push(attempt.endpoint);
    attempt.abandon();
    this.#owner.requestBody.detach();
    this.#attempt = undefined;
    this.#wait = setTimeout(() => this.#try(plan), decision.delayMs);
    return true;
  }
}
