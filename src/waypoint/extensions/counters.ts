// What is counted of extensions, and how it is told in metrics.
import type { MetricFamily, MetricSet } from '#/telemetry/index.ts';

export interface ExtensionCounters {
  calls: number;
  /** Timeouts included. */
  failures: number;
  timeouts: number;
  /** Threads that had to be started again. */
  restarts: number;
  /** Requests and responses that went on without it after a failure. */
  skipped: number;
}

export const emptyExtensionCounters = (): ExtensionCounters => ({
  calls: 0,
  failures: 0,
  timeouts: 0,
  restarts: 0,
  skipped: 0,
});

/** Since the worker started. */
export interface ExtensionReport extends Readonly<ExtensionCounters> {
  /** `ns/name`. */
  readonly name: string;
}

const labels = ['extension'] as const;
const counter = (name: string, help: string): MetricFamily => ({ name, type: 'counter', help, labels });

export const extensionFamilies = {
  extensionCalls: counter('aura_waypoint_extension_calls', 'Calls of phases of extensions'),
  extensionFailures: counter('aura_waypoint_extension_failures', 'Calls that ended without a usable answer'),
  extensionTimeouts: counter('aura_waypoint_extension_timeouts', 'Calls that took longer than they may'),
  extensionRestarts: counter('aura_waypoint_extension_restarts', 'Threads that had to be started again'),
  extensionSkipped: counter('aura_waypoint_extension_skipped', 'Messages that passed without an extension'),
} as const satisfies Record<string, MetricFamily>;

export function countExtensions(
  metrics: MetricSet,
  reports: Iterable<{ readonly extensions: readonly ExtensionReport[] }>,
): void {
  const sums = new Map<string, ExtensionCounters>();
  for (const { extensions } of reports)
    for (const { name, calls, failures, timeouts, restarts, skipped } of extensions) {
      let sum = sums.get(name);
      if (sum === undefined) sums.set(name, (sum = emptyExtensionCounters()));
      sum.calls += calls;
      sum.failures += failures;
      sum.timeouts += timeouts;
      sum.restarts += restarts;
      sum.skipped += skipped;
    }
  const families = extensionFamilies;
  for (const [name, sum] of sums) {
    metrics.set(families.extensionCalls, [name], sum.calls);
    metrics.set(families.extensionFailures, [name], sum.failures);
    metrics.set(families.extensionTimeouts, [name], sum.timeouts);
    metrics.set(families.extensionRestarts, [name], sum.restarts);
    metrics.set(families.extensionSkipped, [name], sum.skipped);
  }
}
