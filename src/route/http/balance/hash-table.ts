// Consistent hashing: a request's hash to an endpoint, such that an endpoint that comes or goes moves few others.
// The tables hold all endpoints, healthy or not: a look-up walks on from one that may not be used, so that a change of
// health builds nothing, and only the requests of that endpoint move.
import type { Candidate } from './candidate.ts';
import { hashText, mix } from './hash.ts';

export interface HashTable {
  /** Undefined: no endpoint is usable. */
  find(hash: number, usable: (candidate: Candidate) => boolean): Candidate | undefined;
}

const weightOf = ({ weight }: Candidate): number => (weight > 0 ? weight : 0);

/** So many unusable points in a row mean that nearly all are: then the list is walked instead. */
const longestWalk = 256;

function anyUsable(
  members: readonly Candidate[],
  hash: number,
  usable: (candidate: Candidate) => boolean,
): Candidate | undefined {
  for (let i = 0; i < members.length; i++) {
    const member = members[(hash + i) % members.length] as Candidate;
    if (usable(member)) return member;
  }
  return undefined;
}

/** Envoy allows 8 388 608; a ring of a million points takes 12 MB and a tenth of a second to sort. */
const largestRing = 1 << 20;

/** Ketama: each endpoint has points by its weight, `minimumSize` or more together; the next point takes the request. */
export function ringHash(members: readonly Candidate[], minimumSize: number): HashTable {
  const total = members.reduce((sum, member) => sum + weightOf(member), 0);
  const size = Math.min(largestRing, Math.max(minimumSize, members.length));
  // Point and owner in one number: the sort of a typed array is many times faster than one with a function.
  const owners = 2 ** Math.ceil(Math.log2(Math.max(2, members.length)));
  const encoded: number[] = [];
  members.forEach((member, owner) => {
    const points = total === 0 ? 1 : Math.round((size * weightOf(member)) / total);
    // At least one, or a light endpoint would get nothing at all.
    for (let i = 0; i < Math.max(weightOf(member) > 0 || total === 0 ? 1 : 0, points); i++)
      encoded.push(hashText(`${member.uid}_${i}`) * owners + owner);
  });
  const ring = Float64Array.from(encoded).sort();
  return {
    find(hash, usable) {
      if (ring.length === 0) return undefined;
      const wanted = hash * owners;
      let low = 0;
      let high = ring.length;
      while (low < high) {
        const middle = (low + high) >> 1;
        if ((ring[middle] as number) < wanted) low = middle + 1;
        else high = middle;
      }
      for (let i = 0; i < Math.min(ring.length, longestWalk); i++) {
        const point = ring[(low + i) % ring.length] as number;
        const member = members[point % owners] as Candidate;
        if (usable(member)) return member;
      }
      return anyUsable(members, hash, usable);
    },
  };
}

/** Envoy's default; a prime. */
const maglevSize = 65_537;

/** Maglev (Eisenbud et al., 2016): endpoints fill a table in turn, each by its own permutation, the heavier more often. */
export function maglev(members: readonly Candidate[]): HashTable {
  const table = new Int32Array(maglevSize).fill(-1);
  const heaviest = members.reduce((most, member) => Math.max(most, weightOf(member)), 0);
  // Sorted, so that every waypoint fills the table alike.
  const order = members
    .map((member, index) => ({ member, index }))
    .filter(({ member }) => heaviest === 0 || weightOf(member) > 0)
    .toSorted((a, b) => (a.member.uid < b.member.uid ? -1 : 1))
    .slice(0, maglevSize);
  const positions = order.map(({ member }) => hashText(member.uid) % maglevSize);
  const steps = order.map(({ member }) => (hashText(member.uid, 0x9e3779b9) % (maglevSize - 1)) + 1);
  const credit = order.map(() => 0);
  let filled = 0;
  while (filled < maglevSize && order.length > 0)
    for (let i = 0; i < order.length && filled < maglevSize; i++) {
      const { member, index } = order[i] as (typeof order)[number];
      credit[i] = (credit[i] as number) + (heaviest === 0 ? 1 : weightOf(member) / heaviest);
      if ((credit[i] as number) < 1) continue;
      credit[i] = (credit[i] as number) - 1;
      let position = positions[i] as number;
      while (table[position] !== -1) position = (position + (steps[i] as number)) % maglevSize;
      table[position] = index;
      positions[i] = (position + (steps[i] as number)) % maglevSize;
      filled++;
    }
  return {
    find(hash, usable) {
      if (order.length === 0) return undefined;
      // Other places of the table first, so that the requests of one endpoint spread over many.
      for (let attempt = 0, at = hash; attempt < 16; attempt++, at = mix(at + attempt)) {
        const member = members[table[at % maglevSize] as number] as Candidate;
        if (usable(member)) return member;
      }
      return anyUsable(members, hash, usable);
    },
  };
}
