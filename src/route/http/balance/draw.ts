// A weighted draw among a fixed list: in constant time if the weights are equal, else by binary search.
import type { Candidate } from './candidate.ts';

/** The golden ratio's fraction: multiples of it are spread as evenly as any sequence can be. */
const golden = 0.618_033_988_749_894_8;

export class Draw {
  readonly members: readonly Candidate[];
  readonly #upTo: Float64Array | undefined;
  readonly #total: number;

  constructor(members: readonly Candidate[]) {
    this.members = members;
    const weight = members[0]?.weight ?? 0;
    if (members.every((member) => member.weight === weight)) {
      this.#total = members.length;
      return;
    }
    this.#upTo = new Float64Array(members.length);
    let total = 0;
    for (let i = 0; i < members.length; i++) {
      total += Math.max(0, (members[i] as Candidate).weight);
      this.#upTo[i] = total;
    }
    this.#total = total;
  }

  /** `point` in [0, 1). */
  at(point: number): Candidate | undefined {
    const { members } = this;
    const upTo = this.#upTo;
    if (upTo === undefined) return members[Math.min(members.length - 1, Math.floor(point * members.length))];
    const wanted = point * this.#total;
    let low = 0;
    let high = members.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((upTo[middle] as number) > wanted) high = middle;
      else low = middle + 1;
    }
    return members[low];
  }

  /**
   * By turn. Equal weights: one after the other. Otherwise a sequence of low discrepancy over the weights: at any time
   * each has had its share within a few requests, without a queue to keep in order.
   */
  inTurn(turn: number): Candidate | undefined {
    if (this.#upTo === undefined) return this.members[turn % this.members.length];
    return this.at((turn * golden) % 1);
  }
}
