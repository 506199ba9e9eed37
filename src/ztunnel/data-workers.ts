// The data workers as the main thread sees them: starts them, passes pods, certificates and the mirror on, collects
// their reports, and starts one again that has died, with everything it had.
import { Worker } from 'node:worker_threads';
import { MeshError, errorText } from '#/errors/index.ts';
import { backoffDelay, type Clock, type Logger, type LogLevel } from '#/kit/index.ts';
import type { Certificate } from '#/identity/index.ts';
import type { Identity } from '#/model/index.ts';
import { MirrorSource, type MeshStore } from '#/state/index.ts';
import type { Netns } from '#/sys/index.ts';
import type { PodInfo } from '#/wire/index.ts';
import type { ZtunnelConfig } from './config.ts';
import type { FromWorker, PodStart, ToWorker, WorkerInit, WorkerReport } from './messages.ts';
import type { PodRunner } from './pods.ts';

export interface DataWorkersOptions {
  readonly config: ZtunnelConfig;
  readonly preserveSource: boolean;
  readonly store: MeshStore;
  readonly log: Logger;
  readonly clock: Clock;
  /** Writes log lines; `lines` is their number. */
  readonly write: (text: string, lines: number) => void;
  /** A worker wants a certificate; answer with `certificate` or `certificateFailed`. */
  readonly needCertificate: (identity: Identity) => void;
  /** A pod that ran could not be started again in a worker that takes the place of one that died. */
  readonly podLost?: (uid: string) => void;
  /** Starts the thread. Default: worker/entry.ts. */
  readonly startThread?: (init: WorkerInit) => Worker;
}

interface Waiter {
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

interface DataWorker {
  readonly index: number;
  readonly thread: Worker;
  readonly mirror: MirrorSource;
  readonly startedAt: number;
  /** The thread has ended: no message is answered any more. */
  dead: boolean;
  /** What its reports said, summed up: how many sockets it has open. */
  readonly sockets: { source: number; destination: number };
  /** By `up:<uid>` and `gone:<uid>`. */
  readonly waiting: Map<string, Waiter>;
  readonly reports: Map<number, (report: WorkerReport | undefined) => void>;
  drained: (() => void) | undefined;
}

const restartBackoff = { initial: 100, max: 10_000 };
/** A worker that has run for so long did not die of what killed the one before. */
const soundAfterMs = 60_000;
const reportTimeoutMs = 2000;

export class DataWorkers implements PodRunner {
  readonly #options: DataWorkersOptions;
  readonly #workers: DataWorker[] = [];
  readonly #pods = new Map<string, PodStart>();
  readonly #certificates = new Map<Identity, Certificate>();
  #closing = false;
  #reportId = 0;
  #logLevel: LogLevel | undefined;
  #crashesInARow = 0;
  /** Numbers that came too late for the report that asked for them: the next one has them. */
  readonly #late: WorkerReport[] = [];
  crashes = 0;

  constructor(options: DataWorkersOptions) {
    this.#options = options;
    for (let index = 0; index < options.config.workers; index++) this.#workers.push(this.#launch(index));
  }

  #launch(index: number): DataWorker {
    const { config, preserveSource, store, clock, startThread = newThread } = this.#options;
    const thread = startThread({ config, index, preserveSource });
    const worker: DataWorker = {
      index,
      thread,
      startedAt: clock.now(),
      dead: false,
      sockets: { source: 0, destination: 0 },
      mirror: new MirrorSource(store, (delta) => send(thread, { type: 'mirror', delta }), {
        hostnames: config.dns.capture,
      }),
      waiting: new Map(),
      reports: new Map(),
      drained: undefined,
    };
    thread.on('message', (message: FromWorker) => this.#onMessage(worker, message));
    thread.on('error', (error) =>
      this.#options.log.error('a data worker has failed', { worker: index, error: errorText(error) }),
    );
    thread.on('exit', () => this.#onExit(worker));
    return worker;
  }

  #onExit(worker: DataWorker): void {
    worker.dead = true;
    worker.mirror[Symbol.dispose]();
    worker.drained?.();
    for (const waiter of worker.waiting.values()) waiter.reject(new Error('the data worker has ended'));
    worker.waiting.clear();
    for (const resolve of worker.reports.values()) resolve(undefined);
    worker.reports.clear();
    if (this.#closing) return;
    this.crashes++;
    const { clock, log } = this.#options;
    // Its sockets were closed with it.
    const { source, destination } = worker.sockets;
    this.#late.push({
      traffic: { series: [], socketsOpen: { source: -source, destination: -destination }, overflowed: 0 },
      metrics: { series: [], overflowed: 0 },
      connections: [],
      mirrorEvictions: 0,
    });
    if (clock.now() - worker.startedAt > soundAfterMs) this.#crashesInARow = 0;
    const delay = backoffDelay(restartBackoff, this.#crashesInARow++);
    log.error('starting the data worker again', {
      worker: worker.index,
      in_ms: Math.round(delay),
      pods: this.#pods.size,
    });
    clock.after(delay, () => {
      if (this.#closing) return;
      const fresh = this.#launch(worker.index);
      this.#workers[worker.index] = fresh;
      if (this.#logLevel !== undefined) send(fresh.thread, { type: 'log-level', level: this.#logLevel });
      for (const certificate of this.#certificates.values())
        send(fresh.thread, { type: 'certificate', certificate });
      for (const pod of this.#pods.values()) {
        this.#startIn(fresh, pod).catch((error: unknown) => {
          if (this.#closing || this.#pods.get(pod.uid) !== pod) return;
          log.error('failed to start proxy again', { uid: pod.uid, error: errorText(error) });
          this.#options.podLost?.(pod.uid);
        });
      }
    });
  }

  #onMessage(worker: DataWorker, message: FromWorker): void {
    switch (message.type) {
      case 'pod-up':
        settle(worker, `up:${message.uid}`);
        return;
      case 'pod-failed':
        settle(worker, `up:${message.uid}`, new Error(message.message));
        return;
      case 'pod-removed':
        settle(worker, `gone:${message.uid}`);
        return;
      case 'mirror-request':
        worker.mirror.receive(message.request);
        return;
      case 'need-certificate': {
        const held = this.#certificates.get(message.identity);
        if (held !== undefined && held.notAfter > this.#options.clock.now())
          send(worker.thread, { type: 'certificate', certificate: held });
        else this.#options.needCertificate(message.identity);
        return;
      }
      case 'log':
        this.#options.write(message.text, message.lines);
        return;
      case 'report': {
        const { source, destination } = message.report.traffic.socketsOpen;
        worker.sockets.source += source;
        worker.sockets.destination += destination;
        const waiter = worker.reports.get(message.id);
        worker.reports.delete(message.id);
        if (waiter !== undefined) waiter(message.report);
        else this.#late.push({ ...message.report, connections: [] });
        return;
      }
      case 'drained':
        worker.drained?.();
    }
  }

  /** Rejects also while a worker that has died is not back yet: the pod would be served by some workers only. */
  async start(uid: string, info: PodInfo, netns: Netns): Promise<void> {
    const pod: PodStart = { uid, ...info, netnsFd: netns.fd };
    this.#pods.set(uid, pod);
    try {
      await Promise.all(this.#workers.map((worker) => this.#startIn(worker, pod)));
    } catch (error) {
      await this.stop(uid);
      throw error;
    }
  }

  #startIn(worker: DataWorker, pod: PodStart): Promise<void> {
    return ask(worker, `up:${pod.uid}`, { type: 'add-pod', pod });
  }

  async stop(uid: string): Promise<void> {
    this.#pods.delete(uid);
    // A worker that has died has closed the pod's sockets with itself.
    await Promise.allSettled(
      this.#workers
        .filter((worker) => !worker.dead)
        .map((worker) => ask(worker, `gone:${uid}`, { type: 'remove-pod', uid })),
    );
  }

  certificate(certificate: Certificate): void {
    this.#certificates.set(certificate.identity, certificate);
    this.#toAll({ type: 'certificate', certificate });
  }

  certificateFailed(identity: Identity, message: string): void {
    this.#toAll({ type: 'certificate-failed', identity, message });
  }

  forgetCertificate(identity: Identity): void {
    this.#certificates.delete(identity);
    this.#toAll({ type: 'forget-certificate', identity });
  }

  setLogLevel(level: LogLevel): void {
    this.#logLevel = level;
    this.#toAll({ type: 'log-level', level });
  }

  #toAll(message: ToWorker): void {
    for (const worker of this.#workers) send(worker.thread, message);
  }

  /** One report per worker that answers within 2 s, and what others owed of the time before. Every number is told once. */
  async reports(): Promise<WorkerReport[]> {
    const all = await Promise.all(this.#workers.map((worker) => this.#report(worker)));
    return [...this.#late.splice(0), ...all.filter((report) => report !== undefined)];
  }

  #report(worker: DataWorker): Promise<WorkerReport | undefined> {
    if (worker.dead) return Promise.resolve(undefined);
    const id = ++this.#reportId;
    return new Promise((resolve) => {
      const timer = this.#options.clock.after(reportTimeoutMs, () => {
        worker.reports.delete(id);
        resolve(undefined);
      });
      worker.reports.set(id, (report) => {
        timer[Symbol.dispose]();
        resolve(report);
      });
      send(worker.thread, { type: 'report', id });
    });
  }

  /** Lets connections finish until the deadline, then ends the threads. A second call changes nothing. */
  async close(deadlineMs: number): Promise<void> {
    this.#closing = true;
    await Promise.all(
      this.#workers.map(async (worker) => {
        if (worker.dead) return;
        const drained = new Promise<void>((resolve) => {
          worker.drained = resolve;
        });
        send(worker.thread, { type: 'drain', deadlineMs });
        await this.#within(deadlineMs + 2000, drained);
        // A thread that is stuck ends with the process.
        await this.#within(2000, worker.thread.terminate());
      }),
    );
  }

  async #within(ms: number, done: Promise<unknown>): Promise<void> {
    const late = Promise.withResolvers<void>();
    using _timer = this.#options.clock.after(ms, late.resolve);
    await Promise.race([done, late.promise]);
  }
}

function newThread(init: WorkerInit): Worker {
  return new Worker(new URL('./worker/entry.ts', import.meta.url), {
    workerData: init,
    name: `data-${init.index}`,
  });
}

function send(thread: Worker, message: ToWorker): void {
  thread.postMessage(message);
}

function ask(worker: DataWorker, key: string, message: ToWorker): Promise<void> {
  if (worker.dead) return Promise.reject(new Error(`data worker ${worker.index} is being started again`));
  return new Promise((resolve, reject) => {
    worker.waiting.get(key)?.reject(new MeshError('DRAINED', 'overtaken by a newer request'));
    worker.waiting.set(key, { resolve, reject });
    send(worker.thread, message);
  });
}

function settle(worker: DataWorker, key: string, error?: Error): void {
  const waiter = worker.waiting.get(key);
  worker.waiting.delete(key);
  if (error === undefined) waiter?.resolve();
  else waiter?.reject(error);
}
