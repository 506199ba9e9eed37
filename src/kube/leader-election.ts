// One leader among replicas, by a Lease: who holds it and renews it leads; when it is not renewed for its whole
// duration, another takes it.
import { silentLogger, type Clock, type Logger } from '#/kit/index.ts';
import { errorText } from '#/errors/index.ts';
import type { KubeClient } from './client.ts';
import { isAlreadyExists, isConflict } from './kube-error.ts';
import type { Lease } from './objects.ts';
import { leases } from './resources.ts';

export interface LeaderElectionOptions {
  readonly client: KubeClient;
  readonly namespace: string;
  /** The Lease's name. */
  readonly name: string;
  /** Unique for each replica: the pod's name, or a random one. */
  readonly identity: string;
  /** Seconds after the last renewal at which others may take over. 15 by default, as client-go's users have it. */
  readonly leaseSeconds?: number;
  /** Seconds without a successful renewal after which we step down by ourselves. Must be below `leaseSeconds`. */
  readonly renewSeconds?: number;
  /** Seconds between attempts. */
  readonly retrySeconds?: number;
  readonly log?: Logger;
  /** Needs only to move forward at the right speed; a jump of the wall clock must not make two leaders. */
  readonly clock?: Clock;
}

const monotonicClock: Clock = {
  now: () => performance.now(),
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      const timer = setTimeout(done, ms);
      function done(): void {
        clearTimeout(timer);
        signal?.removeEventListener('abort', done);
        resolve();
      }
      if (signal?.aborted === true) done();
      else signal?.addEventListener('abort', done, { once: true });
    }),
  after: (ms, fn) => {
    const timer = setTimeout(fn, ms);
    timer.unref();
    return { [Symbol.dispose]: () => clearTimeout(timer) };
  },
};

/** MicroTime: RFC 3339 with six digits. */
const microTime = (ms: number): string => new Date(ms).toISOString().replace('Z', '000Z');

export class LeaderElection {
  readonly #options: LeaderElectionOptions;
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #leaseMs: number;
  readonly #renewMs: number;
  readonly #retryMs: number;
  /** What the Lease said last, and when by our own clock we first saw it say so. */
  #observed: { readonly version: string; readonly at: number } | undefined;
  #leading = false;
  #holder = '';

  constructor(options: LeaderElectionOptions) {
    this.#options = options;
    this.#log = options.log ?? silentLogger;
    this.#clock = options.clock ?? monotonicClock;
    this.#leaseMs = (options.leaseSeconds ?? 15) * 1000;
    this.#renewMs = (options.renewSeconds ?? 10) * 1000;
    this.#retryMs = (options.retrySeconds ?? 2) * 1000;
    if (this.#renewMs >= this.#leaseMs)
      throw new RangeError(`leader election ${options.name}: renewSeconds must be less than leaseSeconds`);
  }

  get isLeader(): boolean {
    return this.#leading;
  }

  /** The holder's identity as last seen; empty if nobody holds the Lease. */
  get leader(): string {
    return this.#holder;
  }

  /**
   * Campaigns until `signal` aborts. Each time we become leader, `lead` is called with a signal that aborts as
   * soon as leadership is lost or in doubt; the next campaign begins when it has returned. At the end the Lease
   * is released, so that another replica need not wait for it to run out.
   */
  async run(signal: AbortSignal, lead: (leading: AbortSignal) => Promise<void> | void): Promise<void> {
    while (!signal.aborted) {
      if (!(await this.#attempt(signal))) {
        await this.#clock.sleep(this.#retryMs, signal).catch(() => {});
        continue;
      }
      this.#leading = true;
      this.#log.info('became leader', { lease: this.#options.name, identity: this.#options.identity });
      const stop = new AbortController();
      const work = (async () => lead(stop.signal))().catch((error: unknown) => {
        this.#log.error(`leader ${this.#options.name}: ${errorText(error)}`);
      });
      await this.#hold(signal);
      this.#leading = false;
      stop.abort(new Error(`no longer leader of ${this.#options.name}`));
      this.#log.info('stopped leading', { lease: this.#options.name, identity: this.#options.identity });
      await work;
    }
    if (this.#holder === this.#options.identity) await this.#release();
  }

  /** Renews until it fails for too long, or somebody else has the Lease, or the signal aborts. */
  async #hold(signal: AbortSignal): Promise<void> {
    let renewed = this.#clock.now();
    while (!signal.aborted) {
      await this.#clock.sleep(this.#retryMs, signal).catch(() => {});
      if (signal.aborted) return;
      const began = this.#clock.now();
      // An attempt that hangs must not let the deadline pass unnoticed.
      const left = renewed + this.#renewMs - began;
      const deadline = left <= 0 ? AbortSignal.abort() : AbortSignal.timeout(Math.ceil(left));
      if (await this.#attempt(AbortSignal.any([signal, deadline]))) renewed = began;
      else if (this.#holder !== this.#options.identity) return;
      else if (this.#clock.now() - renewed >= this.#renewMs) {
        this.#log.warn('the lease could not be renewed in time', { lease: this.#options.name });
        return;
      }
    }
  }

  /** Takes or renews the Lease. False if another holds it, or the API does not answer. */
  async #attempt(signal: AbortSignal): Promise<boolean> {
    const { client, namespace, name, identity } = this.#options;
    try {
      const now = microTime(Date.now());
      const current = await client.find(leases, namespace, name, { signal });
      if (current === undefined) {
        await client.create(
          leases,
          namespace,
          {
            metadata: { name, namespace },
            spec: {
              holderIdentity: identity,
              leaseDurationSeconds: this.#leaseMs / 1000,
              acquireTime: now,
              renewTime: now,
              leaseTransitions: 0,
            },
          },
          { signal },
        );
        this.#holder = identity;
        return true;
      }
      const holder = current.spec?.holderIdentity ?? '';
      const version = current.metadata.resourceVersion ?? '';
      if (this.#observed?.version !== version) this.#observed = { version, at: this.#clock.now() };
      this.#holder = holder;
      const mine = holder === identity;
      // By our own clock, from when we saw the last renewal: the holder's clock may be wrong.
      const duration = (current.spec?.leaseDurationSeconds ?? this.#leaseMs / 1000) * 1000;
      if (!mine && holder !== '' && this.#clock.now() - this.#observed.at < duration) return false;
      const next: Lease = {
        ...current,
        spec: {
          ...current.spec,
          holderIdentity: identity,
          leaseDurationSeconds: this.#leaseMs / 1000,
          renewTime: now,
          ...(mine ? {} : { acquireTime: now, leaseTransitions: (current.spec?.leaseTransitions ?? 0) + 1 }),
        },
      };
      const written = await client.replace(leases, namespace, name, next, { signal });
      this.#observed = { version: written.metadata.resourceVersion ?? '', at: this.#clock.now() };
      this.#holder = identity;
      return true;
    } catch (error) {
      // Another replica was faster: the next attempt reads who.
      if (!isConflict(error) && !isAlreadyExists(error) && !signal.aborted)
        this.#log.warn(`lease ${namespace}/${name}: ${errorText(error)}`);
      return false;
    }
  }

  async #release(): Promise<void> {
    const { client, namespace, name, identity } = this.#options;
    try {
      const current = await client.find(leases, namespace, name, { signal: AbortSignal.timeout(2000) });
      if (current?.spec?.holderIdentity !== identity) return;
      await client.replace(
        leases,
        namespace,
        name,
        { ...current, spec: { ...current.spec, holderIdentity: '', leaseDurationSeconds: 1 } },
        { signal: AbortSignal.timeout(2000) },
      );
      this.#holder = '';
    } catch (error) {
      this.#log.debug(`lease ${namespace}/${name} was not released: ${errorText(error)}`);
    }
  }
}
