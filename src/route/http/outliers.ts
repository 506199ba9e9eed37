// Outlier detection: which hosts of a destination are left out because they failed. One object per destination; time
// comes as an argument (milliseconds of any steady clock). Envoy's rules: a host is ejected at once when a count of
// failures in a row is reached, for base time × number of ejections so far, at most five minutes (or the base, if that
// is more); `check`, once an interval, lets it back, and forgives one former ejection of every host that stayed in.
import type { OutlierDetection } from '#/model/index.ts';

const longestEjectionMs = 300_000;

/** Envoy's defaults where a count is left out; 0 switches one off. */
const defaultConsecutive = 5;

export type HostOutcome =
  | { readonly kind: 'response'; readonly status: number }
  /** No connection, a reset, or no answer in time: nothing that the host itself said. */
  | { readonly kind: 'local'; readonly timeout: boolean };

interface HostState {
  /** Failures in a row. */
  errors: number;
  gateway: number;
  local: number;
  /** How often it was ejected, less what was forgiven. */
  ejections: number;
  ejectedAt: number | undefined;
}

export interface Ejection {
  readonly host: string;
  readonly reason: 'consecutive-5xx' | 'consecutive-gateway-failure' | 'consecutive-local-origin-failure';
  readonly untilMs: number;
}

export class OutlierDetector {
  #settings: OutlierDetection;
  readonly #hosts = new Map<string, HostState>();
  #ejected = 0;
  #checkedAt: number | undefined;

  constructor(settings: OutlierDetection) {
    this.#settings = settings;
  }

  configure(settings: OutlierDetection): void {
    this.#settings = settings;
  }

  /** The hosts that there are, by uid: those that left are forgotten, those that came start well. */
  setHosts(uids: Iterable<string>): void {
    const present = new Set(uids);
    for (const uid of present) this.addHost(uid);
    for (const uid of this.#hosts.keys()) if (!present.has(uid)) this.removeHost(uid);
  }

  addHost(uid: string): void {
    if (!this.#hosts.has(uid))
      this.#hosts.set(uid, { errors: 0, gateway: 0, local: 0, ejections: 0, ejectedAt: undefined });
  }

  removeHost(uid: string): void {
    const host = this.#hosts.get(uid);
    if (host === undefined) return;
    if (host.ejectedAt !== undefined) this.#ejected--;
    this.#hosts.delete(uid);
  }

  get ejectedCount(): number {
    return this.#ejected;
  }

  isEjected(uid: string): boolean {
    return this.#hosts.get(uid)?.ejectedAt !== undefined;
  }

  /** Counts an outcome. Returns the ejection if this one caused it. Hosts that are not known are passed over. */
  record(uid: string, outcome: HostOutcome, now: number): Ejection | undefined {
    const host = this.#hosts.get(uid);
    if (host === undefined) return undefined;
    const { consecutive5xx, consecutiveGatewayErrors, splitLocalOriginErrors, errorCodes } = this.#settings;
    let status: number;
    if (outcome.kind === 'local') {
      if (splitLocalOriginErrors === true) {
        host.local++;
        const most = this.#settings.consecutiveLocalOriginFailures ?? defaultConsecutive;
        return this.#judge(uid, host, host.local, most, 'consecutive-local-origin-failure', now);
      }
      // Not told apart: as if the host had said so itself.
      status = outcome.timeout ? 504 : 503;
    } else {
      status = outcome.status;
      host.local = 0;
    }
    const failed =
      outcome.kind === 'local' || (errorCodes === undefined ? status >= 500 : errorCodes.includes(status));
    if (!failed) {
      host.errors = 0;
      host.gateway = 0;
      return undefined;
    }
    host.errors++;
    if (status >= 502 && status <= 504) host.gateway++;
    else host.gateway = 0;
    return (
      this.#judge(
        uid,
        host,
        host.gateway,
        consecutiveGatewayErrors ?? 0,
        'consecutive-gateway-failure',
        now,
      ) ?? this.#judge(uid, host, host.errors, consecutive5xx ?? defaultConsecutive, 'consecutive-5xx', now)
    );
  }

  #judge(
    uid: string,
    host: HostState,
    count: number,
    most: number,
    reason: Ejection['reason'],
    now: number,
  ): Ejection | undefined {
    if (most <= 0 || count < most || host.ejectedAt !== undefined) return undefined;
    // Counting starts again, whether or not there is room: as Envoy.
    host.errors = host.gateway = host.local = 0;
    if (!this.#mayEject()) return undefined;
    host.ejectedAt = now;
    host.ejections++;
    this.#ejected++;
    return { host: uid, reason, untilMs: now + this.#ejectionTime(host) };
  }

  /** One host may always go, however small the share is. */
  #mayEject(): boolean {
    return (
      this.#ejected === 0 || (this.#ejected * 100) / this.#hosts.size < this.#settings.maxEjectionPercent
    );
  }

  #ejectionTime({ ejections }: HostState): number {
    const { baseEjectionMs } = this.#settings;
    return Math.min(baseEjectionMs * ejections, Math.max(longestEjectionMs, baseEjectionMs));
  }

  /** When `check` is due next; undefined: it never ran. */
  nextCheck(): number | undefined {
    return this.#checkedAt === undefined ? undefined : this.#checkedAt + this.#settings.intervalMs;
  }

  /** Called at least once an interval; does nothing in between. Returns the hosts that are back. */
  check(now: number): readonly string[] {
    const due = this.nextCheck();
    if (due !== undefined && now < due) return [];
    this.#checkedAt = now;
    const back: string[] = [];
    for (const [uid, host] of this.#hosts) {
      if (host.ejectedAt === undefined) {
        if (host.ejections > 0) host.ejections--;
      } else if (now >= host.ejectedAt + this.#ejectionTime(host)) {
        host.ejectedAt = undefined;
        host.errors = host.gateway = host.local = 0;
        this.#ejected--;
        back.push(uid);
      }
    }
    return back;
  }
}
