// One node of the test mesh: its store, its data workers, and what they said.
import { Worker } from 'node:worker_threads';
import { createLogger, systemClock } from '#/kit/index.ts';
import type { Certificate } from '#/identity/index.ts';
import type { Identity } from '#/model/index.ts';
import { MeshStore } from '#/state/index.ts';
import { families, MetricSet, openMetrics, TrafficMetrics } from '#/telemetry/index.ts';
import { DataWorkers } from '../../src/ztunnel/data-workers.ts';
import type { ZtunnelConfig } from '../../src/ztunnel/config.ts';
import type { ConnectionReport, WorkerInit } from '../../src/ztunnel/messages.ts';

export interface MeshNodeOptions {
  readonly name: string;
  readonly config: ZtunnelConfig;
  readonly certificate: (identity: Identity) => Promise<Certificate>;
}

/** The lines that were logged since it was made. */
class LineWatch {
  readonly #all: readonly string[];
  readonly #start: number;

  constructor(all: readonly string[]) {
    this.#all = all;
    this.#start = all.length;
  }

  get lines(): readonly string[] {
    return this.#all.slice(this.#start);
  }

  /** Those that hold every one of the texts; waits up to 3 s for the first. */
  async find(...texts: string[]): Promise<string[]> {
    for (let i = 0; ; i++) {
      const found = this.lines.filter((line) => texts.every((text) => line.includes(text)));
      if (found.length > 0 || i === 600) return found;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  /** The one line; the error tells of all lines if there is none, or more. */
  async one(...texts: string[]): Promise<string> {
    const found = await this.find(...texts);
    const [line] = found;
    if (line === undefined || found.length > 1)
      throw new Error(`${found.length} lines with ${texts.join(', ')} among:\n${this.lines.join('\n')}`);
    return line;
  }
}

export type { LineWatch };

const entry = new URL('../../src/ztunnel/worker/entry.ts', import.meta.url);

export class MeshNode {
  readonly name: string;
  readonly store: MeshStore;
  readonly workers: DataWorkers;
  /** Everything that was logged, oldest first. */
  readonly lines: string[] = [];
  /** Pods that could not be started again. */
  readonly lost: string[] = [];
  readonly #threads: Worker[] = [];
  readonly #traffic = new TrafficMetrics();
  readonly #counters = new MetricSet(Object.values(families));

  constructor({ name, config, certificate }: MeshNodeOptions) {
    this.name = name;
    this.store = new MeshStore({ node: name });
    const { lines } = this;
    this.workers = new DataWorkers({
      config,
      preserveSource: config.originalSource !== 'never',
      store: this.store,
      log: createLogger(
        { level: 'info', format: 'plain', write: (line) => lines.push(line.trimEnd()) },
        'data',
      ),
      clock: systemClock,
      write: (text) => lines.push(...text.split('\n').filter((line) => line !== '')),
      needCertificate: (identity) => {
        certificate(identity).then(
          (made) => this.workers.certificate(made),
          (error: unknown) => this.workers.certificateFailed(identity, (error as Error).message),
        );
      },
      podLost: (uid) => this.lost.push(uid),
      startThread: (init) => this.#startThread(init),
    });
  }

  #startThread(init: WorkerInit): Worker {
    const thread = new Worker(entry, { workerData: init });
    this.#threads.push(thread);
    return thread;
  }

  /** Ends the data workers as a crash would. They are started again. */
  async crash(): Promise<void> {
    await Promise.all(this.#threads.splice(0).map((thread) => thread.terminate()));
  }

  watch(): LineWatch {
    return new LineWatch(this.lines);
  }

  /** Lines of all times. */
  find(...texts: string[]): Promise<string[]> {
    const found = this.lines.filter((line) => texts.every((text) => line.includes(text)));
    return found.length > 0 ? Promise.resolve(found) : this.watch().find(...texts);
  }

  async #reports() {
    const reports = await this.workers.reports();
    for (const { traffic, metrics } of reports) {
      this.#traffic.merge(traffic);
      this.#counters.merge(metrics);
    }
    return reports;
  }

  /** Resolves when the workers have taken in all that they were told, and what they have logged is here. */
  async settled(): Promise<void> {
    await this.#reports();
  }

  /** Resolves when no connection is open, and all lines are here. */
  async quiet(): Promise<void> {
    for (let i = 0; i < 500; i++) {
      if ((await this.connections()).length === 0) return;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    throw new Error(
      `connections are still open on ${this.name}: ${JSON.stringify(await this.connections())}`,
    );
  }

  async connections(): Promise<ConnectionReport[]> {
    return (await this.#reports()).flatMap(({ connections }) => connections);
  }

  /** The metrics as text, all that was ever counted. */
  async metrics(): Promise<string> {
    await this.#reports();
    return [...openMetrics([...this.#traffic.collect(), ...this.#counters.collect()])].join('');
  }

  /** The sum of a metric over the series that hold every one of the texts. */
  async metric(name: string, ...labels: string[]): Promise<number> {
    let sum = 0;
    for (const line of (await this.metrics()).split('\n'))
      if (line.startsWith(`${name}{`) && labels.every((label) => line.includes(label)))
        sum += Number(line.slice(line.lastIndexOf(' ') + 1));
    return sum;
  }
}
