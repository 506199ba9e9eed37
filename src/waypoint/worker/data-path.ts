// One worker's data path put together: from the listener to the endpoints.
import type { ServerHandlers } from '#/http/index.ts';
import { formatSocketAddress } from '#/kit/index.ts';
import type { LocalRateLimit } from '#/model/index.ts';
import { Authenticator, fetchText } from '../authentication/index.ts';
import { ExtensionHosts } from '../extensions/index.ts';
import {
  ExternalAuthorizer,
  ExternalChannels,
  ExternalProcessor,
  HttpClients,
  RateLimitClient,
} from '../external/index.ts';
import type { FinishedSpan } from '../tracing/index.ts';
import { HttpMetrics } from '#/telemetry/index.ts';
import { defaultPoolOptions, SessionPool } from '#/tunnel/index.ts';
import { gatewayKey } from '../config.ts';
import { Account, targetText } from './account.ts';
import { ClientTunnels } from './client-tunnel.ts';
import { Resources } from './config/resources.ts';
import { TargetConfigs, type ChainParts } from './config/target-configs.ts';
import type { WorkerContext } from './context.ts';
import { CustomAuthorizationFilter } from './filters/custom-authorization-filter.ts';
import { extensionFilters } from './filters/extension-filter.ts';
import { ProcessingFilter } from './filters/processing-filter.ts';
import { GlobalRateLimitFilter, LocalRateLimitFilter } from './filters/rate-limit-filters.ts';
import type { ClientConnectionContext, HttpEngine } from './requests/client-connection.ts';
import { mirrorStats } from './requests/mirror.ts';
import { Listener } from './listener.ts';
import type { WorkerReport } from './report.ts';
import { TcpRelays } from './tcp-relay.ts';
import { Clusters } from './upstream/clusters.ts';
import { Tunnels } from './upstream/open-channel.ts';

export interface DataPathOptions {
  readonly context: WorkerContext;
  /** A line of an access log, without line break. */
  readonly writeLog: (path: string, line: string) => void;
  readonly span: (provider: string, span: FinishedSpan) => void;
}

/** Requests that one worker may have open, for each connection that it may have. */
const requestsPerConnection = 2;
const poolTickMs = 10_000;

export class DataPath {
  readonly resources = new Resources();
  readonly #context: WorkerContext;
  readonly #metrics = new HttpMetrics();
  readonly #listener: Listener;
  readonly #tunnels: ClientTunnels;
  readonly #tcp: TcpRelays;
  readonly #clusters: Clusters;
  readonly #pool: SessionPool;
  readonly #extensions: ExtensionHosts;
  readonly #ticker: NodeJS.Timeout;
  #openRequests = 0;
  #malformed = 0;

  constructor({ context, writeLog, span }: DataPathOptions) {
    this.#context = context;
    const { config, clock, log, view, identity } = context;
    this.#pool = new SessionPool(defaultPoolOptions);
    this.#clusters = new Clusters(context, this.resources, new Tunnels(context, this.#pool), {
      locality: { region: '', zone: '', subzone: '' },
      network: config.network,
      clusterId: config.clusterId,
      ...(config.nodeName === undefined ? {} : { node: config.nodeName }),
    });
    const channels = new ExternalChannels();
    const authorizer = new ExternalAuthorizer(channels, new HttpClients());
    const limiter = new RateLimitClient(channels);
    const processor = new ExternalProcessor(channels, clock);
    this.#extensions = new ExtensionHosts(clock, log.scope('extension'));
    // Buckets outlive whatever else changes: a limit is the same as long as its record is.
    const localLimits = new WeakMap<LocalRateLimit, LocalRateLimitFilter>();
    const localLimit = (limit: LocalRateLimit): LocalRateLimitFilter => {
      const known = localLimits.get(limit) ?? new LocalRateLimitFilter(limit, config.workers, clock);
      localLimits.set(limit, known);
      return known;
    };
    const targets = new TargetConfigs({
      resources: this.resources,
      authenticator: new Authenticator({ fetch: fetchText, clock, log: log.scope('authentication') }),
      gateway: gatewayKey(config),
      identity,
      forwardClientIdentity: config.forwardClientIdentity,
      proxy: {
        canonicalService: config.gatewayName,
        canonicalRevision: 'latest',
        namespace: config.namespace,
        clusterId: config.clusterId,
      },
      log,
      more: ({ trafficPolicies, extensions }, policies): ChainParts => ({
        beforeAuthentication: [
          ...(policies.custom.length === 0
            ? []
            : [
                new CustomAuthorizationFilter(
                  policies,
                  this.resources.providers,
                  authorizer,
                  log.scope('authorization'),
                ),
              ]),
          ...extensionFilters(this.#extensions, extensions, 'AUTHN'),
        ],
        beforeAuthorization: extensionFilters(this.#extensions, extensions, 'AUTHZ'),
        afterAuthorization: [
          ...trafficPolicies.flatMap((policy) => [
            ...policy.localRateLimits.map((limit) => localLimit(limit)),
            ...policy.globalRateLimits.map(
              (limit) => new GlobalRateLimitFilter(limit, limiter, log.scope('rate-limit')),
            ),
          ]),
          ...trafficPolicies.flatMap(({ externalProcessing }) =>
            externalProcessing === undefined
              ? []
              : [new ProcessingFilter(externalProcessing, processor, log.scope('external-processing'))],
          ),
          ...extensionFilters(this.#extensions, extensions, 'STATS', 'UNSPECIFIED'),
        ],
      }),
    });
    const account = new Account({
      metrics: this.#metrics,
      identity,
      network: config.network,
      view,
      now: clock.now,
      log,
      write: writeLog,
      spans: {
        request: (record, run, { tracing }) => {
          if (tracing === undefined || run.trace === undefined) return;
          const finished = tracing.finish(record, run.trace);
          if (finished !== undefined) span(tracing.provider, finished);
        },
      },
    });
    const engine: HttpEngine = {
      context,
      clusters: this.#clusters,
      targetConfig: (target) => targets.of(target),
      admit: () => ++this.#openRequests <= config.maxConnections * requestsPerConnection,
      finished: (connection, run, outcome) => {
        this.#openRequests--;
        account.request(connection, run, outcome);
      },
      refused: (connection, refusal) => this.#refused(connection, refusal),
    };
    this.#tcp = new TcpRelays({
      context,
      clusters: this.#clusters,
      targetConfig: engine.targetConfig,
      destinations: (target, facts) =>
        this.resources.tcpRoutes.match(
          { service: facts.service, gateway: gatewayKey(config), port: target.port },
          facts.sni,
          Math.random,
        ),
      opened: (target, facts, target_) => account.tcp(target, facts, target_),
    });
    this.#tunnels = new ClientTunnels(context, engine, this.#tcp);
    this.#listener = new Listener(context, (peer, request) => this.#tunnels.accept(peer, request));
    this.#ticker = setInterval(() => this.#tick(), poolTickMs);
    this.#ticker.unref();
  }

  /** All that the control plane has was told; clients are served from now on. */
  configured(): void {
    this.#tunnels.configured = true;
  }

  #tick(): void {
    this.#pool.idleMs = this.resources.mesh.hboneIdleTimeoutMs;
    this.#pool.tick();
    const names = new Set<string>();
    for (const resource of this.resources.all()) if (resource.kind === 'extension') names.add(resource.name);
    this.#extensions.retain(names);
  }

  /** Returns the port. */
  listen(): number {
    return this.#listener.open();
  }

  #refused(
    { facts, target }: ClientConnectionContext,
    { status, reason, line }: Parameters<ServerHandlers['refused']>[0],
  ): void {
    this.#malformed++;
    this.#context.log.scope('access').warn('request refused', {
      'src.addr': formatSocketAddress(facts.source.ip, facts.source.port),
      ...(facts.identity === undefined ? {} : { 'src.identity': facts.identity }),
      dst: targetText(target),
      status: status ?? 0,
      ...(line === undefined ? {} : { request: line.slice(0, 200) }),
      error: reason,
    });
  }

  report(): WorkerReport {
    this.#tcp.account();
    return {
      traffic: this.#metrics.drain(),
      connections: this.#tunnels.open,
      tcp: this.#tcp.open,
      requests: this.#openRequests,
      clusters: this.#clusters.size,
      tunnels: this.#pool.size,
      refused: {
        ...this.#listener.refused,
        malformed: this.#malformed,
        mirrorsDropped: mirrorStats.dropped,
      },
      extensions: this.#extensions.report(),
      problems: [...this.resources.problems, ...this.#extensions.problems()],
    };
  }

  /** Takes nothing new; resolves when all that was open has ended. */
  async drain(): Promise<void> {
    this.#tunnels.drain();
    await this.#listener.drain();
    this.#clusters.drain();
    this.#pool.drain();
  }

  destroy(reason: string): void {
    clearInterval(this.#ticker);
    this.#listener.destroy(reason);
    this.#tcp.abort();
    this.#clusters.destroy();
    this.#extensions.destroy();
    this.#pool.destroy(reason);
  }
}
