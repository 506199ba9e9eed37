// How traffic is spread over levels of endpoints, and when a level sends to the unhealthy as well. Envoy's rules:
// a level counts as full while 1 / 1.4 (71 %) of it is healthy; what it cannot take goes to the next. If all levels
// together cannot take everything, they share in proportion, and a level below the panic threshold uses all of its
// endpoints. Envoy's threshold is 50 %; Istio sets it to a DestinationRule's minHealthPercent, 0 by default, and so do we:
// without healthy endpoints and without a threshold there is no answer but 503 (UH).

export interface LevelHealth {
  readonly total: number;
  readonly healthy: number;
}

export interface LevelLoad {
  /** Shares of the traffic that add up to 1, or all 0: nobody can take any. */
  readonly load: number;
  readonly panic: boolean;
}

const overprovisioning = 1.4;

export function levelLoads(levels: readonly LevelHealth[], panicPercent: number): LevelLoad[] {
  const ratio = levels.map(({ total, healthy }) => (total === 0 ? 0 : healthy / total));
  const capacity = ratio.map((value) => Math.min(1, value * overprovisioning));
  const sum = capacity.reduce((all, one) => all + one, 0);
  if (sum >= 1) {
    let left = 1;
    return capacity.map((value) => {
      const load = Math.min(left, value);
      left -= load;
      return { load, panic: false };
    });
  }
  const panic = ratio.map((value, i) => value * 100 < panicPercent && (levels[i] as LevelHealth).total > 0);
  if (sum > 0) return capacity.map((value, i) => ({ load: value / sum, panic: panic[i] as boolean }));
  // Nobody is healthy: levels in panic share by the number of their endpoints.
  const hosts = levels.reduce((all, { total }, i) => all + (panic[i] === true ? total : 0), 0);
  return levels.map(({ total }, i) => ({
    load: panic[i] === true ? total / hosts : 0,
    panic: panic[i] as boolean,
  }));
}
