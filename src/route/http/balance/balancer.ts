// Which endpoint of a destination takes a try. One object per destination; it is told of endpoints as they come, go and
// change their health, and builds only what the change touches. A choice costs a few draws, or a search by halves.
import type { Balancing, LoadBalancing, TrafficSettings } from '#/model/index.ts';
import type { Candidate, Place } from './candidate.ts';
import { Group, type GroupChoice } from './group.ts';
import { mix } from './hash.ts';
import { levelLoads, type LevelLoad } from './level-loads.ts';
import { placing, type Placing } from './placement.ts';

/** Endpoints of one priority, in the groups that share it. */
interface Level {
  readonly groups: Group[];
}

export interface PickRequest {
  /** From `hashKey`, for consistent hashing. */
  readonly hash?: number | undefined;
  /** For a retry: endpoints that were tried. Others are looked for a few times, then one of these will do. */
  readonly avoid?: ReadonlySet<string>;
  /** For PASSTHROUGH: the endpoint that the client addressed, if it addressed one. */
  readonly addressed?: string;
}

const leastRequest: Balancing = { kind: 'least-request' };
/** As upstream's `host_selection_retry_max_attempts`. */
const avoidAttempts = 5;
/** Envoy's overprovisioning, for the shares of localities. */
const overprovisioning = 1.4;

export class Balancer {
  readonly #here: Place;
  #settings: TrafficSettings;
  #service: LoadBalancing | undefined;
  #placing: Placing;
  readonly #candidates = new Map<
    string,
    { readonly candidate: Candidate; readonly group: Group | undefined }
  >();
  #levels: Level[] = [];
  #loads: readonly LevelLoad[] | undefined;
  /** Where round robin begins, so that waypoints that start together do not begin with the same endpoint. */
  readonly #turn: number;

  /** `service` is the service's own wish (trafficDistribution), `here` where the waypoint runs. */
  constructor(settings: TrafficSettings, service: LoadBalancing | undefined, here: Place, turn = 0) {
    this.#settings = settings;
    this.#service = service;
    this.#here = here;
    this.#turn = turn;
    this.#placing = placing(settings, service, here);
  }

  get size(): number {
    return this.#candidates.size;
  }

  /** New settings: endpoints are placed again. */
  configure(settings: TrafficSettings, service: LoadBalancing | undefined): void {
    if (settings === this.#settings && service === this.#service) return;
    this.#settings = settings;
    this.#service = service;
    this.#placing = placing(settings, service, this.#here);
    const all = [...this.#candidates.values()].map(({ candidate }) => candidate);
    this.#candidates.clear();
    this.#levels = [];
    for (const candidate of all) this.put(candidate);
  }

  /** Adds an endpoint, or replaces the one of that uid. */
  put(candidate: Candidate): void {
    this.remove(candidate.uid);
    const placement = this.#placing.place(candidate);
    const group = placement && this.#group(placement.level, placement.share);
    group?.add(candidate);
    this.#candidates.set(candidate.uid, { candidate, group });
    this.#loads = undefined;
  }

  remove(uid: string): void {
    const known = this.#candidates.get(uid);
    if (known === undefined) return;
    known.group?.remove(known.candidate);
    this.#candidates.delete(uid);
    this.#loads = undefined;
  }

  get(uid: string): Candidate | undefined {
    return this.#candidates.get(uid)?.candidate;
  }

  setHealthy(uid: string, healthy: boolean): void {
    const known = this.#candidates.get(uid);
    if (known === undefined || known.candidate.healthy === healthy) return;
    known.candidate.healthy = healthy;
    known.group?.healthChanged(known.candidate);
    this.#loads = undefined;
  }

  #group(level: number, share: number): Group {
    while (this.#levels.length <= level) this.#levels.push({ groups: [] });
    const { groups } = this.#levels[level] as Level;
    while (groups.length <= share) {
      // Without shares a level is one group that has all of it.
      const weight = this.#placing.shares.length === 0 ? 1 : (this.#placing.shares[groups.length] ?? 0);
      groups.push(new Group(weight, this.#turn));
    }
    return groups[share] as Group;
  }

  /** Undefined: nobody may take it (503, flag UH). */
  pick(request: PickRequest, random: () => number, now: number): Candidate | undefined {
    const balancing = this.#settings.balancing ?? leastRequest;
    if (balancing.kind === 'passthrough' && request.addressed !== undefined) {
      const addressed = this.get(request.addressed);
      if (addressed !== undefined) return addressed;
    }
    const hash = balancing.kind === 'hash' ? request.hash : undefined;
    const choice: GroupChoice = { balancing, warmUp: this.#settings.warmup, hash, random, now };
    const { avoid } = request;
    let picked = this.#pickOnce(choice);
    // A hash leads to the same endpoint again, so there is nothing to look for: upstream drops the rule there too.
    if (avoid === undefined || hash !== undefined) return picked;
    for (let i = 1; i < avoidAttempts && picked !== undefined && avoid.has(picked.uid); i++)
      picked = this.#pickOnce(choice);
    return picked;
  }

  #pickOnce(choice: GroupChoice): Candidate | undefined {
    const loads = (this.#loads ??= this.#computeLoads());
    const point = choice.hash === undefined ? choice.random() : mix(choice.hash ^ 0x5bd1e995) / 2 ** 32;
    let left = point;
    let chosen = -1;
    for (let i = 0; i < loads.length && left >= 0; i++) {
      const { load } = loads[i] as LevelLoad;
      if (load <= 0) continue;
      // Kept even if the sum stays a little below 1 by rounding: then the last level takes it.
      chosen = i;
      left -= load;
    }
    if (chosen < 0) return undefined;
    return this.#pickInLevel(this.#levels[chosen] as Level, (loads[chosen] as LevelLoad).panic, choice);
  }

  #pickInLevel({ groups }: Level, panic: boolean, choice: GroupChoice): Candidate | undefined {
    const [only] = groups;
    if (groups.length === 1 && only !== undefined) return only.pick(choice, panic);
    const shareOf = ({ share, total, healthy }: Group): number =>
      total === 0 ? 0 : share * (panic ? 1 : Math.min(1, (healthy / total) * overprovisioning));
    let sum = 0;
    for (const group of groups) sum += shareOf(group);
    const point = choice.hash === undefined ? choice.random() : mix(choice.hash ^ 0x27d4eb2f) / 2 ** 32;
    let left = point * sum;
    let last: Group | undefined;
    for (const group of groups) {
      const share = shareOf(group);
      if (share <= 0) continue;
      last = group;
      left -= share;
      if (left < 0) break;
    }
    return last?.pick(choice, panic);
  }

  #computeLoads(): readonly LevelLoad[] {
    // Levels without endpoints do not count, as Istio numbers only those that there are.
    const health = this.#levels.map(({ groups }) => {
      let total = 0;
      let healthy = 0;
      for (const group of groups) {
        total += group.total;
        healthy += group.healthy;
      }
      return { total, healthy };
    });
    return levelLoads(health, this.#settings.outliers?.minHealthPercent ?? 0);
  }

  /** Whether some level sends to the unhealthy as well. */
  get panicking(): boolean {
    return (this.#loads ??= this.#computeLoads()).some(({ panic }) => panic);
  }
}
