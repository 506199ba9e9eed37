// When the write-ahead log is moved into the database: after some megabytes, by a thread of its own that is started
// when it is first needed.
import { Worker } from 'node:worker_threads';

/** Characters written since the last checkpoint that make another one due. */
const due = 8 * 1024 * 1024;
/** A log that writers never leave alone is cut by force here, and its writers wait for it. */
const tooLong = 512 * 1024 * 1024;

export class Checkpointer implements Disposable {
  readonly #file: string;
  readonly #force: () => void;
  #worker: Worker | undefined;
  #sinceLast = 0;
  #sinceComplete = 0;
  #running = false;
  #broken = false;

  /** `force` does it at once, in this thread. */
  constructor(file: string, force: () => void) {
    this.#file = file;
    this.#force = force;
  }

  /** After each write. */
  wrote(size: number): void {
    this.#sinceLast += size;
    this.#sinceComplete += size;
    if (this.#sinceComplete > tooLong || (this.#broken && this.#sinceComplete > due)) {
      this.#force();
      this.#sinceComplete = 0;
    }
    if (this.#running || this.#broken || this.#sinceLast < due) return;
    this.#running = true;
    this.#sinceLast = 0;
    (this.#worker ??= this.#start()).postMessage('checkpoint');
  }

  [Symbol.dispose](): void {
    // Nothing waits for it: a log that is left over is read at the next start.
    void this.#worker?.terminate();
    this.#worker = undefined;
    this.#broken = true;
  }

  #start(): Worker {
    const worker = new Worker(new URL('./checkpoint-worker.ts', import.meta.url), {
      workerData: { file: this.#file },
      resourceLimits: { maxOldGenerationSizeMb: 32, maxYoungGenerationSizeMb: 8 },
    });
    worker.unref();
    worker.on('message', ({ complete }: { complete: boolean }) => {
      this.#running = false;
      if (complete) this.#sinceComplete = this.#sinceLast;
    });
    worker.on('error', () => {
      this.#broken = true;
      this.#running = false;
    });
    return worker;
  }
}
