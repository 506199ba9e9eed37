// Limits of rate: those that each worker keeps, and those that a service keeps for all.
import type { Clock, Logger } from '#/kit/index.ts';
import type { GlobalRateLimit, LocalRateLimit } from '#/model/index.ts';
import { compileRequestMatcher, type RequestMatcher } from '#/route/index.ts';
import { applyHeaderEdits, type RateLimitClient } from '../../external/index.ts';
import { descriptorsOf, LocalRateLimiter, localLimitReply } from '../../limits/index.ts';
import type { FilteredRequest, FilterOutcome, RequestFilter } from '../requests/request-filter.ts';

export class LocalRateLimitFilter implements RequestFilter {
  readonly name = 'local-rate-limit';
  readonly #limiter: LocalRateLimiter;
  readonly #matcher: RequestMatcher;
  readonly #clock: Clock;

  constructor(config: LocalRateLimit, workers: number, clock: Clock) {
    this.#limiter = new LocalRateLimiter(config, workers);
    this.#matcher = compileRequestMatcher(config.match);
    this.#clock = clock;
  }

  get problem(): string | undefined {
    return this.#matcher.problem;
  }

  apply(request: FilteredRequest): FilterOutcome {
    const { connection } = request.subject;
    if (!this.#matcher.matches(request.subject.request, connection.destination.port)) return 'next';
    if (this.#limiter.take(connection, this.#clock.now())) return 'next';
    request.reply({
      status: this.#limiter.config.status,
      body: localLimitReply.body,
      details: localLimitReply.details,
      headers: [{ name: 'x-envoy-ratelimited', value: 'true' }],
      flag: 'RL',
      grpcStatus: 14,
    });
    return 'wait';
  }
}

export class GlobalRateLimitFilter implements RequestFilter {
  readonly name = 'global-rate-limit';
  readonly #config: GlobalRateLimit;
  readonly #client: RateLimitClient;
  readonly #matcher: RequestMatcher;
  readonly #log: Logger;

  constructor(config: GlobalRateLimit, client: RateLimitClient, log: Logger) {
    this.#config = config;
    this.#client = client;
    this.#matcher = compileRequestMatcher(config.match);
    this.#log = log;
  }

  apply(request: FilteredRequest): FilterOutcome {
    const { subject } = request;
    if (!this.#matcher.matches(subject.request, subject.connection.destination.port)) return 'next';
    const descriptors = descriptorsOf(this.#config.descriptors, subject);
    if (descriptors.length === 0) return 'next';
    const gone = new AbortController();
    request.onOver(() => gone.abort());
    void this.#client.limit(this.#config, descriptors, gone.signal).then((answer) => {
      if (request.over) return;
      if (answer.error !== undefined)
        this.#log.warn(answer.limited ? 'a request is refused' : 'a request passes without an answer', {
          server: `${this.#config.server.hostname}:${this.#config.server.port}`,
          error: answer.error,
        });
      if (answer.limited) {
        request.reply({
          status: answer.status,
          body: answer.body.toString('utf8'),
          headers: [{ name: 'x-envoy-ratelimited', value: 'true' }, ...answer.headers],
          details: answer.details,
          flag: answer.details === 'request_rate_limited' ? 'RL' : 'RLSE',
        });
        return;
      }
      applyHeaderEdits(request.head.headers, answer.requestHeaders);
      if (answer.responseHeaders.length > 0)
        request.onResponse((response) => applyHeaderEdits(response.headers, answer.responseHeaders));
      request.proceed();
    });
    return 'wait';
  }
}
