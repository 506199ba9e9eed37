// Slow start: an endpoint that has just come gets a growing part of its share. Envoy scales its weight; here a draw of it
// is accepted with that probability, so that nothing has to be built again while time passes.
import type { TrafficSettings } from '#/model/index.ts';

export type WarmUp = NonNullable<TrafficSettings['warmup']>;

/** 0 to 1: Envoy's (elapsed / window)^(1 / aggression), at least the minimum. */
export function warmUpFactor(warmUp: WarmUp, since: number | undefined, now: number): number {
  if (since === undefined) return 1;
  const elapsed = now - since;
  if (elapsed >= warmUp.durationMs) return 1;
  const aggression = warmUp.aggression > 0 ? warmUp.aggression : 1;
  const grown = (Math.max(elapsed, 0) / warmUp.durationMs) ** (1 / aggression);
  return Math.min(1, Math.max(grown, warmUp.minimumPercent / 100));
}
