// Every identity's certificate on a node: fetched once however many ask, renewed at half its life, kept while it is
// valid though the CA is away. One entry per identity; a bounded number of requests is under way at a time, and those
// that a connection waits for go first.
import { errorText, MeshError } from '#/errors/index.ts';
import { backoffDelay, systemClock, type BackoffOptions, type Clock, type Logger } from '#/kit/index.ts';
import type { Identity } from '#/model/index.ts';
import { assembleCertificate, type Certificate } from './certificate.ts';
import { createCsr, type KeyAndRequest } from './csr.ts';

export interface CertificateManagerOptions {
  readonly ca: {
    createCertificate(csrPem: string, ttlSeconds: number, impersonate?: Identity): Promise<readonly string[]>;
  };
  /** Default 24 h. */
  readonly ttlSeconds?: number;
  /** Names the identity in the request, as a node's proxy must; default true. */
  readonly impersonate?: boolean;
  /** Requests under way at a time; default 8. */
  readonly concurrency?: number;
  /** More identities than this are refused; default 10 000. */
  readonly maxIdentities?: number;
  readonly log: Logger;
  readonly clock?: Clock;
  readonly random?: () => number;
  /** For tests. */
  readonly createCsr?: (identity: Identity) => Promise<KeyAndRequest>;
}

const backoff: BackoffOptions = { initial: 1000, max: 150_000, jitter: 0.2 };

/** What a connection waits for, then what one will soon want, then what can wait. */
const priorities = ['now', 'soon', 'renewal'] as const;
type Priority = (typeof priorities)[number];

interface Entry {
  readonly identity: Identity;
  certificate?: Certificate;
  /** The last failure, until a success. */
  error?: Error;
  failures: number;
  work: { kind: 'idle' } | { kind: 'queued'; priority: Priority } | { kind: 'fetching' };
  timer?: Disposable;
  /** What everyone who needs the first (or the next valid) certificate awaits. */
  awaited?: PromiseWithResolvers<Certificate>;
}

export interface CertificateState {
  readonly identity: Identity;
  /** As config_dump prints it: Available, Initializing, or `Unavailable: …`. */
  readonly state: string;
  readonly certificate?: Certificate;
}

export class CertificateManager implements Disposable {
  readonly #options: CertificateManagerOptions;
  readonly #clock: Clock;
  readonly #entries = new Map<Identity, Entry>();
  readonly #queues: Record<Priority, Set<Entry>> = { now: new Set(), soon: new Set(), renewal: new Set() };
  readonly #listeners = new Set<(certificate: Certificate) => void>();
  #fetching = 0;
  #closed = false;

  constructor(options: CertificateManagerOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  /**
   * A valid certificate: at once if there is one, else after one request, ahead of the others. Rejects with MeshError
   * CERTIFICATE_UNAVAILABLE when the CA refuses, and at once while a failed request waits to be made again.
   */
  async get(identity: Identity): Promise<Certificate> {
    const entry = this.#entry(identity);
    if (this.#valid(entry)) return entry.certificate as Certificate;
    if (entry.work.kind === 'idle' && entry.error !== undefined) throw entry.error;
    entry.awaited ??= Promise.withResolvers();
    const { promise } = entry.awaited;
    this.#enqueue(entry, 'now');
    return promise;
  }

  /** A certificate that will be wanted soon. Fetches ahead of need; failures are tried again in the background. */
  want(identity: Identity): void {
    const entry = this.#entry(identity);
    if (entry.work.kind === 'idle' && entry.timer === undefined) this.#enqueue(entry, 'soon');
  }

  /** Drops the identity; whoever still waits for it gets an error. */
  forget(identity: Identity): void {
    const entry = this.#entries.get(identity);
    if (entry === undefined) return;
    this.#entries.delete(identity);
    entry.timer?.[Symbol.dispose]();
    if (entry.work.kind === 'queued') this.#queues[entry.work.priority].delete(entry);
    this.#settle(entry, unavailable(identity, 'the identity is no longer used on this node'));
  }

  /** Calls back with every new certificate, first or renewed. Dispose to stop. */
  onUpdate(callback: (certificate: Certificate) => void): Disposable {
    this.#listeners.add(callback);
    return { [Symbol.dispose]: () => this.#listeners.delete(callback) };
  }

  snapshot(): readonly CertificateState[] {
    return [...this.#entries.values()].map((entry) => {
      const { identity, certificate, error } = entry;
      if (this.#valid(entry) && certificate !== undefined)
        return { identity, state: 'Available', certificate };
      return { identity, state: error === undefined ? 'Initializing' : `Unavailable: ${error.message}` };
    });
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    for (const identity of this.#entries.keys()) this.forget(identity);
  }

  #entry(identity: Identity): Entry {
    const existing = this.#entries.get(identity);
    if (existing !== undefined) return existing;
    const limit = this.#options.maxIdentities ?? 10_000;
    if (this.#closed) throw unavailable(identity, 'shutting down');
    if (this.#entries.size >= limit) throw unavailable(identity, `more than ${limit} identities`);
    const entry: Entry = { identity, failures: 0, work: { kind: 'idle' } };
    this.#entries.set(identity, entry);
    return entry;
  }

  #valid({ certificate }: Entry): boolean {
    return certificate !== undefined && this.#clock.now() < certificate.notAfter;
  }

  #enqueue(entry: Entry, priority: Priority): void {
    if (entry.work.kind === 'fetching') return;
    if (entry.work.kind === 'queued') {
      if (priorities.indexOf(entry.work.priority) <= priorities.indexOf(priority)) return;
      this.#queues[entry.work.priority].delete(entry);
    }
    entry.timer?.[Symbol.dispose]();
    delete entry.timer;
    entry.work = { kind: 'queued', priority };
    this.#queues[priority].add(entry);
    this.#pump();
  }

  #pump(): void {
    while (this.#fetching < (this.#options.concurrency ?? 8)) {
      const queue = priorities.map((priority) => this.#queues[priority]).find((set) => set.size > 0);
      if (queue === undefined) return;
      const [entry] = queue as unknown as [Entry];
      queue.delete(entry);
      entry.work = { kind: 'fetching' };
      this.#fetching++;
      void this.#fetch(entry).then((outcome) => {
        this.#fetching--;
        entry.work = { kind: 'idle' };
        // Forgotten meanwhile: nobody is waiting any more.
        if (this.#entries.get(entry.identity) === entry) this.#finish(entry, outcome);
        this.#pump();
      });
    }
  }

  async #fetch({ identity }: Entry): Promise<Certificate | Error> {
    const { ca, ttlSeconds = 86_400, impersonate = true } = this.#options;
    try {
      const { csrPem, keyPem } = await (this.#options.createCsr ?? createCsr)(identity);
      const reply = await ca.createCertificate(csrPem, ttlSeconds, impersonate ? identity : undefined);
      const certificate = assembleCertificate(identity, keyPem, reply);
      if (certificate.notAfter <= this.#clock.now()) throw new Error('the certificate has expired already');
      return certificate;
    } catch (error) {
      return unavailable(identity, errorText(error), error);
    }
  }

  #finish(entry: Entry, outcome: Certificate | Error): void {
    const { log, random } = this.#options;
    const { identity } = entry;
    const now = this.#clock.now();
    if (!(outcome instanceof Error)) {
      const first = entry.certificate === undefined;
      entry.certificate = outcome;
      entry.failures = 0;
      delete entry.error;
      log.debug(first ? 'certificate fetched' : 'certificate renewed', { identity, serial: outcome.serial });
      this.#wake(entry, renewalDelay(outcome, now), 'renewal');
      this.#settle(entry, outcome);
      for (const listener of this.#listeners) listener(outcome);
      return;
    }
    let delay = backoffDelay(backoff, entry.failures++, random);
    entry.error = outcome;
    const valid = this.#valid(entry);
    // Never sleep through the end of what is still in use.
    if (valid) delay = Math.min(delay, (entry.certificate as Certificate).notAfter - now);
    log.warn(valid ? 'certificate renewal failed, the old one stays in use' : 'certificate request failed', {
      identity,
      error: outcome.message,
      retry_ms: Math.round(delay),
    });
    this.#wake(entry, delay, valid ? 'renewal' : 'soon');
    this.#settle(entry, valid ? (entry.certificate as Certificate) : outcome);
  }

  #wake(entry: Entry, delay: number, priority: Priority): void {
    entry.timer = this.#clock.after(delay, () => {
      delete entry.timer;
      this.#enqueue(entry, priority);
    });
  }

  #settle(entry: Entry, outcome: Certificate | Error): void {
    const { awaited } = entry;
    delete entry.awaited;
    if (outcome instanceof Error) awaited?.reject(outcome);
    else awaited?.resolve(outcome);
  }
}

function unavailable(identity: Identity, reason: string, cause?: unknown): MeshError {
  return new MeshError('CERTIFICATE_UNAVAILABLE', `identity error: ${identity}: ${reason}`, { cause });
}

/**
 * Until half of the certificate's life. The CA dates certificates back, so half of a very short life may be over on
 * arrival; then it is half of what is left.
 */
function renewalDelay({ notBefore, notAfter }: Certificate, now: number): number {
  const half = notBefore + (notAfter - notBefore) / 2;
  return half > now ? half - now : (notAfter - now) / 2;
}
