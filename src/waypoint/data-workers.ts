// The data workers as the main thread sees them: starts them, passes the mesh, resources and certificates on, collects
// their reports, and starts one again that has died, with everything it had.
import { Worker } from 'node:worker_threads';
import { errorText } from '#/errors/index.ts';
import { backoffDelay, type Clock, type Logger, type LogLevel } from '#/kit/index.ts';
import type { Certificate } from '#/identity/index.ts';
import { waypointResourceName, type Identity, type WaypointResource } from '#/model/index.ts';
import { MirrorSource, type MeshStore } from '#/state/index.ts';
import type { WaypointConfig } from './config.ts';
import type { FromWorker, ResourceDelta, ToWorker, WorkerInit } from './messages.ts';
import type { FinishedSpan } from './tracing/index.ts';
import type { WorkerReport } from './worker/report.ts';

export interface DataWorkersOptions {
  readonly config: WaypointConfig;
  readonly store: MeshStore;
  readonly log: Logger;
  readonly clock: Clock;
  /** Writes log lines; `lines` is their number. Without a path: to the program's own output. */
  readonly write: (text: string, lines: number, path?: string) => void;
  readonly spans: (provider: string, spans: readonly FinishedSpan[]) => void;
  /** A worker wants a certificate; answer with `certificate` or `certificateFailed`. */
  readonly needCertificate: (identity: Identity) => void;
}

interface DataWorker {
  readonly index: number;
  readonly thread: Worker;
  readonly mirror: MirrorSource;
  readonly startedAt: number;
  dead: boolean;
  listening: PromiseWithResolvers<number> | undefined;
  readonly reports: Map<number, (report: WorkerReport | undefined) => void>;
  drained: (() => void) | undefined;
}

const restartBackoff = { initial: 100, max: 10_000 };
/** A worker that has run for so long did not die of what killed the one before. */
const soundAfterMs = 60_000;
const reportTimeoutMs = 2000;

export class DataWorkers {
  readonly #options: DataWorkersOptions;
  readonly #workers: DataWorker[] = [];
  readonly #resources = new Map<string, WaypointResource>();
  #certificate: Certificate | undefined;
  #closing = false;
  #configured = false;
  #listening = false;
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
    const { config, store, clock } = this.#options;
    const init: WorkerInit = { config, index };
    const thread = new Worker(new URL('./worker/entry.ts', import.meta.url), {
      workerData: init,
      name: `data-${index}`,
    });
    const worker: DataWorker = {
      index,
      thread,
      startedAt: clock.now(),
      dead: false,
      mirror: new MirrorSource(store, (delta) => send(thread, { type: 'mirror', delta })),
      listening: undefined,
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
    worker.listening?.reject(new Error('the data worker has ended'));
    for (const resolve of worker.reports.values()) resolve(undefined);
    worker.reports.clear();
    if (this.#closing) return;
    this.crashes++;
    const { clock, log } = this.#options;
    if (clock.now() - worker.startedAt > soundAfterMs) this.#crashesInARow = 0;
    const delay = backoffDelay(restartBackoff, this.#crashesInARow++);
    log.error('starting the data worker again', { worker: worker.index, in_ms: Math.round(delay) });
    clock.after(delay, () => {
      if (this.#closing) return;
      const fresh = this.#launch(worker.index);
      this.#workers[worker.index] = fresh;
      if (this.#logLevel !== undefined) send(fresh.thread, { type: 'log-level', level: this.#logLevel });
      send(fresh.thread, {
        type: 'resources',
        delta: { upserts: [...this.#resources.values()], removed: [] },
      });
      if (this.#configured) send(fresh.thread, { type: 'configured' });
      if (this.#certificate !== undefined)
        send(fresh.thread, { type: 'certificate', certificate: this.#certificate });
      if (this.#listening)
        this.#listenIn(fresh).catch((error: unknown) => {
          log.error('a data worker cannot listen', { worker: fresh.index, error: errorText(error) });
          // Started again, it tries again.
          void fresh.thread.terminate();
        });
    });
  }

  #onMessage(worker: DataWorker, message: FromWorker): void {
    switch (message.type) {
      case 'listening':
        worker.listening?.resolve(message.port);
        return;
      case 'failed':
        worker.listening?.reject(new Error(message.message));
        return;
      case 'mirror-request':
        worker.mirror.receive(message.request);
        return;
      case 'need-certificate':
        this.#options.needCertificate(message.identity);
        return;
      case 'log':
        this.#options.write(message.text, message.lines);
        return;
      case 'file-log':
        this.#options.write(message.text, message.lines, message.path);
        return;
      case 'spans':
        this.#options.spans(message.provider, message.spans);
        return;
      case 'report': {
        const waiter = worker.reports.get(message.id);
        worker.reports.delete(message.id);
        if (waiter === undefined) this.#late.push(message.report);
        else waiter(message.report);
        return;
      }
      case 'drained':
        worker.drained?.();
    }
  }

  /** Opens the port in every worker. Rejects if one cannot. Resolves to the port. */
  async listen(): Promise<number> {
    this.#listening = true;
    const ports = await Promise.all(this.#workers.map((worker) => this.#listenIn(worker)));
    return ports[0] ?? 0;
  }

  #listenIn(worker: DataWorker): Promise<number> {
    worker.listening = Promise.withResolvers();
    send(worker.thread, { type: 'listen' });
    return worker.listening.promise;
  }

  resources(delta: ResourceDelta): void {
    for (const name of delta.removed) this.#resources.delete(name);
    for (const resource of delta.upserts) this.#resources.set(waypointResourceName(resource), resource);
    this.#toAll({ type: 'resources', delta });
  }

  /** The control plane has told all that it has: until then clients are refused, since a policy could be missing. */
  configured(): void {
    this.#configured = true;
    this.#toAll({ type: 'configured' });
  }

  allResources(): Iterable<WaypointResource> {
    return this.#resources.values();
  }

  certificate(certificate: Certificate): void {
    this.#certificate = certificate;
    this.#toAll({ type: 'certificate', certificate });
  }

  certificateFailed(identity: Identity, message: string): void {
    this.#toAll({ type: 'certificate-failed', identity, message });
  }

  setLogLevel(level: LogLevel): void {
    this.#logLevel = level;
    this.#toAll({ type: 'log-level', level });
  }

  #toAll(message: ToWorker): void {
    for (const worker of this.#workers) if (!worker.dead) send(worker.thread, message);
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

  /** Lets requests finish until the deadline, then ends the threads. */
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

function send(thread: Worker, message: ToWorker): void {
  thread.postMessage(message);
}
