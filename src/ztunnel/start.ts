// The node proxy put together: control plane client, certificates, pods, data workers, and its own HTTP servers.
import { readFileSync, existsSync, readdirSync } from 'node:fs';
import { errorText } from '#/errors/index.ts';
import { createLogger, systemClock, type Clock, type LogLevel, type Logger } from '#/kit/index.ts';
import { CaClient, CertificateManager } from '#/identity/index.ts';
import { workloadIdentity, type Identity } from '#/model/index.ts';
import { LogOutput, Readiness, startAdmin, startMetrics, startReadiness } from '#/program/index.ts';
import { MeshStore } from '#/state/index.ts';
import { linuxKernel, type Kernel } from '#/sys/index.ts';
import { families, MetricSet, openMetrics, TrafficMetrics } from '#/telemetry/index.ts';
import { DeltaClient } from '#/xds/index.ts';
import { certificateStates } from './certificate-states.ts';
import { configDump } from './config-dump.ts';
import { configShown } from './config-shown.ts';
import type { ZtunnelConfig } from './config.ts';
import { controlPlaneLoss } from './control-plane-loss.ts';
import { DataWorkers } from './data-workers.ts';
import { addressType, applyPush, authorizationType } from './mesh-sync.ts';
import { Pods } from './pods.ts';
import { runZdsClient } from './zds-client.ts';

export interface ZtunnelDeps {
  readonly kernel?: Kernel;
  readonly clock?: Clock;
  readonly out?: NodeJS.WritableStream;
  readonly version?: string;
}

export interface RunningZtunnel extends AsyncDisposable {
  readonly adminPort: number;
  readonly metricsPort: number;
  readonly readinessPort: number;
  /** Settles when the program is to end: resolved after a drain, rejected if it cannot go on. */
  readonly done: Promise<void>;
  /** Stops taking connections, lets those that are open finish until the deadline, then ends. */
  shutdown(): void;
}

const managerTask = 'workload proxy manager';
const stateTask = 'state manager';
const dnsTask = 'dns proxy';

/** Rejects if a port of its own is taken; nothing is then left running. */
export async function startZtunnel(config: ZtunnelConfig, deps: ZtunnelDeps = {}): Promise<RunningZtunnel> {
  const kernel = deps.kernel ?? linuxKernel();
  const clock = deps.clock ?? systemClock;
  const output = new LogOutput((deps.out ?? process.stdout) as NodeJS.WriteStream, config.logFormat);
  let level: LogLevel = config.logLevel;
  const rootLog = createLogger(
    { level: () => level, format: config.logFormat, write: (line) => output.write(line) },
    'app',
  );
  const done = Promise.withResolvers<void>();
  const ending = new AbortController();
  // What a start that fails, and an end that nobody waits for, must not leave running.
  await using started = new AsyncDisposableStack();
  started.defer(() => ending.abort());
  const version = deps.version ?? 'unknown';

  const maxFds = kernel.raiseFileLimit();
  rootLog.info('version', { version });
  rootLog.info(`running with config: ${JSON.stringify(configShown(config))}`);

  const readiness = new Readiness([stateTask, managerTask, ...(config.dns.capture ? [dnsTask] : [])]);
  const store = new MeshStore(config.nodeName === undefined ? {} : { node: config.nodeName });
  const certificates = certificateManager(config, clock, rootLog.scope('identity'));
  const workers: DataWorkers = new DataWorkers({
    config,
    preserveSource: config.originalSource === 'never' ? false : canPreserveSource(config, kernel, rootLog),
    store,
    log: rootLog.scope('data'),
    clock,
    write: (text, lines) => output.write(text, lines),
    needCertificate: (identity) => {
      certificates.get(identity).then(
        (certificate) => workers.certificate(certificate),
        (error: unknown) => workers.certificateFailed(identity, errorText(error)),
      );
    },
    podLost: (uid) => pods.lost(uid),
  });
  started.use(certificates);
  started.defer(() => workers.close(0));
  certificates.onUpdate((certificate) => workers.certificate(certificate));
  followIdentities(store, certificates, workers);

  const pods = new Pods(workers, rootLog.scope('inpod::statemanager'), clock);
  started.defer(() => pods.close());
  let connected = false;
  const updateReadiness = (): void =>
    readiness.set(managerTask, connected && pods.synced && pods.pending === 0);
  pods.onChange(updateReadiness);

  const xds =
    config.xdsAddress === ''
      ? undefined
      : xdsClient(config, version, store, clock, rootLog.scope('xds::client'));
  xds?.start(ending.signal);

  const runPods = async (): Promise<void> => {
    await xds?.synced;
    readiness.set(stateTask, true);
    // Its listeners come and go with the pods from here on, and one that fails fails its pod.
    readiness.set(dnsTask, true);
    await runZdsClient(
      {
        path: config.zdsPath,
        pods,
        kernel,
        log: rootLog.scope('inpod::workloadmanager'),
        clock,
        onConnected: (now) => {
          connected = now;
          updateReadiness();
        },
      },
      ending.signal,
    );
  };
  const traffic = new TrafficMetrics();
  const metrics = new MetricSet(Object.values(families));
  metrics.set(families.build, ['ztunnel', config.proxyMetadata.ISTIO_VERSION ?? version], 1);
  const reports = async () => {
    const all = await workers.reports();
    for (const report of all) {
      traffic.merge(report.traffic);
      metrics.merge(report.metrics);
    }
    return all;
  };
  const collect = async (): Promise<Iterable<string>> => {
    await reports();
    metrics.set(families.activeProxies, [], pods.active);
    metrics.set(families.pendingProxies, [], pods.pending);
    metrics.set(families.proxiesStarted, [], pods.started);
    metrics.set(families.proxiesStopped, [], pods.stopped);
    metrics.set(families.openFds, [], readdirSync('/proc/self/fd').length);
    metrics.set(families.maxFds, [], maxFds);
    metrics.set(families.linesLost, [], output.droppedTotal);
    for (const [reason, count] of Object.entries(xds?.stats.terminations ?? {}))
      if (count > 0) metrics.set(families.xdsTerminations, [reason], count);
    for (const [url, { count, bytes }] of xds?.stats.messages ?? []) {
      metrics.set(families.xdsMessages, [url], count);
      metrics.set(families.xdsMessageBytes, [url], bytes);
    }
    return openMetrics([...traffic.collect(), ...metrics.collect()]);
  };

  const shutdown = (): void => {
    if (ending.signal.aborted) return;
    rootLog.info('shutdown: draining connections', { deadline_ms: config.drainMs });
    ending.abort();
    workers
      .close(config.drainMs)
      .then(async () => {
        rootLog.info('shutdown: complete');
        await output.flush();
      })
      .then(done.resolve, done.reject);
  };

  const admin = started.use(
    await startAdmin(config.ports.admin, {
      program: 'ztunnel',
      configDump: async () => {
        return configDump({
          config,
          version,
          store,
          pods: pods.all(),
          connections: (await reports()).flatMap((report) => report.connections),
          certificates: certificateStates(certificates),
        });
      },
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
  const metricsServer = started.use(await startMetrics(config.ports.metrics, collect));
  const readinessServer = started.use(await startReadiness(config.ports.readiness, readiness));
  const running = started.move();

  runPods().catch((error: unknown) => {
    if (ending.signal.aborted) return;
    rootLog.error('cannot go on', { error: errorText(error) });
    ending.abort();
    const reason = error instanceof Error ? error : new Error(String(error));
    running
      .disposeAsync()
      .then(() => output.flush())
      .then(
        () => done.reject(reason),
        () => done.reject(reason),
      );
  });

  return {
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

/** IP_TRANSPARENT needs a capability; whether we have it is tried once. */
function canPreserveSource(config: ZtunnelConfig, kernel: Kernel, log: Logger): boolean {
  try {
    kernel.close(kernel.tcpSocket({ family: 4, mark: config.packetMark, bindIp: '127.0.0.1' }));
    return true;
  } catch (error) {
    if (config.originalSource === 'always')
      throw new Error('ENABLE_ORIG_SRC is set, but the kernel does not allow it', { cause: error });
    log.warn("applications will see the proxy's address instead of their client's", {
      error: errorText(error),
    });
    return false;
  }
}

/** A path's content, a literal, or the system's roots. Read at each use, since files are rotated. */
function rootCert(source: string): Buffer | undefined {
  if (source === 'SYSTEM') return undefined;
  return source.includes('-----BEGIN') ? Buffer.from(source) : readFileSync(source);
}

function tokenOf(source: string | undefined): string | undefined {
  if (source === undefined) return undefined;
  if (existsSync(source)) return readFileSync(source, 'utf8').trim();
  // A path that does not exist (yet) is no token; sending it would only hide the mistake.
  return source.includes('/') ? undefined : source;
}

function xdsClient(
  config: ZtunnelConfig,
  version: string,
  store: MeshStore,
  clock: Clock,
  log: Logger,
): DeltaClient {
  const { podName, podNamespace, instanceIp, clusterDomain } = config;
  return new DeltaClient({
    address: config.xdsAddress,
    rootCert: () => rootCert(config.xdsRootCert),
    token: () => tokenOf(config.authToken),
    metadata: { clusterid: config.clusterId, ...config.xdsHeaders },
    ...(config.altXdsHostname === undefined ? {} : { altHostname: config.altXdsHostname }),
    node: {
      id: `ztunnel~${instanceIp}~${podName}.${podNamespace}~${podNamespace}.svc.${clusterDomain}`,
      metadata: {
        // Not ISTIO_VERSION: Istio's control plane would take us for a very old proxy of its own.
        AURA_VERSION: version,
        ...config.proxyMetadata,
        NAME: podName,
        NAMESPACE: podNamespace,
        INSTANCE_IPS: instanceIp,
        CLUSTER_ID: config.clusterId,
        ...(config.nodeName === undefined ? {} : { NODE_NAME: config.nodeName }),
      },
    },
    types: [addressType, authorizationType],
    log,
    clock,
    onPush: (push) => applyPush(store, push, log),
    onState: controlPlaneLoss(log, config.xdsAddress),
  });
}

function certificateManager(config: ZtunnelConfig, clock: Clock, log: Logger): CertificateManager {
  const ca = new CaClient({
    address: config.caAddress,
    rootCert: () => rootCert(config.caRootCert),
    token: () => tokenOf(config.authToken),
    clusterId: config.clusterId,
    metadata: config.caHeaders,
    ...(config.altCaHostname === undefined ? {} : { altHostname: config.altCaHostname }),
  });
  return new CertificateManager({ ca, clock, log, ttlSeconds: config.certificateTtlSeconds });
}

/** Certificates are fetched for what runs on this node before the first connection asks, and dropped with its last pod. */
function followIdentities(store: MeshStore, certificates: CertificateManager, workers: DataWorkers): void {
  const wanted = new Set<Identity>();
  store.onChange((changes) => {
    for (const { before, after } of changes.workloads.values()) {
      if (after !== undefined && store.isLocal(after) && (after.protocol === 'HBONE' || after.nativeTunnel)) {
        const identity = workloadIdentity(after);
        if (!wanted.has(identity)) {
          wanted.add(identity);
          certificates.want(identity);
        }
      }
      if (before === undefined || !store.isLocal(before)) continue;
      const identity = workloadIdentity(before);
      if (!wanted.has(identity) || store.hasLocalIdentity(identity)) continue;
      wanted.delete(identity);
      certificates.forget(identity);
      workers.forgetCertificate(identity);
    }
  });
}
