// One extension in a data worker: its thread, the calls that are under way, their deadlines, and what becomes of them
// when the thread hangs or dies. A call always ends, whatever the extension does.
import { MessageChannel, receiveMessageOnPort, Worker, type MessagePort } from 'node:worker_threads';
import { errorText } from '#/errors/index.ts';
import { backoffDelay, type Clock, type Logger } from '#/kit/index.ts';
import type { Extension } from '#/model/index.ts';
import { readAnswer, type ExtensionResult } from './answer.ts';
import { emptyExtensionCounters, type ExtensionCounters } from './counters.ts';
import { LogBucket } from './log-bucket.ts';
import { phaseNumber, type FromThread, type Phase, type PhaseInput, type ThreadInit } from './protocol.ts';

export interface ExtensionHostOptions {
  readonly extension: Extension;
  readonly clock: Clock;
  readonly log: Logger;
  /** Calls under way. Default 1024. */
  readonly maxInFlight?: number;
  /** Of the module's own code at load. Default 5000. */
  readonly loadMs?: number;
}

interface Pending {
  readonly phase: Phase;
  readonly input: string;
  readonly done: (result: ExtensionResult) => void;
  /** Set when it is sent. */
  deadline: number;
  /** It was sent to a thread that has died of another call. */
  again: boolean;
}

interface Thread {
  readonly worker: Worker;
  readonly port: MessagePort;
  reason: string | undefined;
}

/**
 * `idle`: no thread; the next call starts one. `waiting`: no thread, and none before the back-off is over.
 * `broken`: the module cannot be loaded; only another module helps.
 */
type State = 'idle' | 'starting' | 'ready' | 'waiting' | 'broken' | 'closed';

/** The first start again is at once. */
const restartBackoff = { initial: 100, max: 2000 };
/** A thread that has lived for so long did not die of what killed the one before. */
const soundAfterMs = 10_000;
/** From the start of the thread until the module is loaded. */
const startMs = 30_000;

export class ExtensionHost {
  readonly extension: Extension;
  readonly counters: ExtensionCounters = emptyExtensionCounters();
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #lines: LogBucket;
  readonly #maxInFlight: number;
  readonly #loadMs: number;
  readonly #pending = new Map<number, Pending>();
  #batch: (number | string)[] = [];
  #state: State = 'idle';
  #thread: Thread | undefined;
  #timer: Disposable | undefined;
  #readyAt = 0;
  #deathsInARow = 0;
  #nextId = 1;
  #phases: number | undefined;
  /** Requests that have begun with this host and may still call it. */
  #requests = 0;
  #retired = false;
  /** Why the module is not in force. */
  problem: string | undefined;

  constructor({ extension, clock, log, maxInFlight = 1024, loadMs = 5000 }: ExtensionHostOptions) {
    this.#loadMs = loadMs;
    this.extension = extension;
    this.#clock = clock;
    this.#log = log;
    this.#maxInFlight = maxInFlight;
    this.#lines = new LogBucket(log, clock, extension.name);
  }

  get state(): State {
    return this.#state;
  }

  get inFlight(): number {
    return this.#pending.size;
  }

  /** True also while it is not known. */
  has(phase: Phase): boolean {
    return this.#phases === undefined || (this.#phases & (1 << phaseNumber[phase])) !== 0;
  }

  /** It is known which phases there are. */
  get known(): boolean {
    return this.#phases !== undefined;
  }

  /** Of a request, until `leave`: the host is not given up meanwhile. */
  enter(): void {
    this.#requests++;
  }

  leave(): void {
    this.#requests--;
    this.#endIfDone();
  }

  /** Calls `done` once, now or later. */
  call(phase: Phase, input: PhaseInput, done: (result: ExtensionResult) => void): void {
    this.counters.calls++;
    const refusal = this.#refusal();
    if (refusal !== undefined) {
      this.counters.failures++;
      done({ failure: refusal });
      return;
    }
    const id = this.#nextId++;
    const pending = { phase, input: JSON.stringify(input), done, deadline: 0, again: false };
    this.#pending.set(id, pending);
    if (this.#state === 'ready') this.#send(id, pending);
    else if (this.#state === 'idle') this.#start();
  }

  #refusal(): string | undefined {
    if (this.#state === 'broken') return `the module cannot be loaded: ${this.problem}`;
    if (this.#state === 'closed') return 'the extension is gone';
    if (this.#state === 'waiting') return 'its thread has died, and is not started again yet';
    return this.#pending.size >= this.#maxInFlight ? `${this.#maxInFlight} calls are under way` : undefined;
  }

  #send(id: number, pending: Pending): void {
    pending.deadline = this.#clock.now() + this.extension.timeoutMs;
    if (this.#batch.length === 0) queueMicrotask(() => this.#flush());
    this.#batch.push(id, phaseNumber[pending.phase], pending.input);
    this.#timer ??= this.#clock.after(this.extension.timeoutMs, () => this.#onTimer());
  }

  /** Calls of one turn go over in one message. */
  #flush(): void {
    const calls = this.#batch;
    if (calls.length === 0) return;
    this.#batch = [];
    this.#thread?.port.postMessage(calls);
  }

  // ── the thread ───────────────────────────────────────────────────────────

  #start(): void {
    this.#state = 'starting';
    const { module, language, config, memoryMb } = this.extension;
    const init: ThreadInit = {
      source: module,
      language,
      config: JSON.stringify(config ?? null),
      loadMs: this.#loadMs,
    };
    const { port1: port, port2 } = new MessageChannel();
    let worker: Worker;
    try {
      worker = new Worker(new URL('./thread.ts', import.meta.url), {
        workerData: { port: port2, init },
        transferList: [port2],
        name: 'extension',
        env: {},
        argv: [],
        // Modules in a context of their own are behind this flag.
        execArgv: ['--experimental-vm-modules', '--no-warnings'],
        stdin: false,
        stdout: true,
        stderr: true,
        resourceLimits: {
          maxOldGenerationSizeMb: memoryMb,
          maxYoungGenerationSizeMb: Math.max(1, Math.min(16, memoryMb >> 2)),
          stackSizeMb: 2,
        },
      });
    } catch (error) {
      port.close();
      this.#died(`no thread can be started: ${errorText(error)}`);
      return;
    }
    const thread: Thread = { worker, port, reason: undefined };
    this.#thread = thread;
    worker.stdout.resume();
    worker.stderr.resume();
    port.on('message', (message: FromThread) => {
      if (this.#thread === thread) this.#received(message);
    });
    worker.on('error', (error) => {
      thread.reason =
        (error as NodeJS.ErrnoException).code === 'ERR_WORKER_OUT_OF_MEMORY'
          ? `it uses more than ${memoryMb} MB of memory`
          : errorText(error);
    });
    worker.on('exit', () => {
      // What it has said before it ended may come after the news of its end.
      this.#readAll(thread);
      if (this.#thread === thread) this.#died(thread.reason ?? 'its thread has ended');
    });
    this.#timer = this.#clock.after(startMs, () => {
      this.#timer = undefined;
      if (this.#thread === thread && this.#state === 'starting')
        this.#died(`its module is not loaded within ${startMs / 1000} s`);
    });
  }

  #readAll(thread: Thread): void {
    while (this.#thread === thread) {
      const waiting: { message: FromThread } | undefined = receiveMessageOnPort(thread.port);
      if (waiting === undefined) return;
      this.#received(waiting.message);
    }
  }

  #received(message: FromThread): void {
    if ('ready' in message) {
      this.#stopTimer();
      this.#state = 'ready';
      this.#phases = message.ready;
      this.problem = undefined;
      this.#readyAt = this.#clock.now();
      for (const [id, pending] of this.#pending) this.#send(id, pending);
      return;
    }
    if ('failed' in message) {
      this.problem = message.failed.slice(0, 1024);
      this.#log.error('the module of an extension cannot be loaded', {
        extension: this.extension.name,
        error: this.problem,
      });
      if (message.late) {
        this.#died(this.problem);
        return;
      }
      this.#discard();
      this.#state = 'broken';
      this.#failAll(`the module cannot be loaded: ${this.problem}`);
      return;
    }
    const [id, text] = message;
    const pending = this.#pending.get(id);
    if (pending === undefined) return;
    this.#pending.delete(id);
    const { result, lines } = readAnswer(text);
    this.#lines.write(lines);
    this.#settle(pending, result);
  }

  #settle({ phase, done }: Pending, result: ExtensionResult): void {
    if (result.failure !== undefined) {
      this.counters.failures++;
      this.#lines.write([['warn', `${phase} has failed: ${result.failure}`]]);
    }
    done(result);
    this.#endIfDone();
  }

  #onTimer(): void {
    this.#timer = undefined;
    // Answers may lie there unread because this thread was busy.
    if (this.#thread !== undefined) this.#readAll(this.#thread);
    if (this.#state !== 'ready' || this.#timer !== undefined) return;
    const now = this.#clock.now();
    let next: number | undefined;
    let expired = 0;
    for (const { deadline } of this.#pending.values())
      if (deadline <= now) expired++;
      else next ??= deadline;
    if (expired > 0) this.#died(`no answer within ${this.extension.timeoutMs} ms`, now);
    else if (next !== undefined) this.#timer = this.#clock.after(next - now, () => this.#onTimer());
  }

  /** `expiredAt`: it hangs, and calls with deadlines until then have failed; else the one that came first has. */
  #died(reason: string, expiredAt?: number): void {
    const first = this.#state === 'ready' ? this.#pending.keys().next().value : undefined;
    if (this.#state === 'ready' && this.#clock.now() - this.#readyAt > soundAfterMs) this.#deathsInARow = 0;
    this.#discard();
    this.counters.restarts++;
    const delay = this.#deathsInARow === 0 ? 0 : backoffDelay(restartBackoff, this.#deathsInARow - 1);
    this.#deathsInARow++;
    this.#log.warn('the thread of an extension is started again', {
      extension: this.extension.name,
      error: reason,
      in_ms: Math.round(delay),
    });
    this.#state = delay === 0 ? 'idle' : 'waiting';
    if (delay > 0)
      this.#clock.after(delay, () => {
        if (this.#state === 'waiting') this.#state = 'idle';
      });
    const lost: Pending[] = [];
    for (const [id, pending] of this.#pending) {
      const guilty = expiredAt === undefined ? id === first : pending.deadline <= expiredAt;
      if (expiredAt !== undefined && guilty) this.counters.timeouts++;
      // What it had not come to is not its fault: that is asked again, once.
      if (!guilty && !pending.again && delay === 0) pending.again = true;
      else {
        this.#pending.delete(id);
        lost.push(pending);
      }
    }
    if (this.#pending.size > 0) this.#start();
    for (const pending of lost) this.#settle(pending, { failure: reason });
  }

  #stopTimer(): void {
    this.#timer?.[Symbol.dispose]();
    this.#timer = undefined;
  }

  #discard(): void {
    const thread = this.#thread;
    this.#thread = undefined;
    this.#batch = [];
    this.#stopTimer();
    thread?.port.close();
    void thread?.worker.terminate();
  }

  #failAll(failure: string): void {
    const all = [...this.#pending.values()];
    this.#pending.clear();
    for (const pending of all) this.#settle(pending, { failure });
  }

  /**
   * No new requests will come: its thread ends once those that have begun are over. One that has begun and comes to
   * this extension only now still gets an answer, from a thread of its own.
   */
  retire(): void {
    this.#retired = true;
    this.#endIfDone();
  }

  /** Retired, and nobody needs it at present. */
  get over(): boolean {
    return this.#retired && this.#requests <= 0 && this.#pending.size === 0;
  }

  #endIfDone(): void {
    if (!this.over || this.#thread === undefined) return;
    this.#discard();
    this.#state = 'idle';
  }

  destroy(): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#discard();
    this.#failAll('the proxy is shutting down');
  }
}
