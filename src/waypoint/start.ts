// The waypoint put together: control plane client, certificate, data workers, spans, and its own HTTP servers.
import { createWriteStream, type WriteStream } from 'node:fs';
import { errorText } from '#/errors/index.ts';
import { CaClient, CertificateManager, rootSource, tokenSource } from '#/identity/index.ts';
import { createLogger, systemClock, type Clock, type LogLevel } from '#/kit/index.ts';
import { identityOf, waypointResourceName } from '#/model/index.ts';
import { LogOutput, Readiness, startAdmin, startMetrics, startReadiness } from '#/program/index.ts';
import { MeshStore } from '#/state/index.ts';
import { HttpMetrics, MetricSet, openMetrics } from '#/telemetry/index.ts';
import { gatewayKey, type WaypointConfig } from './config.ts';
import { controlClient } from './control-client.ts';
import { DataWorkers } from './data-workers.ts';
import { countExtensions } from './extensions/index.ts';
import { SpanQueues } from './span-queues.ts';
import { waypointGauges } from './worker-gauges.ts';

export interface WaypointDeps {
  readonly clock?: Clock;
  readonly out?: NodeJS.WritableStream;
  readonly version?: string;
}

export interface RunningWaypoint extends AsyncDisposable {
  readonly hbonePort: number;
  readonly adminPort: number;
  readonly metricsPort: number;
  readonly readinessPort: number;
  /** Settles when the program is to end. */
  readonly done: Promise<void>;
  /** Stops taking requests, lets those that are open finish until the deadline, then ends. */
  shutdown(): void;
}

const tasks = { state: 'state manager', certificate: 'certificate', workers: 'listeners' } as const;
const collectMs = 15_000;
const certificateRetryMs = 1000;

/** Rejects if a port of its own is taken; nothing is then left running. */
export async function startWaypoint(
  config: WaypointConfig,
  deps: WaypointDeps = {},
): Promise<RunningWaypoint> {
  const clock = deps.clock ?? systemClock;
  const version = deps.version ?? 'unknown';
  const output = new LogOutput((deps.out ?? process.stdout) as NodeJS.WriteStream, config.logFormat);
  let level: LogLevel = config.logLevel;
  const log = createLogger(
    { level: () => level, format: config.logFormat, write: (line) => output.write(line) },
    'app',
  );
  const done = Promise.withResolvers<void>();
  const ending = new AbortController();
  await using started = new AsyncDisposableStack();
  started.defer(() => ending.abort());
  log.info('version', { version });
  log.info('waypoint', { gateway: gatewayKey(config), workers: config.workers });

  const identity = identityOf(config.trustDomain, config.namespace, config.serviceAccount);
  const readiness = new Readiness(Object.values(tasks));
  const store = new MeshStore({});
  const token = config.authToken === undefined ? undefined : tokenSource(config.authToken);
  const certificates = new CertificateManager({
    ca: new CaClient({
      address: config.caAddress,
      rootCert: rootSource(config.caRootCert),
      token: () => token?.(),
      clusterId: config.clusterId,
      metadata: {},
    }),
    clock,
    log: log.scope('identity'),
    ttlSeconds: config.certificateTtlSeconds,
    // It asks for itself, not for others.
    impersonate: false,
  });
  started.use(certificates);
  const files = new LogFiles(log.scope('access-log'));
  started.defer(() => files.close());
  const spans = new SpanQueues(config, clock, log.scope('tracing'));
  const workers: DataWorkers = new DataWorkers({
    config,
    store,
    log: log.scope('data'),
    clock,
    write: (text, lines, path) => {
      if (path === undefined) output.write(text, lines);
      else files.write(path, text);
    },
    spans: (provider, batch) => spans.add(provider, batch),
    needCertificate: () => requestCertificate(),
  });
  started.defer(() => workers.close(0));
  const requestCertificate = (): void => {
    certificates.get(identity).then(
      (certificate) => {
        workers.certificate(certificate);
        readiness.set(tasks.certificate, true);
      },
      (error: unknown) => {
        workers.certificateFailed(identity, errorText(error));
        if (!ending.signal.aborted && readiness.pending.includes(tasks.certificate))
          clock.after(certificateRetryMs, requestCertificate);
      },
    );
  };
  certificates.onUpdate((certificate) => {
    workers.certificate(certificate);
    readiness.set(tasks.certificate, true);
  });
  certificates.want(identity);
  requestCertificate();

  const { client: xds, configured } = controlClient({
    config,
    version,
    store,
    clock,
    log: log.scope('xds::client'),
    onResources: (delta) => {
      workers.resources(delta);
      spans.providers(workers.allResources());
    },
  });
  xds.start(ending.signal);

  const traffic = new HttpMetrics();
  const gauges = new MetricSet(Object.values(waypointGauges));
  const collect = async (): Promise<void> => {
    const reports = await workers.reports();
    for (const report of reports) traffic.merge(report.traffic, clock.now());
    traffic.expire(clock.now(), (uid) => store.workloadByUid(uid) !== undefined);
    const sum = (get: (report: (typeof reports)[number]) => number): number =>
      reports.reduce((total, report) => total + get(report), 0);
    gauges.set(
      waypointGauges.connections,
      [],
      sum(({ connections }) => connections),
    );
    gauges.set(
      waypointGauges.tcpConnections,
      [],
      sum(({ tcp }) => tcp),
    );
    gauges.set(
      waypointGauges.requests,
      [],
      sum(({ requests }) => requests),
    );
    gauges.set(
      waypointGauges.destinations,
      [],
      sum(({ clusters }) => clusters),
    );
    gauges.set(
      waypointGauges.tunnels,
      [],
      sum(({ tunnels }) => tunnels),
    );
    gauges.set(
      waypointGauges.refused,
      ['over_limit'],
      sum(({ refused }) => refused.overLimit),
    );
    gauges.set(
      waypointGauges.refused,
      ['tls'],
      sum(({ refused }) => refused.tls),
    );
    gauges.set(
      waypointGauges.refused,
      ['malformed'],
      sum(({ refused }) => refused.malformed),
    );
    gauges.set(
      waypointGauges.mirrorsDropped,
      [],
      sum(({ refused }) => refused.mirrorsDropped),
    );
    gauges.set(waypointGauges.resources, [], [...workers.allResources()].length);
    gauges.set(waypointGauges.crashes, [], workers.crashes);
    gauges.set(waypointGauges.linesLost, [], output.droppedTotal);
    countExtensions(gauges, reports);
    spans.count(gauges);
  };
  // Series of workloads that are gone leave also where nobody scrapes.
  const collecting = setInterval(() => void collect(), collectMs);
  collecting.unref();
  started.defer(() => clearInterval(collecting));
  const metrics = async (): Promise<Iterable<string>> => {
    await collect();
    return openMetrics([...traffic.collect(), ...gauges.collect()]);
  };

  let stopping = false;
  const drain = (): void => {
    ending.abort();
    workers
      .close(config.drainMs - config.drainDelayMs)
      .then(async () => {
        await spans.close();
        log.info('shutdown: complete');
        await output.flush();
      })
      .then(done.resolve, done.reject);
  };
  const shutdown = (): void => {
    if (stopping) return;
    stopping = true;
    log.info('shutdown: draining connections', { deadline_ms: config.drainMs });
    // A node proxy that has not heard yet opens a connection here, and would be refused.
    clock.after(config.drainDelayMs, drain);
  };

  const { ports } = config;
  const admin = started.use(
    await startAdmin(ports.admin, {
      program: 'waypoint',
      configDump: async () => ({
        version,
        config: { ...config, authToken: undefined },
        identity,
        services: [...store.services()].filter(({ waypoint }) => waypoint !== undefined),
        resources: [...workers.allResources()].toSorted((a, b) =>
          waypointResourceName(a) < waypointResourceName(b) ? -1 : 1,
        ),
        problems: [
          ...new Map(
            (await workers.reports()).flatMap(({ problems, traffic: counted }) => {
              // What was counted since the last scrape is not to be lost.
              traffic.merge(counted, clock.now());
              return problems;
            }),
          ),
        ].map(([resource, reasons]) => ({ resource, reasons })),
      }),
      logLevel: (wanted) => {
        if (wanted !== undefined) {
          level = wanted === 'reset' ? config.logLevel : wanted;
          workers.setLogLevel(level);
        }
        return level;
      },
      quit: shutdown,
    }),
  );
  const metricsServer = started.use(await startMetrics(ports.metrics, metrics));
  if (ports.envoyMetrics !== ports.metrics) started.use(await startMetrics(ports.envoyMetrics, metrics));
  const readinessServer = started.use(await startReadiness(ports.readiness, readiness));
  const hbonePort = await workers.listen();
  readiness.set(tasks.workers, true);
  log.info('listener established', { address: `[::]:${hbonePort}`, component: 'hbone' });
  const running = started.move();
  configured.then(
    () => {
      workers.configured();
      readiness.set(tasks.state, true);
    },
    () => {},
  );

  return {
    hbonePort,
    adminPort: admin.port,
    metricsPort: metricsServer.port,
    readinessPort: readinessServer.port,
    done: done.promise,
    shutdown,
    [Symbol.asyncDispose]: async () => {
      shutdown();
      await done.promise.catch(() => {});
      await running.disposeAsync();
    },
  };
}

/** Files that access logs go to. One that cannot be written costs its lines, and is told of once. */
class LogFiles {
  readonly #log: ReturnType<typeof createLogger>;
  readonly #streams = new Map<string, WriteStream | undefined>();

  constructor(log: ReturnType<typeof createLogger>) {
    this.#log = log;
  }

  write(path: string, text: string): void {
    if (!this.#streams.has(path)) {
      const stream = createWriteStream(path, { flags: 'a' });
      stream.on('error', (error) => {
        this.#log.warn('an access log cannot be written', { path, error: error.message });
        this.#streams.set(path, undefined);
      });
      this.#streams.set(path, stream);
    }
    const stream = this.#streams.get(path);
    // A disk that does not keep up costs lines, not memory.
    if (stream !== undefined && stream.writableLength < 8 * 1024 * 1024) stream.write(text);
  }

  close(): void {
    for (const stream of this.#streams.values()) stream?.end();
  }
}
