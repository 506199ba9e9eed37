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
}

interface Waiter {
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

interface DataWorker {
  readonly index: number;
  thread: Worker;
  mirror: MirrorSource;
  /** By `up:<uid>` and `gone:<uid>`. */
  readonly waiting: Map<string, Waiter>;
  readonly reports: Map<number, (report: WorkerReport | undefined) => void>;
  drained: (() => void) | undefined;
}

const restartBackoff = { initial: 100, max: 10_000 };
const reportTimeoutMs = 2000;

export class DataWorkers implements PodRunner {
  readonly #options: DataWorkersOptions;
  readonly #workers: DataWorker[] = [];
  readonly #pods = new Map<string, PodStart>();
  readonly #certificates = new Map<Identity, Certificate>();
  #closing = false;
  #reportId = 0;
  #logLevel: LogLevel | undefined;
  crashes = 0;

  constructor(options: DataWorkersOptions) {
    this.#options = options;
    for (let index = 0; index < options.config.workers; index++) this.#workers.push(this.#launch(index));
  }

  #launch(index: number): DataWorker {
    const { config, preserveSource, store } = this.#options;
    const init: WorkerInit = { config, index, preserveSource };
    const thread = new Worker(new URL('./worker/entry.ts', import.meta.url), {
      workerData: init,
      name: `data-${index}`,
    });
    const worker: DataWorker = {
      index,
      thread,
      mirror: new MirrorSource(store, (delta) => send(thread, { type: 'mirror', delta })),
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
    worker.mirror[Symbol.dispose]();
    worker.drained?.();
    for (const waiter of worker.waiting.values()) waiter.reject(new Error('the data worker has ended'));
    for (const resolve of worker.reports.values()) resolve(undefined);
    if (this.#closing) return;
    this.crashes++;
    const { clock, log } = this.#options;
    const delay = backoffDelay(restartBackoff, Math.min(this.crashes - 1, 10));
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
        this.#startIn(fresh, pod).catch((error: unknown) =>
          log.error('failed to start proxy again', { uid: pod.uid, error: errorText(error) }),
        );
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
      case 'report':
        worker.reports.get(message.id)?.(message.report);
        worker.reports.delete(message.id);
        return;
      case 'drained':
        worker.drained?.();
    }
  }

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
      this.#workers.map((worker) => ask(worker, `gone:${uid}`, { type: 'remove-pod', uid })),
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
  }

  setLogLevel(level: LogLevel): void {
    this.#logLevel = level;
    this.#toAll({ type: 'log-level', level });
  }

  #toAll(message: ToWorker): void {
    for (const worker of this.#workers) send(worker.thread, message);
  }

  /** One report per worker that answers within 2 s. */
  async reports(): Promise<WorkerReport[]> {
    const all = await Promise.all(this.#workers.map((worker) => this.#report(worker)));
    return all.filter((report) => report !== undefined);
  }

  #report(worker: DataWorker): Promise<WorkerReport | undefined> {
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

  /** Lets connections finish until the deadline, then ends the threads. */
  async close(deadlineMs: number): Promise<void> {
    this.#closing = true;
    await Promise.all(
      this.#workers.map(async (worker) => {
        const drained = new Promise<void>((resolve) => {
          worker.drained = resolve;
        });
        send(worker.thread, { type: 'drain', deadlineMs });
        await Promise.race([drained, this.#options.clock.sleep(deadlineMs + 2000)]);
        await worker.thread.terminate();
      }),
    );
  }
}

function send(thread: Worker, message: ToWorker): void {
  thread.postMessage(message);
}

function ask(worker: DataWorker, key: string, message: ToWorker): Promise<void> {
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
