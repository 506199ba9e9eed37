// From what a request or a connection came to, to its record: metrics, access log, span.
import type { Logger } from '#/kit/index.ts';
import { serviceKey, type ConnectionFacts, type Identity, type Workload } from '#/model/index.ts';
import {
  upstreamClusterName,
  type HttpExchangeRecord,
  type HttpMetrics,
  type TcpConnectionRecord,
  type TcpCounter,
} from '#/telemetry/index.ts';
import type { MirrorView } from '#/state/index.ts';
import type { TargetConfig } from './config/target-config.ts';
import type { ClientConnectionContext } from './requests/client-connection.ts';
import type { RequestRun, RunOutcome } from './requests/request-run.ts';
import type { Target } from './resolve-target.ts';
import type { TcpAccount, TcpOutcome } from './tcp-relay.ts';
import type { ChosenEndpoint } from './upstream/cluster.ts';

export interface Spans {
  request(record: HttpExchangeRecord, run: RequestRun, config: TargetConfig): void;
}

export interface AccountOptions {
  readonly metrics: HttpMetrics;
  readonly identity: Identity;
  readonly network: string;
  readonly view: MirrorView;
  readonly now: () => number;
  readonly log: Logger;
  /** A line of an access log, without line break. */
  readonly write: (path: string, line: string) => void;
  readonly spans: Spans;
}

const versions = { '1.0': 'HTTP/1.0', '1.1': 'HTTP/1.1', '2': 'HTTP/2' } as const;

export class Account {
  readonly #options: AccountOptions;
  requests = 0;

  constructor(options: AccountOptions) {
    this.#options = options;
  }

  #common(target: Target, facts: ConnectionFacts, endpoint: ChosenEndpoint | undefined) {
    const { view, network, identity } = this.#options;
    return {
      source: view.workloadByAddress(network, facts.source.ip),
      destination: endpoint?.workload ?? target.workload,
      service: target.service,
      sourceIdentity: facts.identity,
      localIdentity: identity,
      mutualTls: true,
      downstreamLocalAddress: facts.destination,
      downstreamRemoteAddress: facts.source,
      requestedServerName: facts.sni,
      upstreamHost: endpoint?.address,
    };
  }

  request(connection: ClientConnectionContext, run: RequestRun, outcome: RunOutcome): void {
    this.requests++;
    const { config, facts, target } = connection;
    const { head, subject } = run;
    const { endpoint, plan } = outcome;
    const { now, metrics, write, spans } = this.#options;
    const path = head.query === undefined ? head.path : `${head.path}?${head.query}`;
    const destination = plan?.kind === 'forward' ? plan.destination : undefined;
    const record: HttpExchangeRecord = {
      kind: 'http',
      ...this.#common(target, facts, endpoint),
      startedAt: run.startedAt,
      durationMs: now() - run.startedAt,
      flags: outcome.flags,
      bytesReceived: outcome.bytesReceived,
      bytesSent: outcome.bytesSent,
      responseCodeDetails: outcome.details,
      upstreamTransportFailureReason: outcome.failureReason,
      upstreamCluster:
        destination === undefined
          ? undefined
          : upstreamClusterName(
              destination.port,
              'http',
              destination.service.slice(destination.service.indexOf('/') + 1),
              destination.subset,
            ),
      upstreamAttempts: outcome.attempts,
      routeName: plan?.routeName ?? 'default',
      method: head.method,
      path,
      originalPath: outcome.originalPath,
      scheme: head.scheme,
      authority: head.authority,
      protocol: versions[head.version],
      responseCode: outcome.status,
      upstreamServiceMs: outcome.upstreamMs,
      requestId: head.headers.get('x-request-id'),
      requestHeaders: head.headers,
      responseHeaders: outcome.response?.headers,
      trailers: outcome.trailers,
      traceId: run.trace?.traceId,
      spanId: run.trace?.spanId,
      grpc: subject.request.grpc,
      grpcStatus: outcome.grpcStatus,
    };
    if (config.telemetry.metrics.enabled) metrics.request(record, config.metricPlan);
    config.accessLogs.log(record, write);
    if (run.trace?.sampled === true) spans.request(record, run, config);
  }

  tcp(target: Target, facts: ConnectionFacts, config: TargetConfig): TcpAccount {
    const { now, metrics, write } = this.#options;
    const record = (outcome: TcpOutcome | undefined): TcpConnectionRecord => ({
      kind: 'tcp',
      ...this.#common(target, facts, outcome?.endpoint),
      startedAt: outcome?.startedAt ?? now(),
      durationMs: outcome === undefined ? 0 : now() - outcome.startedAt,
      flags: outcome?.flags ?? [],
      bytesReceived: outcome?.received ?? 0,
      bytesSent: outcome?.sent ?? 0,
      responseCodeDetails: outcome?.details,
      upstreamTransportFailureReason: outcome?.failure,
      upstreamCluster:
        target.service === undefined
          ? undefined
          : upstreamClusterName(target.port, 'tcp', target.service.hostname),
    });
    let counter: TcpCounter | undefined;
    let received = 0;
    let sent = 0;
    const count = (nowReceived: number, nowSent: number): void => {
      counter?.received(nowReceived - received);
      counter?.sent(nowSent - sent);
      received = nowReceived;
      sent = nowSent;
    };
    const open = (outcome: TcpOutcome | undefined, endpoint?: ChosenEndpoint): void => {
      if (counter === undefined && config.telemetry.metrics.enabled)
        counter = metrics.tcpOpened(
          { ...record(outcome), ...(endpoint === undefined ? {} : this.#common(target, facts, endpoint)) },
          config.metricPlan,
        );
    };
    return {
      connected: (endpoint) => open(undefined, endpoint),
      progress: count,
      closed: (outcome) => {
        open(outcome);
        count(outcome.received, outcome.sent);
        counter?.closed(outcome.flags);
        config.accessLogs.log(record(outcome), write);
      },
    };
  }
}

/** A name for a target in our own log. */
export const targetText = (target: Target): string =>
  target.service === undefined
    ? `workload ${(target.workload as Workload).namespace}/${(target.workload as Workload).name}`
    : `service ${serviceKey(target.service)}`;
