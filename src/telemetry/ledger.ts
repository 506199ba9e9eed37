// One entry per connection, one outcome per entry: one line and one set of numbers, whatever ends it first.
import { MeshError, errorRegistry, errorText, type ErrorCode } from '#/errors/index.ts';
import type { LogLevel, SocketAddress } from '#/kit/index.ts';
import { knownIdentity, type Baggage, type Workload } from '#/model/index.ts';
import {
  formatAccess,
  type AccessLogFormat,
  type AccessParty,
  type AccessRecord,
  type Direction,
} from './access-log.ts';
import { trafficLabels, type Reporter, type TrafficLabels, type TrafficParties } from './traffic-labels.ts';
import type { TrafficMetrics, TrafficSeries } from './traffic-metrics.ts';

/** Where lines go. `enabled` is asked first, so that a line nobody wants is never made. */
export interface AccessLogSink {
  readonly format: AccessLogFormat;
  enabled(level: LogLevel): boolean;
  /** Without the line break. */
  write(line: string): void;
}

export interface LedgerOptions {
  readonly log: AccessLogSink;
  readonly metrics: TrafficMetrics;
  /** Milliseconds since the epoch; a fraction shows as microseconds. */
  readonly now: () => number;
}

/** A connection whose plan is made. */
export interface OpenConnection extends TrafficParties {
  readonly sourceAddress: SocketAddress;
  /** Outbound: the next hop. Inbound: the connection's own destination. */
  readonly destinationAddress: SocketAddress;
  /** The authority of the CONNECT. */
  readonly hboneAddress?: string | undefined;
  /** When it was accepted. Default: now. */
  readonly startedAt?: number | undefined;
}

/** A connection that was refused before there was a plan: one line, no numbers. */
export interface EarlyRefusal {
  readonly reporter: Reporter;
  readonly sourceAddress: SocketAddress;
  readonly destinationAddress: SocketAddress;
  /** What stands after `error=`. */
  readonly reason: string;
}

export interface Failure {
  readonly code: ErrorCode;
  /** What stands after `error=`. Default: the code's text. */
  readonly reason?: string;
}

const directionOf = (reporter: Reporter): Direction => (reporter === 'source' ? 'outbound' : 'inbound');

interface Known {
  readonly identity: string | undefined;
}

const byIdentity = new WeakMap<Workload, Known>();
const withoutIdentity = new WeakMap<Workload, Known>();

/** The same for all connections of a workload, so long as it goes by the same identity. */
function alike(workload: Workload, identity: string | undefined): Known {
  const lastKnown = identity === undefined ? withoutIdentity : byIdentity;
  const kept = lastKnown.get(workload);
  if (kept !== undefined && kept.identity === identity) return kept;
  const made = { identity };
  lastKnown.set(workload, made);
  return made;
}

function party(
  address: SocketAddress,
  workload: Workload | undefined,
  baggage: Baggage | undefined,
  identity: string | undefined,
): AccessParty {
  if (workload === undefined)
    return {
      address,
      workload: baggage?.serviceName,
      namespace: baggage?.namespace,
      identity,
      cluster: baggage?.clusterId,
    };
  return {
    address,
    workload: workload.name === '' ? workload.canonicalName : workload.name,
    namespace: workload.namespace,
    identity,
    cluster: workload.clusterId,
    alike: alike(workload, identity),
  };
}

function destinationParty(connection: OpenConnection): AccessParty {
  const { destinationAddress: address, destination, destinationBaggage: baggage, mutualTls } = connection;
  if (baggage !== undefined)
    return {
      address,
      workload: baggage.workloadName,
      namespace: baggage.namespace,
      identity: mutualTls ? connection.destinationIdentity : undefined,
      cluster: baggage.clusterId,
    };
  const identity = destination && knownIdentity(destination);
  return party(address, destination, undefined, mutualTls ? identity : undefined);
}

/** The account of one connection. Disposing it without an outcome is the outcome: drained. */
export class LedgerEntry implements Disposable {
  readonly #options: LedgerOptions;
  readonly #connection: OpenConnection;
  readonly #labels: TrafficLabels;
  readonly #series: TrafficSeries;
  readonly #startedAt: number;
  #toServer = 0;
  #toClient = 0;
  #open = true;

  /** Made by the ledger. */
  constructor(options: LedgerOptions, connection: OpenConnection) {
    this.#options = options;
    this.#connection = connection;
    this.#startedAt = connection.startedAt ?? options.now();
    this.#labels = trafficLabels(connection);
    this.#series = options.metrics.hold(this.#labels);
    this.#series.counts.opened++;
    if (options.log.enabled('debug')) this.#write('debug', 'connection opened', undefined, false);
  }

  /** True until there is an outcome. */
  get open(): boolean {
    return this.#open;
  }

  get bytes(): { readonly toServer: number; readonly toClient: number } {
    return { toServer: this.#toServer, toClient: this.#toClient };
  }

  /** Counts bytes that went from client to server. */
  addToServer(bytes: number): void {
    this.#toServer += bytes;
    this.#series.counts.received += bytes;
  }

  /** Counts bytes that went from server to client. */
  addToClient(bytes: number): void {
    this.#toClient += bytes;
    this.#series.counts.sent += bytes;
  }

  /** The connection has ended as it should. */
  complete(): void {
    this.#end(undefined);
  }

  /** The connection has failed. Anything that is not a failure of the registry counts as a failed connection. */
  fail(failure: Failure | MeshError | Error): void {
    if (failure instanceof MeshError) this.#end({ code: failure.code, reason: errorText(failure) });
    else if (failure instanceof Error) {
      const { text } = errorRegistry.CONNECT_FAILED;
      this.#end({ code: 'CONNECT_FAILED', reason: `${text}: ${errorText(failure)}` });
    } else this.#end(failure);
  }

  [Symbol.dispose](): void {
    this.#end({ code: 'DRAINED' });
  }

  #end(failure: Failure | undefined): void {
    if (!this.#open) return;
    this.#open = false;
    const { metrics, log } = this.#options;
    const flag = failure === undefined ? '-' : errorRegistry[failure.code].flag;
    const counts = flag === '-' ? this.#series.counts : metrics.flagged(this.#labels, flag);
    counts.closed++;
    if (flag !== '-') counts.failed++;
    this.#series[Symbol.dispose]();
    const level = failure === undefined ? 'info' : 'error';
    if (!log.enabled(level)) return;
    const error = failure === undefined ? undefined : (failure.reason ?? errorRegistry[failure.code].text);
    this.#write(level, 'connection complete', error, true);
  }

  #write(
    level: LogLevel,
    message: AccessRecord['message'],
    error: string | undefined,
    totals: boolean,
  ): void {
    const { log, now } = this.#options;
    const connection = this.#connection;
    const ms = now();
    const { source, sourceBaggage, sourceIdentity, mutualTls } = connection;
    const outbound = connection.reporter === 'source';
    const record: AccessRecord = {
      level,
      message,
      direction: directionOf(connection.reporter),
      source: party(connection.sourceAddress, source, sourceBaggage, mutualTls ? sourceIdentity : undefined),
      destination: destinationParty(connection),
      hboneAddress: connection.hboneAddress,
      service: connection.service?.hostname,
      totals: totals
        ? {
            bytesSent: outbound ? this.#toServer : this.#toClient,
            bytesReceived: outbound ? this.#toClient : this.#toServer,
            durationMs: ms - this.#startedAt,
          }
        : undefined,
      error,
    };
    log.write(formatAccess(record, log.format, ms));
  }
}

export class Ledger {
  readonly #options: LedgerOptions;

  constructor(options: LedgerOptions) {
    this.#options = options;
  }

  /** Opens the account of a connection: hold it with `using`, so that it always comes to an outcome. */
  open(connection: OpenConnection): LedgerEntry {
    return new LedgerEntry(this.#options, connection);
  }

  /** Notes a connection that was refused before there was a plan. */
  refuse(refusal: EarlyRefusal): void {
    const { log, now } = this.#options;
    if (!log.enabled('warn')) return;
    const record: AccessRecord = {
      level: 'warn',
      message: 'connection failed',
      direction: directionOf(refusal.reporter),
      source: { address: refusal.sourceAddress },
      destination: { address: refusal.destinationAddress },
      error: refusal.reason,
    };
    log.write(formatAccess(record, log.format, now()));
  }

  /** Counts a socket as open until the result is disposed. */
  socketOpened(reporter: Reporter): Disposable {
    return this.#options.metrics.socketOpened(reporter);
  }
}
