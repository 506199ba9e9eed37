// One request from its head to its last byte: passes the filters, is planned, tried against endpoints, answered, and
// told of once. Synchronous wherever nothing external is asked.
import type {
  ExchangeFailure,
  HeaderMap,
  MessageReceiver,
  RequestHead,
  ResponseHead,
  ServerExchange,
} from '#/http/index.ts';
import { errorText } from '#/errors/index.ts';
import { HeaderMap as Headers } from '#/http/index.ts';
import type { AuthenticatedToken, HttpSubject, RequestFacts } from '#/model/index.ts';
import { changeHeaders, type ForwardPlan, type RequestPlan } from '#/route/index.ts';
import type { HttpResponseFlag, OutgoingTrace } from '#/telemetry/index.ts';
import type { ChosenEndpoint } from '../upstream/cluster.ts';
import type { Attempt, AttemptFailure } from './attempt.ts';
import type { ClientConnectionContext } from './client-connection.ts';
import { localReply } from './local-reply.ts';
import { applyAnswer, applyOwnAnswer, applyPlan, planReply } from './apply-plan.ts';
import { BodyCollector } from './body-collector.ts';
import type { BodyAsk } from './body-pipe.ts';
import { BodyWatch } from './body-watch.ts';
import { RequestBody } from './request-body.ts';
import type {
  FilteredRequest,
  FilterOutcome,
  Reply,
  RequestEnd,
  RequestFilter,
  ResponseStep,
} from './request-filter.ts';
import { RequestTries, type TriesOwner } from './request-tries.ts';
import type { ResponseTap } from './response-relay.ts';
import { ResponseSide } from './response-side.ts';

/** What is known at the end, beside what the exchange itself says. */
export interface RunOutcome extends RequestEnd {
  readonly grpcStatus: number | undefined;
  readonly endpoint: ChosenEndpoint | undefined;
  readonly failureReason: string | undefined;
  readonly plan: RequestPlan | undefined;
  readonly originalPath: string | undefined;
  readonly upstreamMs: number | undefined;
  readonly response: ResponseHead | undefined;
  readonly trailers: HeaderMap | undefined;
}

export class RequestRun implements FilteredRequest, MessageReceiver, TriesOwner {
  readonly head: RequestHead;
  readonly subject: HttpSubject & { request: RequestFacts; token: AuthenticatedToken | undefined };
  readonly trace: OutgoingTrace | undefined;
  readonly exchange: ServerExchange;
  readonly startedAt: number;
  readonly requestBody: RequestBody;
  readonly #client: ClientConnectionContext;
  readonly #filters: readonly RequestFilter[];
  readonly #response: ResponseSide;
  readonly #tries: RequestTries;
  readonly #flags: HttpResponseFlag[] = [];
  #watch: BodyWatch | undefined;
  #continued = false;
  /** The answer was 101: bytes both ways, which end each by itself. */
  #switched = false;
  #upstreamEnded = false;
  #overSteps: ((end: RequestEnd) => void)[] | undefined;
  #outcome: RunOutcome | undefined;
  #nextFilter = 0;
  #collector: BodyCollector | undefined;
  #plan: RequestPlan | undefined;
  /** Of an injected fault. */
  #delay: NodeJS.Timeout | undefined;
  #originalPath: string | undefined;
  #details = '';
  #failureReason: string | undefined;
  #upstreamMs: number | undefined;
  over = false;

  constructor(
    client: ClientConnectionContext,
    exchange: ServerExchange,
    subject: HttpSubject,
    filters: readonly RequestFilter[],
    startedAt: number,
    trace: OutgoingTrace | undefined,
  ) {
    const { maxRetryBytes, bodyTimeoutMs } = client.context.config;
    this.trace = trace;
    this.#client = client;
    this.exchange = exchange;
    this.head = exchange.request;
    this.subject = subject;
    this.#filters = filters;
    this.startedAt = startedAt;
    this.requestBody = new RequestBody(exchange.requestEnded, maxRetryBytes, (bytes) =>
      exchange.consumed(bytes),
    );
    this.#tries = new RequestTries(this, client);
    this.#response = new ResponseSide(exchange, subject.request.grpc, {
      consumed: (bytes) => this.#tries.consumed(bytes),
      ended: () => this.#responseOver(),
    });
    exchange.receiver = this;
    if (!exchange.requestEnded && (this.head.contentLength ?? 0) > 0)
      this.#watch = new BodyWatch(this.requestBody, this.head.expectsContinue, bodyTimeoutMs, () =>
        this.#bodyLate(),
      );
  }

  get grpc(): boolean {
    return this.subject.request.grpc;
  }

  get responseBegun(): boolean {
    return this.#response.begun;
  }

  // ── filters ──────────────────────────────────────────────────────────────

  /** As `proceed`; what throws ends the request as well. */
  begin(): void {
    try {
      this.#filter();
    } catch (error) {
      this.#broken(error);
      throw error;
    }
  }

  /** Called by filters that have waited, from wherever their answer came: what throws ends this request alone. */
  proceed(): void {
    try {
      this.#filter();
    } catch (error) {
      this.#broken(error);
      this.#client.context.log.error('a request is cut off: it could not be judged', {
        request: `${this.head.method} ${this.head.path}`.slice(0, 200),
        error: errorText(error),
      });
    }
  }

  #broken(error: unknown): void {
    this.#tries.abandon();
    this.#details = 'internal_error';
    this.#failureReason = error instanceof Error ? error.message : String(error);
    if (this.#response.head === undefined && !this.over)
      this.reply({ status: 500, body: '', details: 'internal_error' });
    else if (!this.over) this.#cut('internal_error');
  }

  #filter(): void {
    while (!this.over) {
      const filter = this.#filters[this.#nextFilter];
      if (filter === undefined) {
        this.#route();
        return;
      }
      this.#nextFilter++;
      const outcome: FilterOutcome = filter.apply(this);
      if (outcome === 'wait') return;
    }
  }

  setToken(token: AuthenticatedToken): void {
    this.subject.token = token;
  }

  onResponse(step: ResponseStep): void {
    this.#response.onHead(step);
  }

  tapResponse(tap: ResponseTap): void {
    this.#response.tap(tap);
  }

  onOver(step: (end: RequestEnd) => void): void {
    if (this.#outcome !== undefined) step(this.#outcome);
    else (this.#overSteps ??= []).push(step);
  }

  collectBody(maxBytes: number, done: (body: Buffer, complete: boolean) => void): void {
    this.#continue();
    this.#collector = new BodyCollector(this.requestBody, maxBytes, this.head.upgrade !== undefined, done);
    this.#collector.check();
  }

  get hasBody(): boolean {
    return !this.requestIsWhole && this.head.upgrade === undefined;
  }

  replaceBody(body: Buffer): void {
    this.requestBody.replace(body);
    this.head.contentLength = body.length;
  }

  pipeBody(ask: BodyAsk): void {
    this.#continue();
    this.requestBody.pipe(ask);
    this.head.contentLength = undefined;
  }

  setPath(path: string, query: string | undefined): void {
    this.head.path = path;
    this.head.query = query;
    this.subject.request = { ...this.subject.request, path, query: query ?? '' };
  }

  /** The client waits for this before it sends the body. */
  #continue(): void {
    if (this.#continued || !this.head.expectsContinue || this.requestBody.ended) return;
    this.#continued = true;
    if (this.#watch !== undefined) this.#watch.unasked = false;
    this.exchange.inform(100, new Headers());
  }

  #bodyLate(): void {
    this.#failureReason = `the body stopped at ${this.requestBody.bytes} of ${this.head.contentLength} bytes`;
    this.fail({ status: 408, body: 'request timeout', details: 'request_overall_timeout', flag: 'DT' });
  }

  reply(reply: Reply): void {
    if (this.over || this.#response.head !== undefined) return;
    if (reply.flag !== undefined) this.#flags.push(reply.flag);
    this.#details = reply.details;
    const made = localReply(reply, this.subject.request);
    if (this.#plan !== undefined) applyOwnAnswer(made.head, this.#plan);
    if (this.#response.drop()) {
      this.#switched = false;
      this.#tries.abandon();
    }
    this.#response.begin(made.head, made.body.length === 0, true);
    if (made.body.length === 0) return;
    this.#response.data(made.body, 0);
    this.#response.end(undefined);
  }

  fail(reply: Reply): void {
    if (this.over) return;
    if (this.#response.head === undefined) {
      this.reply(reply);
      return;
    }
    if (reply.flag !== undefined) this.#flags.push(reply.flag);
    this.#tries.abandon();
    this.#cut(reply.details);
  }

  // ── the client's side ────────────────────────────────────────────────────

  data(chunk: Buffer): void {
    this.requestBody.data(chunk);
    if (this.over) return;
    const limit = this.#client.settings.maxRequestBodyBytes;
    if (limit !== undefined && this.requestBody.bytes > limit && !this.#switched) {
      this.#tooLarge(limit);
      return;
    }
    this.#collector?.check();
  }

  end(trailers?: HeaderMap): void {
    this.requestBody.end(trailers);
    if (this.#upstreamEnded) this.#switchedOver();
    else this.#collector?.check();
  }

  failed(failure: ExchangeFailure): void {
    if (this.over) return;
    this.#flags.push(failure.kind === 'protocol' ? 'DPE' : 'DC');
    if (this.#details === '') this.#details = 'downstream_remote_disconnect';
    this.#failureReason ??= failure.message;
    this.#tries.abandon();
    this.#finish();
  }

  /** The client takes more of the response. */
  writable(): void {
    this.#response.writable();
  }

  #tooLarge(limit: number): void {
    this.fail({
      status: 413,
      body: `Payload Too Large: more than ${limit} bytes`,
      details: 'request_payload_too_large',
    });
  }

  // ── routing ──────────────────────────────────────────────────────────────

  #route(): void {
    const { routing, settings } = this.#client;
    const most = settings.maxRequestBodyBytes;
    if (most !== undefined && (this.head.contentLength ?? 0) > most) {
      this.#tooLarge(most);
      return;
    }
    const plan = routing.plan(this.subject);
    this.#plan = plan;
    if (plan.delayMs !== undefined && plan.delayMs > 0) {
      this.#flags.push('DI');
      this.#delay = setTimeout(() => this.#carryOut(plan), plan.delayMs);
      return;
    }
    this.#carryOut(plan);
  }

  #carryOut(plan: RequestPlan): void {
    if (this.over) return;
    if (plan.kind === 'forward') {
      this.#forward(plan);
      return;
    }
    this.#response.onHead((head) => changeHeaders(head.headers, plan.responseHeaders));
    this.reply(planReply(plan));
  }

  #forward(plan: ForwardPlan): void {
    const { head } = this;
    this.#continue();
    this.#originalPath = applyPlan(head, plan);
    for (const mirror of plan.mirrors) this.#client.mirror(this, mirror);
    this.#tries.start(plan);
  }

  // ── the tries' side ──────────────────────────────────────────────────────

  /** Nothing of the body will come, so that the head can say so. */
  get requestIsWhole(): boolean {
    const { requestBody } = this;
    return requestBody.ended && requestBody.empty && requestBody.trailers === undefined;
  }

  flag(flag: HttpResponseFlag): void {
    this.#flags.push(flag);
  }

  informed(status: number, headers: HeaderMap): void {
    this.exchange.inform(status, headers);
  }

  answered(attempt: Attempt, head: ResponseHead, ended: boolean): void {
    this.#upstreamMs = Math.round(performance.now() - attempt.sentAt);
    this.#details = 'via_upstream';
    applyAnswer(head, attempt, this.#upstreamMs);
    const max = this.#client.settings.maxResponseBodyBytes;
    const { contentLength = 0 } = head;
    if (max !== undefined && contentLength > max && this.head.method !== 'HEAD') {
      attempt.abandon();
      this.reply({
        status: 502,
        body: `response of ${contentLength} bytes: more than ${max}`,
        details: 'response_payload_too_large',
      });
      return;
    }
    this.#switched = attempt.switched;
    this.#response.begin(head, ended, !this.#switched);
  }

  responseData(attempt: Attempt, chunk: Buffer): void {
    const max = this.#client.settings.maxResponseBodyBytes;
    if (max !== undefined && this.#response.bytes + chunk.length > max && !this.#switched) {
      attempt.consumed(chunk.length);
      attempt.abandon();
      this.#cut('response_payload_too_large');
      return;
    }
    this.#response.data(chunk, chunk.length);
  }

  responseEnd(trailers: HeaderMap | undefined): void {
    this.#response.end(trailers);
  }

  lost({ status, body, details }: AttemptFailure): void {
    if (this.#response.head !== undefined) this.#cut('upstream_reset_after_response_started');
    else this.reply({ status, body, details, ...(status === 504 ? { grpcStatus: 4 } : {}) });
  }

  late(): void {
    this.fail({
      status: 504,
      body: 'upstream request timeout',
      details: 'response_timeout',
      flag: 'UT',
      grpcStatus: 4,
    });
  }

  // ── endings ──────────────────────────────────────────────────────────────

  /** The codec has all of the response. */
  #responseOver(): void {
    if (this.#switched && !this.requestBody.ended) this.#upstreamEnded = true;
    else if (this.#switched) this.#switchedOver();
    else this.#finish();
  }

  /** Both directions of an upgraded exchange have ended in order. */
  #switchedOver(): void {
    this.#tries.done();
    this.#finish();
  }

  /** The response has begun and cannot be finished: the client must see that it is cut. */
  #cut(details: string): void {
    this.#details = details;
    this.exchange.reset();
    this.#finish();
  }

  #finish(): void {
    if (this.over) return;
    this.over = true;
    clearTimeout(this.#delay);
    this.#watch?.close();
    this.#tries.close();
    this.requestBody.close();
    this.#collector?.close();
    this.#response.close();
    const outcome: RunOutcome = {
      status: this.#response.head?.status ?? 0,
      details: this.#details,
      flags: this.#flags,
      grpcStatus: this.#response.grpcStatus,
      bytesReceived: this.requestBody.bytes,
      bytesSent: this.#response.bytes,
      attempts: this.#tries.count,
      endpoint: this.#tries.endpoint,
      failureReason: this.#failureReason ?? this.#tries.failureReason,
      plan: this.#plan,
      originalPath: this.#originalPath,
      upstreamMs: this.#upstreamMs,
      response: this.#response.head,
      trailers: this.#response.trailers,
    };
    this.#outcome = outcome;
    for (const step of this.#overSteps ?? []) step(outcome);
    this.#client.finished(this, outcome);
  }
}
