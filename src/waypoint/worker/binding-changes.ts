// Bindings on their way: proxies hear of one at different times. A client that still comes after the binding is gone is
// served for a while, and one that comes before we have heard of it waits a little. Without that, binding a service
// under traffic would cost connections.
import type { Clock } from '#/kit/index.ts';
import { serviceKey } from '#/model/index.ts';
import type { Target } from './resolve-target.ts';

/** How long a target is served after it was last seen bound. */
const graceMs = 30_000;
/** How long a client waits for a binding that we have not heard of. */
export const bindingWaitMs = 1000;
/** Targets that are remembered; the one seen longest ago leaves first. */
const maxTargets = 10_000;

const keyOf = ({ service, workload }: Target): string =>
  service === undefined ? `workload ${workload?.uid}` : `service ${serviceKey(service)}`;

export class BindingChanges {
  readonly #clock: Clock;
  /** When each was last seen bound, the oldest first. */
  readonly #seen = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  bound(target: Target): void {
    const key = keyOf(target);
    this.#seen.delete(key);
    this.#seen.set(key, this.#clock.now());
    if (this.#seen.size <= maxTargets) return;
    for (const oldest of this.#seen.keys()) {
      this.#seen.delete(oldest);
      return;
    }
  }

  /** True if it was bound a moment ago. */
  lately(target: Target): boolean {
    const seen = this.#seen.get(keyOf(target));
    return seen !== undefined && this.#clock.now() - seen < graceMs;
  }
}
