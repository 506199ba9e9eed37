// Endpoints that are treated alike: one level, or one locality's share of it. What a choice needs is built from them
// when it is asked for after a change, so that many changes between two requests cost one.
import type { Balancing } from '#/model/index.ts';
import type { Candidate } from './candidate.ts';
import { Draw } from './draw.ts';
import { maglev, ringHash, type HashTable } from './hash-table.ts';
import { warmUpFactor, type WarmUp } from './warm-up.ts';

export interface GroupChoice {
  readonly balancing: Balancing;
  readonly warmUp: WarmUp | undefined;
  /** Of the request, for consistent hashing. */
  readonly hash: number | undefined;
  readonly random: () => number;
  readonly now: number;
}

/** Hash tables cost milliseconds for thousands of endpoints: no more than one in this time, whatever comes and goes. */
const tableLifeMs = 100;
/** Draws that meet an endpoint that is still warming up are repeated so often at most. */
const warmUpDraws = 4;

export class Group {
  readonly share: number;
  readonly #members = new Set<Candidate>();
  #healthy = 0;
  #draws: { healthy?: Draw; all?: Draw } = {};
  #table: HashTable | undefined;
  #tableFor: Balancing | undefined;
  #tableAt = 0;
  #tableStale = true;
  /** The last arrival, for warm-up. */
  #latest = Number.NEGATIVE_INFINITY;
  #turn: number;

  constructor(share: number, turn: number) {
    this.share = share;
    this.#turn = turn;
  }

  get total(): number {
    return this.#members.size;
  }

  get healthy(): number {
    return this.#healthy;
  }

  add(candidate: Candidate): void {
    this.#members.add(candidate);
    if (candidate.healthy) this.#healthy++;
    if (candidate.since !== undefined) this.#latest = Math.max(this.#latest, candidate.since);
    this.#draws = {};
    this.#tableStale = true;
  }

  remove(candidate: Candidate): void {
    if (!this.#members.delete(candidate)) return;
    if (candidate.healthy) this.#healthy--;
    this.#draws = {};
    this.#tableStale = true;
  }

  /** The candidate's `healthy` has just changed. Hash tables hold all endpoints and stay. */
  healthChanged(candidate: Candidate): void {
    this.#healthy += candidate.healthy ? 1 : -1;
    this.#draws = {};
  }

  /** `panic`: the unhealthy are chosen as well. */
  pick(choice: GroupChoice, panic: boolean): Candidate | undefined {
    if ((panic ? this.#members.size : this.#healthy) === 0) return undefined;
    const { balancing, hash, random } = choice;
    if (balancing.kind === 'hash' && hash !== undefined) {
      const usable = (candidate: Candidate): boolean =>
        (panic || candidate.healthy) && this.#members.has(candidate);
      const found = this.#tableOf(balancing, choice.now).find(hash, usable);
      if (found !== undefined || !this.#tableStale) return found;
      // All that the old table knows are gone or ill, and somebody new is there.
      return this.#tableOf(balancing, Number.POSITIVE_INFINITY).find(hash, usable);
    }
    const draw = this.#draw(panic);
    switch (balancing.kind) {
      case 'round-robin':
        return this.#warm(choice, () => draw.inTurn(this.#turn++));
      case 'least-request': {
        const one = this.#warm(choice, () => draw.at(random()));
        const other = this.#warm(choice, () => draw.at(random()));
        return one !== undefined && other !== undefined && busier(one, other) ? other : one;
      }
      case 'random':
      case 'passthrough':
      case 'hash':
        return draw.at(random());
    }
  }

  #draw(panic: boolean): Draw {
    if (panic) return (this.#draws.all ??= new Draw([...this.#members]));
    return (this.#draws.healthy ??= new Draw([...this.#members].filter(({ healthy }) => healthy)));
  }

  /** As Envoy, for round robin and least request only. */
  #warm({ warmUp, now, random }: GroupChoice, draw: () => Candidate | undefined): Candidate | undefined {
    let drawn = draw();
    if (warmUp === undefined || now >= this.#latest + warmUp.durationMs) return drawn;
    for (let i = 1; i < warmUpDraws && drawn !== undefined; i++) {
      const factor = warmUpFactor(warmUp, drawn.since, now);
      if (factor >= 1 || random() < factor) break;
      drawn = draw();
    }
    return drawn;
  }

  #tableOf(balancing: Extract<Balancing, { kind: 'hash' }>, now: number): HashTable {
    const wrongKind = this.#tableFor !== balancing;
    if (this.#table === undefined || wrongKind || (this.#tableStale && now >= this.#tableAt + tableLifeMs)) {
      const members = [...this.#members].toSorted((a, b) => (a.uid < b.uid ? -1 : 1));
      this.#table =
        balancing.ring === 'maglev' ? maglev(members) : ringHash(members, balancing.minimumRingSize);
      this.#tableFor = balancing;
      if (Number.isFinite(now)) this.#tableAt = now;
      this.#tableStale = false;
    }
    return this.#table;
  }
}

/** By requests for each unit of weight. Weights have had their say in the draw: between idle ones the first drawn wins. */
const busier = (one: Candidate, other: Candidate): boolean =>
  one.activeRequests * Math.max(1, other.weight) > other.activeRequests * Math.max(1, one.weight);
