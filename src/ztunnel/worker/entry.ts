// A data worker: a thread of its own that carries connections and nothing else, so that a scrape or a large push
// never waits in their way. Everything it knows comes by message; see messages.ts.
import { readFileSync } from 'node:fs';
import { parentPort, workerData, type MessagePort } from 'node:worker_threads';
import { MeshError, errorText } from '#/errors/index.ts';
import { createLogger, reaches, systemClock, type Clock, type LogLevel } from '#/kit/index.ts';
import { defaultRouteSettings, type RouteSettings } from '#/route/index.ts';
import type { Workload } from '#/model/index.ts';
import { LineBatch, preciseTime, WorkerCertificates } from '#/program/index.ts';
import { MirrorView } from '#/state/index.ts';
import { linuxKernel } from '#/sys/index.ts';
import { formatDns, Ledger, MetricSet, TrafficMetrics } from '#/telemetry/index.ts';
import { defaultPoolOptions, SessionPool } from '#/tunnel/index.ts';
import type { ZtunnelConfig } from '../config.ts';
import type { FromWorker, PodStart, ToWorker, WorkerInit } from '../messages.ts';
import { dnsFamilies } from './dns/name-service.ts';
import { Nameservers } from './dns/nameservers.ts';
import type { DnsShared } from './dns/pod-dns.ts';
import { LiveConnections } from './live-connections.ts';
import { PodSockets } from './pod-sockets.ts';
import { PodProxy } from './pod-proxy.ts';

const port = parentPort as MessagePort;
const { config: whole, preserveSource, index } = workerData as WorkerInit;
const config: ZtunnelConfig = {
  ...whole,
  // Each worker counts for itself; the kernel spreads a pod's connections over them.
  maxConnectionsPerPod: Math.ceil(whole.maxConnectionsPerPod / whole.workers),
};
const tell = (message: FromWorker): void => port.postMessage(message);

const lines = new LineBatch((text, count) => tell({ type: 'log', text, lines: count }));
let level: LogLevel = config.logLevel;
const log = createLogger(
  { level: () => level, format: config.logFormat, write: (line) => lines.add(line) },
  'proxy',
);

const now = preciseTime();
const clock: Clock = { ...systemClock, now };
const kernel = linuxKernel();
const metrics = new TrafficMetrics();
const ledger = new Ledger({
  log: {
    format: config.logFormat,
    enabled: (one) => reaches(one, level),
    write: (line) => lines.add(`${line}\n`),
  },
  metrics,
  now,
});
const live = new LiveConnections();
const certificates = new WorkerCertificates(
  (identity) => tell({ type: 'need-certificate', identity }),
  clock,
);
const view = new MirrorView({
  ...(config.nodeName === undefined ? {} : { node: config.nodeName }),
  send: (request) => tell({ type: 'mirror-request', request }),
});
const route: RouteSettings = {
  ...defaultRouteSettings,
  preserveSource,
  loopbackTunnel: config.loopbackTunnel,
};
const dnsMetrics = new MetricSet(dnsFamilies);
const dns: DnsShared | undefined = config.dns.capture
  ? {
      nameservers: new Nameservers(
        () => readFileSync(config.dns.resolvConf, 'utf8'),
        clock,
        log.scope('dns::forwarder'),
      ),
      metrics: dnsMetrics,
      log: (record) => {
        if (reaches('debug', level)) lines.add(`${formatDns(record(), config.logFormat, now())}\n`);
      },
    }
  : undefined;
const pods = new Map<string, PodProxy>();
let draining = false;

// A changed policy, or a pod that lists other policies, may end connections that are open. Other changes of
// workloads, which are frequent, cannot.
view.onChange(({ policies, workloads }) => {
  const listed = (workload: Workload | undefined): string => workload?.authorizationPolicies.join() ?? '';
  const relisted = workloads.values().some(({ before, after }) => listed(before) !== listed(after));
  if (policies.size > 0 || relisted) live.judgeAgain();
});

/** Throws if the pod's listeners cannot be opened; nothing is then left of it. */
function addPod(pod: PodStart): void {
  if (draining) throw new MeshError('DRAINED', 'the proxy is shutting down');
  pods.get(pod.uid)?.destroy('the pod is started again');
  pods.delete(pod.uid);
  const end = { closing: new AbortController(), gone: new AbortController() };
  const sockets = new PodSockets();
  const proxy = new PodProxy(
    {
      pod,
      // A handle of this thread's own on the namespace that the main thread holds open.
      netns: kernel.openNetns(`/proc/self/fd/${pod.netnsFd}`),
      config,
      route,
      view,
      certificates,
      dialer: {
        kernel,
        clock,
        mark: config.packetMark,
        keepAlive: config.keepAlive,
        userTimeoutMs: config.userTimeoutMs,
        sockets,
      },
      ledger,
      live,
      sockets,
      pool: new SessionPool({
        ...defaultPoolOptions,
        maxStreams: config.poolMaxStreams,
        idleMs: config.poolIdleMs,
      }),
      dns,
      log,
      clock,
      closing: end.closing.signal,
      announces: index === 0,
      gone: end.gone.signal,
    },
    end,
  );
  try {
    proxy.open();
  } catch (error) {
    proxy.destroy('the pod could not be started');
    throw error;
  }
  pods.set(pod.uid, proxy);
}

function removePod(uid: string): void {
  pods.get(uid)?.destroy('the pod is gone');
  pods.delete(uid);
  tell({ type: 'pod-removed', uid });
}

async function drain(deadlineMs: number): Promise<void> {
  draining = true;
  const late = Promise.withResolvers<void>();
  const deadline = clock.after(deadlineMs, late.resolve);
  await Promise.race([Promise.all(Array.from(pods.values(), (pod) => pod.drain())), late.promise]);
  deadline[Symbol.dispose]();
  for (const pod of pods.values()) pod.destroy('the proxy is shutting down');
  pods.clear();
  // What was still looked for ends as well, each with its line.
  await new Promise((resolve) => setImmediate(resolve));
  lines.flush();
  tell({ type: 'drained' });
}

port.on('message', (message: ToWorker) => {
  switch (message.type) {
    case 'add-pod':
      try {
        addPod(message.pod);
        tell({ type: 'pod-up', uid: message.pod.uid });
      } catch (error) {
        tell({ type: 'pod-failed', uid: message.pod.uid, message: errorText(error) });
      }
      return;
    case 'remove-pod':
      removePod(message.uid);
      return;
    case 'mirror':
      view.receive(message.delta);
      return;
    case 'certificate':
      certificates.receive(message.certificate);
      return;
    case 'certificate-failed':
      certificates.fail(message.identity, message.message);
      return;
    case 'forget-certificate':
      certificates.forget(message.identity);
      return;
    case 'report':
      live.account();
      // So that the lines of what is counted are never behind the numbers.
      lines.flush();
      tell({
        type: 'report',
        id: message.id,
        report: {
          traffic: metrics.drain(),
          metrics: dnsMetrics.drain(),
          connections: live.report(),
          mirrorEvictions: view.size.evicted,
        },
      });
      return;
    case 'log-level':
      level = message.level;
      return;
    case 'drain':
      void drain(message.deadlineMs).catch((error: unknown) => {
        throw error instanceof Error ? error : new MeshError('DRAINED');
      });
  }
});
