// HTTP on one client connection: a codec on the tunnel's bytes, and a run for each request. Holds what the requests
// have in common: who the client is, what it asked for, and the configuration of that target.
import {
  h1Server,
  h2Server,
  type ByteChannel,
  type RequestHead,
  type ServerConnection,
  type ServerExchange,
  type ServerHandlers,
} from '#/http/index.ts';
import type { ConnectionFacts, Destination, HttpSubject } from '#/model/index.ts';
import { planRequest, type ForwardPlan, type RequestPlan } from '#/route/index.ts';
import { errorText } from '#/errors/index.ts';
import type { WorkerContext } from '../context.ts';
import type { Target } from '../resolve-target.ts';
import type { ChosenEndpoint, PickFailure } from '../upstream/cluster.ts';
import type { Clusters } from '../upstream/clusters.ts';
import type { TargetConfig } from '../config/target-config.ts';
import { sendMirror } from './mirror.ts';
import { prepareRequest } from './prepare-request.ts';
import { requestFacts } from './request-facts.ts';
import { RequestRun, type RunOutcome } from './request-run.ts';

/** What a worker gives to every HTTP connection. */
export interface HttpEngine {
  readonly context: WorkerContext;
  readonly clusters: Clusters;
  /** The configuration of a target, compiled when it was first asked for after a change. */
  targetConfig(target: Target): TargetConfig;
  /** False: too many requests are open. */
  admit(): boolean;
  finished(connection: ClientConnectionContext, run: RequestRun, outcome: RunOutcome): void;
  /** A request that the codec has refused by itself. */
  refused(connection: ClientConnectionContext, refusal: Parameters<ServerHandlers['refused']>[0]): void;
}

/** What a run needs of its connection. */
export class ClientConnectionContext {
  readonly context: WorkerContext;
  readonly facts: ConnectionFacts;
  readonly target: Target;
  readonly #engine: HttpEngine;
  #codec: ServerConnection | undefined;
  #config: TargetConfig;

  constructor(engine: HttpEngine, target: Target, facts: ConnectionFacts) {
    this.#engine = engine;
    this.context = engine.context;
    this.target = target;
    this.facts = facts;
    this.#config = engine.targetConfig(target);
  }

  /** Gives the channel its codec. `over` is called when the connection has ended. */
  serve(channel: ByteChannel, version: 'http1' | 'http2', over: () => void): void {
    const { http: limits } = this.context.config;
    const handlers: ServerHandlers = {
      request: (exchange) => this.#serveOne(exchange),
      refused: (refusal) => this.#engine.refused(this, refusal),
      closed: over,
    };
    const make = version === 'http2' ? h2Server : h1Server;
    this.#codec = make(
      channel,
      {
        limits,
        clock: this.context.clock,
        scheme: 'http',
        pathNormalization: this.#config.pathNormalization,
      },
      handlers,
    );
    if (this.context.closing.aborted) this.#codec.drain();
  }

  drain(): void {
    this.#codec?.drain();
  }

  destroy(): void {
    this.#codec?.destroy();
  }

  get config(): TargetConfig {
    return this.#config;
  }

  get settings(): TargetConfig['limits'] {
    return this.#config.limits;
  }

  get connectTimeoutMs(): number | undefined {
    return this.#config.connectTimeoutMs;
  }

  /** One request that cannot be judged must cost itself and nothing beside it: it is refused, never passed on. */
  #serveOne(exchange: ServerExchange): void {
    try {
      this.#request(exchange);
    } catch (error) {
      this.context.log.error('a request is cut off: it could not be judged', {
        request: `${exchange.request.method} ${exchange.request.path}`.slice(0, 200),
        error: errorText(error),
      });
      exchange.reset();
    }
  }

  #request(exchange: ServerExchange): void {
    const startedAt = this.context.clock.now();
    const config = this.#engine.targetConfig(this.target);
    this.#config = config;
    const { request: head } = exchange;
    const trace = prepareRequest(head, this.facts, config);
    const subject: HttpSubject = {
      request: requestFacts(head),
      connection: this.facts,
      remoteIp: this.facts.source.ip,
      token: undefined,
    };
    const run = new RequestRun(this, exchange, subject, config.filters, startedAt, trace);
    if (this.#engine.admit()) run.begin();
    else run.reply({ status: 503, body: 'overload', details: 'overload_manager_terminated', flag: 'OM' });
  }

  readonly routing = {
    plan: (subject: HttpSubject): RequestPlan => planRequest(subject, this.#config.routing, Math.random),
  };

  /** Calls `done` once, now or later. */
  pick(
    plan: ForwardPlan,
    head: RequestHead,
    tried: readonly ChosenEndpoint[],
    done: (picked: ChosenEndpoint | { readonly failure: PickFailure }) => void,
  ): Disposable | undefined {
    return this.#engine.clusters.pick(
      {
        destination: plan.destination,
        settings: plan.settings,
        target: this.target,
        head,
        facts: this.facts,
        tried,
      },
      done,
    );
  }

  admitRetry(plan: ForwardPlan): Disposable | undefined {
    return this.#engine.clusters.admitRetry({ ...plan, destination: plan.destination, target: this.target });
  }

  mirror(run: RequestRun, destination: Destination): void {
    sendMirror(this.#engine, this, run, destination);
  }

  finished(run: RequestRun, outcome: RunOutcome): void {
    this.#engine.finished(this, run, outcome);
  }
}
