// The node agent, put together: what it needs is made in the order in which it may be relied on.
import { existsSync, mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { errorText } from '#/errors/index.ts';
import { createLogger, systemClock, type Clock, type Logger } from '#/kit/index.ts';
import {
  inClusterConfig,
  Informer,
  KubeClient,
  loadKubeconfig,
  namespaces,
  pods,
  type ClusterConfig,
  type Namespace,
  type Pod,
} from '#/kube/index.ts';
import {
  linuxKernel,
  netnsOfProcess,
  runCommand,
  SeqpacketConnection,
  type Kernel,
  type Netns,
  type RunCommand,
} from '#/sys/index.ts';
import type { CniAgentConfig, Env } from './config.ts';
import { agentMetrics, startHealthServer } from './health-server.ts';
import { HostProbes } from './host-probes.ts';
import { Installer } from './installer.ts';
import { keepHostRules, useNftables, withRetries } from './host-setup.ts';
import { findIptables } from './iptables-binaries.ts';
import { MeshPods, podKey } from './mesh-pods.ts';
import { kubeletUid } from './node-processes.ts';
import { PluginServer } from './plugin-server.ts';
import { PodController, type ObjectSource } from './pod-controller.ts';
import { PodRules } from './pod-rules.ts';
import { PodStatusWriter, type StatusApi } from './pod-status.ts';
import { leaving, type ShutdownApi } from './shutdown.ts';
import { ZdsServer } from './zds-server.ts';

/** What the agent reads from the API and writes to it. */
export interface KubeSide {
  readonly api: StatusApi & ShutdownApi;
  /** Those of this node. */
  readonly pods: ObjectSource<Pod>;
  readonly namespaces: ObjectSource<Namespace>;
  close?(): void;
}

/** The API and the machine, so that tests can stand in for them. All have defaults. */
export interface CniAgentDeps {
  readonly env?: Env;
  readonly cluster?: ClusterConfig;
  readonly kube?: KubeSide;
  readonly kernel?: Kernel;
  readonly run?: RunCommand;
  /** The node's network namespace. Default: that of this process. Stays the caller's. */
  readonly hostNetns?: Netns;
  readonly clock?: Clock;
  readonly log?: Logger;
  /** Gives up a start that takes too long; see `stop` for later. */
  readonly signal?: AbortSignal;
}

export interface CniAgent extends AsyncDisposable {
  readonly addresses: {
    readonly healthPort: number;
    readonly metricsPort: number;
    readonly ztunnelSocket: string;
    readonly runDir: string;
  };
  /** Resolves when the agent has ended. */
  readonly done: Promise<void>;
  /** Resolves when all pods are as they should be, but for those that wait for another attempt. */
  idle(): Promise<void>;
  /** Ends the agent; finds out by itself whether to clean up, unless told. */
  stop(cleanUp?: boolean): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

const leavingTimeoutMs = 5000;

/**
 * Starts the agent in this process's network namespace, which must be the node's. Resolves when every pod that was in
 * the mesh before is known again and ztunnel may connect; rejects, with nothing left running, if it cannot start.
 */
export async function startCniAgent(config: CniAgentConfig, deps: CniAgentDeps = {}): Promise<CniAgent> {
  const log =
    deps.log ??
    createLogger(
      { level: config.logLevel, format: config.logFormat, write: (line) => process.stdout.write(line) },
      'cni-agent',
    );
  await using starting = new AsyncDisposableStack();
  const stopping = new AbortController();
  const abort = () => stopping.abort(new Error('the agent is shutting down'));
  starting.defer(abort);
  deps.signal?.throwIfAborted();
  deps.signal?.addEventListener('abort', abort, { once: true });
  const clock = deps.clock ?? systemClock;
  const kernel = deps.kernel ?? linuxKernel();
  const run = deps.run ?? runCommand;
  const hostNetns = deps.hostNetns ?? starting.use(netnsOfProcess(process.pid));
  const onHost: RunCommand = (argv, options) => run(argv, { ...options, netns: deps.hostNetns });
  const cluster =
    deps.cluster ??
    (config.kubeconfig === undefined ? inClusterConfig(deps.env ?? {}) : loadKubeconfig(config.kubeconfig));
  const kube = deps.kube ?? connect(cluster, config.nodeName, clock, log);
  starting.defer(() => kube.close?.());

  raiseIfRunning(await isServed(config.ztunnelSocket), config.ztunnelSocket);
  mkdirSync(config.runDir, { recursive: true });
  mkdirSync(dirname(config.ztunnelSocket), { recursive: true });

  const metrics = agentMetrics({
    installReady: () => installer.ready,
    pods: () => mesh.size,
  });
  const waitingFor = new Set(['host rules', 'pods of this node', 'ztunnel socket']);
  const status = new PodStatusWriter({
    api: kube.api,
    nodeName: config.nodeName,
    clock,
    log: log.scope('ambient'),
  });
  const binaries = await findIptables(onHost, config.iptables);
  const nftables = await useNftables(config.nativeNftables, onHost, log);
  // Booted with ipv6.disable=1: there is nothing to redirect, and ip6tables does not work.
  const capture = { ...config.capture, ipv6: config.capture.ipv6 && existsSync('/proc/sys/net/ipv6') };
  log.info('starting', {
    node: config.nodeName,
    backend: nftables ? 'nftables' : `iptables-${binaries.kind}`,
    dnsCapture: capture.dnsCapture,
    ipv6: capture.ipv6,
  });
  const probes = new HostProbes({
    run: onHost,
    binaries,
    nftables,
    settings: capture,
    kubeletUid: nftables ? kubeletUid(config.procDir) : 0,
    log,
  });
  const rules = new PodRules({
    run,
    kernel,
    binaries,
    nftables,
    lockFile: config.ownXtablesLock ? `${config.runDir}/xtables.lock` : undefined,
    log,
  });
  const mesh: MeshPods = new MeshPods({
    kernel,
    proc: config.procDir,
    settings: capture,
    rules,
    probes,
    zds: () => zds,
    status,
    log,
  });
  starting.defer(() => mesh.close());
  const zds = new ZdsServer({
    path: config.ztunnelSocket,
    kernel,
    clock,
    log,
    snapshot: () => mesh.snapshot(),
    onConnected: (ztunnels) => metrics.ztunnelConnected.set(ztunnels),
  });
  const controller = new PodController({
    pods: kube.pods,
    namespaces: kube.namespaces,
    mesh,
    status,
    selection: config,
    systemNamespace: config.systemNamespace,
    kernel,
    hostNetns,
    clock,
    log,
    onEvent: (type) => metrics.reconcileEvents.inc({ type }),
  });
  const installer = new Installer({
    config,
    cluster,
    program: fileURLToPath(new URL('plugin/main.ts', import.meta.url)),
    node: process.execPath,
    clock,
    log,
    onInstall: (result) => metrics.installs.inc({ result }),
  });
  const health = await startHealthServer({
    host: config.bindHost,
    healthPort: config.healthPort,
    metricsPort: config.metricsPort,
    metrics,
    readiness: {
      waitingFor: () => [
        ...waitingFor,
        ...(config.install.enabled && !installer.ready ? ['CNI configuration'] : []),
      ],
    },
  });
  starting.defer(() => health.close());

  await withRetries('host rules', () => probes.install(), clock, log, stopping.signal);
  waitingFor.delete('host rules');
  // Ends last: what is under way when the agent ends still needs it.
  starting.defer(() => zds.close());
  const plugin = new PluginServer({
    runDir: config.runDir,
    log,
    add: (event) => controller.admit(event),
    onAnswer: (code) => metrics.pluginRequests.inc({ response_code: String(code) }),
  });
  starting.defer(() => plugin.close());
  await plugin.listen();

  kube.pods.start(stopping.signal);
  kube.namespaces.start(stopping.signal);
  await Promise.all([kube.pods.synced, kube.namespaces.synced]);
  const enrolled = controller.enrolled();
  mesh.adopt(enrolled);
  log.info('pods that are in the mesh already', { pods: enrolled.length });
  await mesh.syncProbes().catch((error) => log.error(`host probes: ${errorText(error)}`));
  if (config.reconcileOnStart) await reconcile(enrolled, mesh, status);
  waitingFor.delete('pods of this node');
  starting.defer(() => controller.stop());
  zds.listen();
  waitingFor.delete('ztunnel socket');
  controller.start();
  starting.defer(() => installer.stop());
  if (config.install.enabled) await installer.start();
  const recheck = keepHostRules(probes, clock, log, stopping.signal);
  starting.defer(() => recheck);
  log.info('ready', { node: config.nodeName });

  const resources = starting.move();
  const done = Promise.withResolvers<void>();
  let ending: Promise<void> | undefined;
  const end = async (cleanUp?: boolean): Promise<void> => {
    const plan =
      cleanUp === undefined && config.onExit === 'auto'
        ? await leaving(kube.api, config, AbortSignal.timeout(leavingTimeoutMs))
        : { cleanUp: cleanUp ?? config.onExit === 'remove', reason: 'as asked' };
    log.info(plan.cleanUp ? 'removing what was installed on this node' : 'leaving everything in place', {
      reason: plan.reason,
    });
    // First the entry, so that no new pod waits for an agent that is going.
    if (plan.cleanUp && config.install.enabled && !config.install.owned) await installer.uninstall();
    abort();
    await resources.disposeAsync();
    if (plan.cleanUp) await probes.uninstall();
    log.info('stopped');
    done.resolve();
  };
  const stop = (cleanUp?: boolean): Promise<void> => (ending ??= end(cleanUp));
  return {
    addresses: {
      healthPort: health.healthPort,
      metricsPort: health.metricsPort,
      ztunnelSocket: config.ztunnelSocket,
      runDir: config.runDir,
    },
    done: done.promise,
    idle: () => controller.idle(),
    stop,
    [Symbol.asyncDispose]: () => stop(),
  };
}

function connect(cluster: ClusterConfig, nodeName: string, clock: Clock, log: Logger): KubeSide {
  const client = new KubeClient(cluster, 'aura-cni-agent');
  const options = { log: log.scope('kube'), clock };
  return {
    api: client,
    pods: new Informer(client, pods, { fieldSelector: `spec.nodeName=${nodeName}`, ...options }),
    namespaces: new Informer(client, namespaces, options),
    close: () => client.close(),
  };
}

function raiseIfRunning(running: boolean, path: string): void {
  if (running)
    throw new Error(`${path} is in use: another node agent runs here (ZTUNNEL_UDS_ADDRESS sets the path)`);
}

async function isServed(path: string): Promise<boolean> {
  try {
    const connection = await SeqpacketConnection.connect(path, { timeoutMs: 1000 });
    connection.close();
    return true;
  } catch {
    return false;
  }
}

/** A few at a time: each takes a handful of commands, and ztunnel waits for the end of it. */
async function reconcile(enrolled: readonly Pod[], mesh: MeshPods, status: PodStatusWriter): Promise<void> {
  const waiting = enrolled.values();
  const worker = async () => {
    for (const pod of waiting) {
      try {
        await mesh.reconcileRules(pod);
      } catch (error) {
        await status.failed(pod, `the rules of pod ${podKey(pod)} are not as they should be`, error);
      }
    }
  };
  await Promise.all(Array.from({ length: 4 }, worker));
}
