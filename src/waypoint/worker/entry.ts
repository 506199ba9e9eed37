// A data worker: a thread of its own that carries requests and nothing else. Everything it knows comes by message.
import { parentPort, workerData, type MessagePort } from 'node:worker_threads';
import { errorText } from '#/errors/index.ts';
import { createLogger, parseIp, systemClock, type Clock, type LogLevel } from '#/kit/index.ts';
import { identityOf, type Identity } from '#/model/index.ts';
import { LineBatch, preciseTime, WorkerCertificates } from '#/program/index.ts';
import { MirrorView } from '#/state/index.ts';
import { linuxKernel } from '#/sys/index.ts';
import type { FromWorker, ToWorker, WorkerInit } from '../messages.ts';
import { SpanBatches } from './span-batches.ts';
import type { WorkerContext } from './context.ts';
import { DataPath } from './data-path.ts';

const port = parentPort as MessagePort;
const { config } = workerData as WorkerInit;
const tell = (message: FromWorker): void => port.postMessage(message);

const lines = new LineBatch((text, count) => tell({ type: 'log', text, lines: count }));
const files = new Map<string, LineBatch>();
const standardOutputs = new Set(['/dev/stdout', '/proc/self/fd/1', '-']);
/** Files that access logs may go to. */
const maxFiles = 64;

function writeLog(path: string, line: string): void {
  if (standardOutputs.has(path)) {
    lines.add(`${line}\n`);
    return;
  }
  let batch = files.get(path);
  if (batch === undefined) {
    if (files.size >= maxFiles) return;
    batch = new LineBatch((text, count) => tell({ type: 'file-log', path, text, lines: count }));
    files.set(path, batch);
  }
  batch.add(`${line}\n`);
}

let level: LogLevel = config.logLevel;
const log = createLogger(
  { level: () => level, format: config.logFormat, write: (line) => lines.add(line) },
  'proxy',
);
const clock: Clock = { ...systemClock, now: preciseTime() };
const identity: Identity = identityOf(config.trustDomain, config.namespace, config.serviceAccount);
const closing = new AbortController();
const spans = new SpanBatches((provider, batch) => tell({ type: 'spans', provider, spans: batch }));
const certificates = new WorkerCertificates(
  (wanted) => tell({ type: 'need-certificate', identity: wanted }),
  clock,
);
const view = new MirrorView({ send: (request) => tell({ type: 'mirror-request', request }) });
const ownIp = parseIp(config.instanceIp);
const context: WorkerContext = {
  config,
  self: {
    network: config.network,
    namespace: config.namespace,
    hostname: `${config.serviceName}.${config.namespace}.svc.${config.clusterDomain}`,
    addresses: ownIp === undefined ? [] : [ownIp],
  },
  identity,
  view,
  certificates,
  kernel: linuxKernel(),
  log,
  clock,
  closing: closing.signal,
};
const path = new DataPath({ context, writeLog, span: (provider, span) => spans.add(provider, span) });

async function drain(deadlineMs: number): Promise<void> {
  closing.abort();
  const late = Promise.withResolvers<void>();
  const deadline = clock.after(deadlineMs, late.resolve);
  await Promise.race([path.drain(), late.promise]);
  deadline[Symbol.dispose]();
  path.destroy('the proxy is shutting down');
  await new Promise((resolve) => setImmediate(resolve));
  lines.flush();
  for (const batch of files.values()) batch.flush();
  spans.flush();
  tell({ type: 'drained' });
}

port.on('message', (message: ToWorker) => {
  switch (message.type) {
    case 'mirror':
      view.receive(message.delta);
      return;
    case 'resources':
      path.resources.apply(message.delta);
      return;
    case 'configured':
      path.configured();
      return;
    case 'listen':
      try {
        tell({ type: 'listening', port: path.listen() });
      } catch (error) {
        tell({ type: 'failed', message: errorText(error) });
      }
      return;
    case 'certificate':
      certificates.receive(message.certificate);
      return;
    case 'certificate-failed':
      certificates.fail(message.identity, message.message);
      return;
    case 'report':
      lines.flush();
      tell({ type: 'report', id: message.id, report: path.report() });
      return;
    case 'log-level':
      level = message.level;
      return;
    case 'drain':
      void drain(message.deadlineMs);
  }
});
