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
import {
  authorityChange,
  changeHeaders,
  decideRetry,
  type ForwardPlan,
  type RequestPlan,
  type TryOutcome,
} from '#/route/index.ts';
import type { HttpResponseFlag, OutgoingTrace } from '#/telemetry/index.ts';
import type { ChosenEndpoint } from '../upstream/cluster.ts';
import { Attempt, type AttemptOwner, type AttemptFailure } from './attempt.ts';
import type { ClientConnectionContext } from './client-connection.ts';
import { localReply } from './local-reply.ts';
import type { BodyAsk } from './body-pipe.ts';
import { RequestBody } from './request-body.ts';
import type {
  FilteredRequest,
  FilterOutcome,
  Reply,
  RequestEnd,
  RequestFilter,
  ResponseStep,
} from './request-filter.ts';
import { ResponseRelay, type ResponseTap } from './response-relay.ts';

/** Milliseconds to wait for a connection to an endpoint, if nothing else is said. */
const defaultConnectTimeoutMs = 10_000;

const overflow: TryOutcome = { kind: 'overflow' };

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

export class RequestRun implements FilteredRequest, MessageReceiver, AttemptOwner {
  readonly head: RequestHead;
  readonly subject: HttpSubject & { request: RequestFacts; token: AuthenticatedToken | undefined };
  readonly trace: OutgoingTrace | undefined;
  readonly #client: ClientConnectionContext;
  readonly #exchange: ServerExchange;
  readonly #filters: readonly RequestFilter[];
  readonly #startedAt: number;
  readonly #body: RequestBody;
  /** A body whose length was told has to come: bytes that were there when it was last looked at. */
  #bodyTimer: NodeJS.Timeout | undefined;
  #bodySeen = 0;
  #continued = false;
  /** The answer was 101: bytes both ways, which end each by itself. */
  #switched = false;
  #upstreamEnded = false;
  readonly #flags: HttpResponseFlag[] = [];
  #responseSteps: ResponseStep[] | undefined;
  #overSteps: ((end: RequestEnd) => void)[] | undefined;
  /** Of filters that look at the response; taken by the relay once there is one. */
  #taps: ResponseTap[] | undefined;
  #relay: ResponseRelay | undefined;
  #outcome: RunOutcome | undefined;
  #nextFilter = 0;
  #collecting:
    | { readonly maxBytes: number; readonly done: (body: Buffer, complete: boolean) => void }
    | undefined;
  #plan: RequestPlan | undefined;
  #attempt: Attempt | undefined;
  /** Endpoints that were tried, for retries that avoid them. */
  #tried: ChosenEndpoint[] = [];
  #attempts = 0;
  #deadline: NodeJS.Timeout | undefined;
  #deadlineAt: number | undefined;
  #wait: NodeJS.Timeout | undefined;
  #originalPath: string | undefined;
  #response: ResponseHead | undefined;
  #trailers: HeaderMap | undefined;
  #details = '';
  #failureReason: string | undefined;
  #grpcStatus: number | undefined;
  #bytesSent = 0;
  #upstreamMs: number | undefined;
  /** Window of the response that is given back when the client takes more. */
  #owedToUpstream = 0;
  over = false;

  constructor(
    client: ClientConnectionContext,
    exchange: ServerExchange,
    subject: HttpSubject,
    filters: readonly RequestFilter[],
    startedAt: number,
    trace: OutgoingTrace | undefined,
  ) {
    this.trace = trace;
    this.#client = client;
    this.#exchange = exchange;
    this.head = exchange.request;
    this.subject = subject;
    this.#filters = filters;
    this.#startedAt = startedAt;
    this.#body = new RequestBody(exchange.requestEnded, client.context.config.maxRetryBytes, (bytes) =>
      exchange.consumed(bytes),
    );
    exchange.receiver = this;
    if (!exchange.requestEnded && (this.head.contentLength ?? 0) > 0) this.#awaitBody();
  }

  get exchange(): ServerExchange {
    return this.#exchange;
  }

  get startedAt(): number {
    return this.#startedAt;
  }

  get requestBody(): RequestBody {
    return this.#body;
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
    this.#attempt?.abandon();
    this.#details = 'internal_error';
    this.#failureReason = error instanceof Error ? error.message : String(error);
    if (this.#response === undefined && !this.over)
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
    (this.#responseSteps ??= []).push(step);
  }

  tapResponse(tap: ResponseTap): void {
    (this.#taps ??= []).push(tap);
  }

  onOver(step: (end: RequestEnd) => void): void {
    if (this.#outcome !== undefined) step(this.#outcome);
    else (this.#overSteps ??= []).push(step);
  }

  collectBody(maxBytes: number, done: (body: Buffer, complete: boolean) => void): void {
    this.#continue();
    this.#collecting = { maxBytes, done };
    this.#checkCollected();
  }

  get hasBody(): boolean {
    return !this.requestIsWhole && this.head.upgrade === undefined;
  }

  replaceBody(body: Buffer): void {
    this.#body.replace(body);
    this.head.contentLength = body.length;
  }

  pipeBody(ask: BodyAsk): void {
    this.#continue();
    this.#body.pipe(ask);
    this.head.contentLength = undefined;
  }

  setPath(path: string, query: string | undefined): void {
    this.head.path = path;
    this.head.query = query;
    this.subject.request = { ...this.subject.request, path, query: query ?? '' };
  }

  /** The client waits for this before it sends the body. */
  #continue(): void {
    if (this.#continued || !this.head.expectsContinue || this.#body.ended) return;
    this.#continued = true;
    this.#exchange.inform(100, new Headers());
  }

  #awaitBody(): void {
    this.#bodyTimer = setTimeout(() => {
      if (this.over || this.#body.ended) return;
      // Whoever waits for us is not slow.
      const waits = this.#body.held > 0 || (this.head.expectsContinue && !this.#continued);
      if (waits || this.#body.bytes > this.#bodySeen) {
        this.#bodySeen = this.#body.bytes;
        this.#awaitBody();
      } else this.#bodyLate();
    }, this.#client.context.config.bodyTimeoutMs);
  }

  #bodyLate(): void {
    this.#failureReason = `the body stopped at ${this.#body.bytes} of ${this.head.contentLength} bytes`;
    this.#flags.push('DT');
    this.#attempt?.abandon();
    if (this.#response === undefined)
      this.reply({ status: 408, body: 'request timeout', details: 'request_overall_timeout' });
    else this.#cut('request_overall_timeout');
  }

  #checkCollected(): void {
    const collecting = this.#collecting;
    if (collecting === undefined || this.over) return;
    // What follows an upgrade comes after its answer.
    const none = this.head.upgrade !== undefined;
    if (!none && !this.#body.ended && this.#body.bytes <= collecting.maxBytes) {
      this.#body.release();
      return;
    }
    this.#collecting = undefined;
    const { collected } = this.#body;
    const complete = (none || this.#body.ended) && collected.length <= collecting.maxBytes;
    collecting.done(complete ? collected : collected.subarray(0, collecting.maxBytes), complete);
  }

  reply(reply: Reply): void {
    if (this.over || this.#response !== undefined) return;
    if (reply.flag !== undefined) this.#flags.push(reply.flag);
    this.#details = reply.details;
    const made = localReply(reply, this.subject.request);
    const plan = this.#plan;
    if (plan?.kind === 'forward' && plan.errorHeaders !== undefined)
      changeHeaders(made.head.headers, [plan.errorHeaders]);
    const grpcStatus = made.head.headers.get('grpc-status');
    if (grpcStatus !== undefined) this.#grpcStatus = Number(grpcStatus);
    this.#dropRelay();
    this.#respond(made.head, made.body.length === 0);
    if (made.body.length === 0) return;
    this.#bytesSent += made.body.length;
    this.#pass(made.body, 0);
    this.#passEnd(undefined);
  }

  fail(reply: Reply): void {
    if (this.over) return;
    if (this.#response === undefined) {
      this.reply(reply);
      return;
    }
    if (reply.flag !== undefined) this.#flags.push(reply.flag);
    this.#attempt?.abandon();
    this.#cut(reply.details);
  }

  // ── the client's side ────────────────────────────────────────────────────

  data(chunk: Buffer): void {
    this.#body.data(chunk);
    if (this.over) return;
    const limit = this.#client.settings.maxRequestBodyBytes;
    if (limit !== undefined && this.#body.bytes > limit && !this.#switched) {
      this.#tooLarge(limit);
      return;
    }
    this.#checkCollected();
  }

  end(trailers?: HeaderMap): void {
    this.#body.end(trailers);
    if (this.#upstreamEnded) this.#switchedOver();
    else this.#checkCollected();
  }

  failed(failure: ExchangeFailure): void {
    if (this.over) return;
    this.#flags.push(failure.kind === 'protocol' ? 'DPE' : 'DC');
    if (this.#details === '') this.#details = 'downstream_remote_disconnect';
    this.#failureReason ??= failure.message;
    this.#attempt?.abandon();
    this.#finish();
  }

  /** The client takes more of the response. */
  writable(): void {
    const owed = this.#owedToUpstream;
    this.#owedToUpstream = 0;
    if (owed > 0) this.#attempt?.consumed(owed);
  }

  #tooLarge(limit: number): void {
    this.#attempt?.abandon();
    if (this.#response === undefined)
      this.reply({
        status: 413,
        body: `Payload Too Large: more than ${limit} bytes`,
        details: 'request_payload_too_large',
      });
    else this.#cut('request_payload_too_large');
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
      this.#wait = setTimeout(() => this.#carryOut(plan), plan.delayMs);
      return;
    }
    this.#carryOut(plan);
  }

  #carryOut(plan: RequestPlan): void {
    if (this.over) return;
    switch (plan.kind) {
      case 'redirect':
        this.onResponse((head) => changeHeaders(head.headers, plan.responseHeaders));
        this.reply({
          status: plan.status,
          headers: [{ name: 'location', value: plan.location }],
          details: 'direct_response',
        });
        return;
      case 'respond':
        this.onResponse((head) => changeHeaders(head.headers, plan.responseHeaders));
        this.reply({
          status: plan.status,
          body: plan.body,
          headers: plan.headers,
          details: plan.reason,
          ...(plan.flag === '-' ? {} : { flag: plan.flag }),
          ...(plan.grpcStatus === undefined ? {} : { grpcStatus: plan.grpcStatus }),
        });
        return;
      case 'forward':
        this.#forward(plan);
    }
  }

  #forward(plan: ForwardPlan): void {
    const { head } = this;
    this.#continue();
    changeHeaders(head.headers, plan.requestHeaders);
    const authority = authorityChange(plan.requestHeaders) ?? plan.authority;
    if (authority !== head.authority) {
      head.headers.set('x-envoy-original-host', head.authority);
      head.authority = authority;
    }
    if (plan.path !== head.path) {
      this.#originalPath = head.query === undefined ? head.path : `${head.path}?${head.query}`;
      head.headers.set('x-envoy-original-path', this.#originalPath);
      const mark = plan.path.indexOf('?');
      head.path = mark < 0 ? plan.path : plan.path.slice(0, mark);
      if (mark >= 0) head.query = plan.path.slice(mark + 1);
    }
    if (plan.retry === undefined) this.#body.forget();
    if (plan.timeoutMs !== undefined) {
      this.#deadlineAt = performance.now() + plan.timeoutMs;
      this.#deadline = setTimeout(() => this.#onDeadline(), plan.timeoutMs);
    }
    for (const mirror of plan.mirrors) this.#client.mirror(this, mirror);
    this.#try(plan);
  }

  #try(plan: ForwardPlan): void {
    if (this.over) return;
    this.#attempts++;
    this.head.headers.set('x-envoy-attempt-count', String(this.#attempts));
    const attempt = new Attempt(this, plan, this.#attempts);
    this.#attempt = attempt;
    attempt.start(
      this.#client,
      this.#tried,
      plan.settings.limits?.connectTimeoutMs ?? this.#client.connectTimeoutMs ?? defaultConnectTimeoutMs,
    );
  }

  #onDeadline(): void {
    if (this.over) return;
    this.#flags.push('UT');
    this.#attempt?.abandon('timeout');
    if (this.#response === undefined)
      this.reply({
        status: 504,
        body: 'upstream request timeout',
        details: 'response_timeout',
        grpcStatus: 4,
      });
    else this.#cut('response_timeout');
  }

  // ── the upstream's side ──────────────────────────────────────────────────

  /** The try has a connection: the body goes there. */
  attemptReady(attempt: Attempt): void {
    if (attempt.exchange !== undefined && !this.requestIsWhole) this.#body.sendTo(attempt.exchange);
  }

  /** Nothing of the body will come, so that the head can say so. */
  get requestIsWhole(): boolean {
    return this.#body.ended && this.#body.empty && this.#body.trailers === undefined;
  }

  attemptWritable(): void {
    this.#body.writable();
  }

  attemptInform(status: number, headers: HeaderMap): void {
    if (status !== 100 && status !== 101) this.#exchange.inform(status, headers);
  }

  attemptHead(attempt: Attempt, head: ResponseHead, ended: boolean): void {
    if (this.over) return;
    const { retry } = attempt.plan;
    if (retry !== undefined) {
      const grpc = ended && this.subject.request.grpc ? head.headers.get('grpc-status') : undefined;
      const outcome: TryOutcome = {
        kind: 'response',
        status: head.status,
        ...(grpc === undefined ? {} : { grpcStatus: Number(grpc) }),
        header: (name) => head.headers.get(name),
      };
      if (this.#again(attempt, outcome, `response with status ${head.status}`)) return;
    }
    this.#tried.length = 0;
    this.#body.forget();
    this.#upstreamMs = Math.round(performance.now() - attempt.sentAt);
    this.#details = 'via_upstream';
    changeHeaders(head.headers, attempt.plan.responseHeaders);
    head.headers.set('x-envoy-upstream-service-time', String(this.#upstreamMs));
    const cookie = attempt.endpoint?.setCookie;
    if (cookie !== undefined) head.headers.add('set-cookie', cookie);
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
    this.#noteGrpc(head.headers);
    this.#switched = attempt.switched;
    this.#respond(head, ended);
  }

  attemptData(attempt: Attempt, chunk: Buffer): void {
    if (this.over) {
      attempt.consumed(chunk.length);
      return;
    }
    this.#bytesSent += chunk.length;
    const max = this.#client.settings.maxResponseBodyBytes;
    if (max !== undefined && this.#bytesSent > max && !this.#switched) {
      attempt.consumed(chunk.length);
      attempt.abandon();
      this.#cut('response_payload_too_large');
      return;
    }
    this.#pass(chunk, chunk.length);
  }

  attemptEnd(trailers: HeaderMap | undefined): void {
    if (this.over) return;
    this.#trailers = trailers;
    if (trailers !== undefined) this.#noteGrpc(trailers);
    this.#passEnd(trailers);
  }

  /** Both directions of an upgraded exchange have ended in order. */
  #switchedOver(): void {
    this.#attempt?.done();
    this.#finish();
  }

  attemptFailed(attempt: Attempt, failure: AttemptFailure): void {
    if (this.over) return;
    this.#failureReason = failure.message;
    if (this.#response !== undefined) {
      this.#flags.push(failure.flag);
      this.#cut('upstream_reset_after_response_started');
      return;
    }
    if (failure.outcome !== overflow && this.#again(attempt, failure.outcome, failure.message)) return;
    this.#flags.push(failure.flag);
    this.reply({
      status: failure.status,
      body: failure.body,
      details: failure.details,
      ...(failure.status === 504 ? { grpcStatus: 4 } : {}),
    });
  }

  /** True if another try is under way. */
  #again(attempt: Attempt, outcome: TryOutcome, why: string): boolean {
    const { retry } = attempt.plan;
    if (retry === undefined) return false;
    const decision = decideRetry(
      retry,
      outcome,
      {
        retries: this.#attempts - 1,
        replayable: this.#body.replayable && this.head.upgrade === undefined,
        responseStarted: this.#response !== undefined || this.#relay !== undefined,
        ...(this.#deadlineAt === undefined ? {} : { remainingMs: this.#deadlineAt - performance.now() }),
      },
      Math.random,
    );
    if (!decision.retry) {
      if (decision.because === 'limit') this.#flags.push('URX');
      return false;
    }
    if (!this.#client.admitRetry(this, attempt.plan)) {
      this.#flags.push('UO');
      return false;
    }
    this.#failureReason = why;
    if (attempt.endpoint !== undefined && retry.avoidPrevious) this.#tried.push(attempt.endpoint);
    attempt.abandon();
    this.#body.detach();
    this.#attempt = undefined;
    const { plan } = attempt;
    this.#wait = setTimeout(() => this.#try(plan), decision.delayMs);
    return true;
  }

  // ── endings ──────────────────────────────────────────────────────────────

  #noteGrpc(headers: HeaderMap): void {
    if (!this.subject.request.grpc) return;
    const status = headers.get('grpc-status');
    if (status !== undefined && /^[0-9]{1,3}$/.test(status)) this.#grpcStatus = Number(status);
  }

  /** The response begins: past those who look at it, or at once. */
  #respond(head: ResponseHead, ended: boolean): void {
    const taps = this.#taps;
    if (taps === undefined) {
      this.#sendHead(head, ended);
      return;
    }
    // Once: what is said instead of a response that was held back goes straight to the client.
    this.#taps = undefined;
    this.#relay = new ResponseRelay(
      taps,
      {
        head: (changed, none) => this.#sendHead(changed, none),
        data: (chunk, owed) => this.#write(chunk, owed),
        end: (trailers) => this.#end(trailers),
      },
      !this.#switched,
      (bytes) => this.#attempt?.consumed(bytes),
    );
    this.#relay.head(head, ended);
  }

  #pass(chunk: Buffer, owed: number): void {
    if (this.#relay === undefined) this.#write(chunk, owed);
    else this.#relay.data(chunk, owed);
  }

  #passEnd(trailers: HeaderMap | undefined): void {
    if (this.#relay === undefined) this.#end(trailers);
    else this.#relay.end(trailers);
  }

  /** Whoever holds the response back is no longer waited for. */
  #dropRelay(): void {
    if (this.#relay === undefined) return;
    this.#relay.close();
    this.#relay = undefined;
    this.#switched = false;
    this.#attempt?.abandon();
  }

  #sendHead(head: ResponseHead, ended: boolean): void {
    for (const step of this.#responseSteps ?? []) step(head);
    this.#response = head;
    this.#exchange.respond(head, ended);
    if (ended) this.#finish();
  }

  #write(chunk: Buffer, owed: number): void {
    if (!this.#exchange.write(chunk)) this.#owedToUpstream += owed;
    else if (owed > 0) this.#attempt?.consumed(owed);
  }

  #end(trailers: HeaderMap | undefined): void {
    this.#exchange.end(trailers);
    if (this.#switched && !this.#body.ended) this.#upstreamEnded = true;
    else if (this.#switched) this.#switchedOver();
    else this.#finish();
  }

  /** The response has begun and cannot be finished: the client must see that it is cut. */
  #cut(details: string): void {
    this.#details = details;
    this.#exchange.reset();
    this.#finish();
  }

  #finish(): void {
    if (this.over) return;
    this.over = true;
    clearTimeout(this.#deadline);
    clearTimeout(this.#wait);
    clearTimeout(this.#bodyTimer);
    // Answered by somebody else than the destination, which is not to go on.
    this.#attempt?.abandon();
    // Windows belong to connections that others use, too.
    this.#body.close();
    this.writable();
    this.#collecting = undefined;
    this.#relay?.close();
    const outcome: RunOutcome = {
      status: this.#response?.status ?? 0,
      details: this.#details,
      flags: this.#flags,
      grpcStatus: this.#grpcStatus,
      bytesReceived: this.#body.bytes,
      bytesSent: this.#bytesSent,
      attempts: this.#attempts,
      endpoint: this.#attempt?.endpoint,
      failureReason: this.#failureReason,
      plan: this.#plan,
      originalPath: this.#originalPath,
      upstreamMs: this.#upstreamMs,
      response: this.#response,
      trailers: this.#trailers,
    };
    this.#outcome = outcome;
    for (const step of this.#overSteps ?? []) step(outcome);
    this.#client.finished(this, outcome);
  }
}
