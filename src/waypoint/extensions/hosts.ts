// The extensions of a data worker by name. A change of module or settings gets a new thread; requests that have begun
// with the old one finish with it.
import type { Clock, Logger } from '#/kit/index.ts';
import type { Extension } from '#/model/index.ts';
import { emptyExtensionCounters, type ExtensionCounters, type ExtensionReport } from './counters.ts';
import { ExtensionHost } from './host.ts';

/** Everything but where it is attached and when it runs. */
const makingOf = ({ module, language, config, onFailure, timeoutMs, memoryMb }: Extension): string =>
  JSON.stringify([module, language, config, onFailure, timeoutMs, memoryMb]);

/** Names that are counted after their extension has gone. */
const maxPast = 1000;

interface Entry {
  /** As it was told last; the same object while nothing changes. */
  extension: Extension;
  readonly making: string;
  readonly host: ExtensionHost;
}

export class ExtensionHosts {
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #entries = new Map<string, Entry>();
  /** Retired, and perhaps not ended yet. */
  readonly #old = new Set<ExtensionHost>();
  /** Of hosts that have ended. */
  readonly #past = new Map<string, ExtensionCounters>();

  constructor(clock: Clock, log: Logger) {
    this.#clock = clock;
    this.#log = log;
  }

  /** Starts nothing: the first call does. */
  of(extension: Extension): ExtensionHost {
    const entry = this.#entries.get(extension.name);
    if (entry?.extension === extension) return entry.host;
    const making = makingOf(extension);
    if (entry !== undefined && entry.making === making) {
      entry.extension = extension;
      return entry.host;
    }
    if (entry !== undefined) this.#retire(extension.name, entry);
    const host = new ExtensionHost({ extension, clock: this.#clock, log: this.#log });
    this.#entries.set(extension.name, { extension, making, host });
    return host;
  }

  #retire(name: string, { host }: Entry): void {
    this.#entries.delete(name);
    this.#old.add(host);
    host.retire();
  }

  /** Lets go of extensions that are no longer there. */
  retain(names: ReadonlySet<string>): void {
    for (const [name, entry] of this.#entries) if (!names.has(name)) this.#retire(name, entry);
    this.#sweep();
    for (const name of this.#past.keys()) {
      if (this.#past.size <= maxPast) break;
      this.#past.delete(name);
    }
  }

  #sweep(): void {
    for (const host of this.#old) {
      if (!host.over) continue;
      this.#old.delete(host);
      add(this.#counted(this.#past, host.extension.name), host.counters);
    }
  }

  #counted(sums: Map<string, ExtensionCounters>, name: string): ExtensionCounters {
    let sum = sums.get(name);
    if (sum === undefined) sums.set(name, (sum = emptyExtensionCounters()));
    return sum;
  }

  /** Those that have been used. */
  report(): ExtensionReport[] {
    this.#sweep();
    const sums = new Map([...this.#past].map(([name, counters]) => [name, { ...counters }]));
    for (const { host } of this.#entries.values())
      add(this.#counted(sums, host.extension.name), host.counters);
    for (const host of this.#old) add(this.#counted(sums, host.extension.name), host.counters);
    return [...sums].map(([name, counters]) => ({ name, ...counters }));
  }

  /** Modules that cannot be loaded: resource and reason. */
  problems(): [string, readonly string[]][] {
    return [...this.#entries.values()].flatMap(({ host }) =>
      host.problem === undefined ? [] : [[`extension:${host.extension.name}`, [host.problem]]],
    );
  }

  destroy(): void {
    for (const { host } of this.#entries.values()) host.destroy();
    for (const host of this.#old) host.destroy();
  }
}

function add(sum: ExtensionCounters, counters: ExtensionCounters): void {
  sum.calls += counters.calls;
  sum.failures += counters.failures;
  sum.timeouts += counters.timeouts;
  sum.restarts += counters.restarts;
  sum.skipped += counters.skipped;
}
