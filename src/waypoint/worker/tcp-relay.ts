// Connections that are not HTTP: judged by what can be judged without it, routed by TCP and TLS routes, and joined with
// an endpoint. Counted and told of as a whole.
import type { ByteChannel } from '#/http/index.ts';
import { formatSocketAddress } from '#/kit/index.ts';
import { serviceKey, type ConnectionFacts, type ConnectionLimits, type Destination } from '#/model/index.ts';
import { decideTcp } from '#/policy/index.ts';
import type { TcpRouteMatch } from '#/route/index.ts';
import { h2Error } from '#/tunnel/index.ts';
import type { HttpResponseFlag } from '#/telemetry/index.ts';
import type { TargetConfig } from './config/target-config.ts';
import type { WorkerContext } from './context.ts';
import { watchFlow } from './flow-watch.ts';
import { joinChannels, type Joined } from './join-channels.ts';
import { proxyHeader } from './proxy-header.ts';
import type { TunnelRequest } from './listener.ts';
import type { Target } from './resolve-target.ts';
import type { ChosenEndpoint } from './upstream/cluster.ts';
import type { Clusters } from './upstream/clusters.ts';
import { EarlyBytes } from './early-bytes.ts';

export interface TcpOutcome {
  readonly startedAt: number;
  readonly received: number;
  readonly sent: number;
  readonly flags: readonly HttpResponseFlag[];
  readonly details: string | undefined;
  readonly failure: string | undefined;
  readonly endpoint: ChosenEndpoint | undefined;
}

export interface TcpAccount {
  /** Bytes flow to this endpoint from now on. */
  connected(endpoint: ChosenEndpoint): void;
  /** So many bytes so far. */
  progress(received: number, sent: number): void;
  /** Once, when the connection is over. */
  closed(outcome: TcpOutcome): void;
}

export interface TcpRelayOptions {
  readonly context: WorkerContext;
  readonly clusters: Clusters;
  targetConfig(target: Target): TargetConfig;
  destinations(target: Target, facts: ConnectionFacts): TcpRouteMatch | undefined;
  opened(target: Target, facts: ConnectionFacts, config: TargetConfig): TcpAccount;
}

const connectTimeoutMs = 10_000;

interface Refusal {
  readonly status: 403 | 503;
  readonly flag: HttpResponseFlag;
  readonly details: string;
  readonly message: string;
}

export class TcpRelays {
  readonly #options: TcpRelayOptions;
  readonly #joined = new Map<Joined, TcpAccount>();

  constructor(options: TcpRelayOptions) {
    this.#options = options;
  }

  get open(): number {
    return this.#joined.size;
  }

  /** A port of declared TCP: the client is told 200 when the endpoint has answered. */
  accept(request: TunnelRequest, target: Target, facts: ConnectionFacts): void {
    let over = false;
    request.onGone = () => {
      over = true;
    };
    this.#connect(
      target,
      facts,
      (channel, finish, account, limits) => {
        if (over || request.held.stream.gone) {
          channel.reset(h2Error.cancel);
          finish({
            received: 0,
            sent: 0,
            flags: ['DC'],
            details: undefined,
            failure: 'the client went away',
          });
          return;
        }
        request.held.open([], () => {
          this.#join(request.held.stream, channel, finish, account, limits);
          return request.held.stream.sink as NonNullable<typeof request.held.stream.sink>;
        });
      },
      ({ status }) => request.held.refuse(status),
    );
  }

  /** A tunnel that is open already, in which something else than HTTP is spoken. */
  join(client: ByteChannel, target: Target, facts: ConnectionFacts): void {
    let gone = false;
    // What comes while the endpoint is dialled is kept.
    const early = new EarlyBytes(client, {
      more: () => {},
      gone: () => {
        gone = true;
      },
    });
    this.#connect(
      target,
      facts,
      (channel, finish, account, limits) => {
        if (gone) {
          channel.reset(h2Error.cancel);
          finish({
            received: 0,
            sent: 0,
            flags: ['DC'],
            details: undefined,
            failure: 'the client went away',
          });
          return;
        }
        early.handOver(() => this.#join(client, channel, finish, account, limits));
      },
      () => client.reset(h2Error.connectError),
    );
  }

  #join(
    client: ByteChannel,
    server: ByteChannel,
    finish: (end: End) => void,
    account: TcpAccount,
    limits: ConnectionLimits,
  ): void {
    let details: string | undefined;
    const joined = joinChannels(client, server, ({ forth, back, failure }) => {
      watch[Symbol.dispose]();
      this.#joined.delete(joined);
      const flag = details !== undefined ? 'SI' : failure?.side === 'first' ? 'DC' : 'UC';
      finish({
        received: forth,
        sent: back,
        flags: failure === undefined ? [] : [flag],
        details,
        failure: failure?.message,
      });
    });
    const watch = watchFlow(this.#options.context.clock, joined, limits, (why) => {
      details = why;
      joined.abort();
    });
    this.#joined.set(joined, account);
  }

  #connect(
    target: Target,
    facts: ConnectionFacts,
    connected: (
      channel: ByteChannel,
      finish: (end: End) => void,
      account: TcpAccount,
      limits: ConnectionLimits,
    ) => void,
    refused: (refusal: Refusal) => void,
  ): void {
    const { context, clusters, opened } = this.#options;
    const startedAt = context.clock.now();
    const config = this.#options.targetConfig(target);
    const account = opened(target, facts, config);
    let endpoint: ChosenEndpoint | undefined;
    const finish = (end: End): void => {
      endpoint?.finish({ kind: 'abandoned' });
      account.closed({ ...end, startedAt, endpoint });
    };
    const refuse = (refusal: Refusal): void => {
      account.closed({
        startedAt,
        received: 0,
        sent: 0,
        flags: [refusal.flag],
        details: refusal.details,
        failure: refusal.message,
        endpoint,
      });
      refused(refusal);
    };
    const verdict = decideTcp(config.policies, facts);
    if (!verdict.allow || verdict.ask.length > 0) {
      refuse({
        status: 403,
        flag: 'UAEX',
        details: verdict.details,
        message: verdict.allow
          ? `provider ${verdict.ask[0]?.provider} cannot be asked about a connection that is not HTTP`
          : verdict.details,
      });
      return;
    }
    const chosen = this.#options.destinations(target, facts);
    if (chosen?.kind === 'refuse') {
      refuse({ status: 503, flag: 'NR', details: 'route_not_found', message: chosen.reason });
      return;
    }
    const destination: Destination | undefined =
      chosen?.reference.destination ??
      (target.service === undefined ? undefined : { service: serviceKey(target.service), port: target.port });
    const settings = destination === undefined ? {} : config.routing.settings.resolve(destination);
    if (settings === undefined) {
      refuse({
        status: 503,
        flag: 'NC',
        details: 'cluster_not_found',
        message: `${destination?.service} has no subset ${destination?.subset}`,
      });
      return;
    }
    clusters.pick({ destination, settings, target, head: undefined, facts, tried: [] }, (picked) => {
      if ('failure' in picked) {
        refuse({
          status: 503,
          flag: 'UH',
          details: 'no_healthy_upstream',
          message: picked.failure.message,
        });
        return;
      }
      endpoint = picked;
      picked.begin();
      picked.channel(settings.limits?.connectTimeoutMs ?? connectTimeoutMs, (channel, failure) => {
        if (channel === undefined) {
          picked.finish({ kind: 'local-failure' });
          endpoint = undefined;
          refuse({
            status: 503,
            flag: 'UF',
            details: 'upstream_connection_failure',
            message:
              failure?.message ??
              `no connection to ${formatSocketAddress(picked.address.ip, picked.address.port)}`,
          });
          return;
        }
        account.connected(picked);
        const header = proxyHeader(settings.proxyProtocol, facts);
        if (header !== undefined) channel.write(header);
        connected(channel, finish, account, settings.limits ?? {});
      });
    });
  }

  /** Counts what has flowed so far. */
  account(): void {
    for (const [joined, account] of this.#joined) account.progress(joined.forth, joined.back);
  }

  /** Ends what is open. */
  abort(): void {
    for (const joined of this.#joined.keys()) joined.abort();
  }
}

type End = Omit<TcpOutcome, 'startedAt' | 'endpoint'>;
