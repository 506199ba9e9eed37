// Finds the series of a request without making its labels: by the objects of source and destination, then by a number
// made of code, gRPC status and flags. The labels' text is made once per series.
import type { Workload } from '#/model/index.ts';
import type { HttpExchangeRecord } from './exchange-record.ts';
import { peerValues, type Peers } from './http-labels.ts';
import type { Series } from './http-series.ts';
import type { MetricGroup } from './metric-plan.ts';
import { flagsText, type HttpResponseFlag } from './response-flags.ts';

export interface PeerEntry {
  readonly peers: Peers;
  readonly values: readonly string[];
  /** By group, then by answerKey. Series of groups without values from CEL. */
  readonly series: Map<MetricGroup, Map<number, Series>>;
}

const maxFlagSets = 1024;
const flagSets = new Map<string, number>([['-', 0]]);

function flagSetId(flags: readonly HttpResponseFlag[]): number {
  if (flags.length === 0) return 0;
  const text = flagsText(flags);
  const known = flagSets.get(text);
  if (known !== undefined) return known;
  // The engine knows few sets; beyond the limit none is kept.
  if (flagSets.size >= maxFlagSets) return -1;
  flagSets.set(text, flagSets.size);
  return flagSets.size - 1;
}

/** One number for code, gRPC status, protocol and flags; undefined if it cannot be kept. */
export function answerKey({ responseCode, grpc, grpcStatus, flags }: HttpExchangeRecord): number | undefined {
  const set = flagSetId(flags);
  if (set < 0 || responseCode < 0 || responseCode > 999) return undefined;
  let status = 0;
  if (grpc && grpcStatus !== undefined) status = grpcStatus >= 0 && grpcStatus <= 16 ? grpcStatus + 1 : 18;
  return ((set * 19 + status) * 2 + (grpc ? 1 : 0)) * 1000 + responseCode;
}

const same = (a: Peers, b: Peers): boolean =>
  a.service === b.service &&
  a.sourceIdentity === b.sourceIdentity &&
  a.destinationIdentity === b.destinationIdentity &&
  a.mutualTls === b.mutualTls;

// Per pair of workloads: the few variants (service, identity) that were seen last.
const variants = 8;
const unknownWorkload = {};

/** Entries per pair of workloads. They go with the workloads' records, and all at once when there are too many. */
export class PeerTable {
  readonly #limit: number;
  #pairs = 0;
  #entries = new WeakMap<object, WeakMap<object, PeerEntry[]>>();

  constructor(limit: number) {
    this.#limit = limit;
  }

  find(record: Peers): PeerEntry {
    const from: Workload | object = record.source ?? unknownWorkload;
    const to: Workload | object = record.destination ?? unknownWorkload;
    const found = this.#entries.get(from)?.get(to);
    if (found !== undefined) for (const one of found) if (same(one.peers, record)) return one;
    const seen = found ?? this.#add(from, to);
    const { source, destination, service, sourceIdentity, destinationIdentity, mutualTls } = record;
    const peers = { source, destination, service, sourceIdentity, destinationIdentity, mutualTls };
    const made = { peers, values: peerValues(peers), series: new Map() };
    if (seen.length >= variants) seen.shift();
    seen.push(made);
    return made;
  }

  #add(from: object, to: object): PeerEntry[] {
    if (++this.#pairs > this.#limit) {
      this.#pairs = 1;
      this.#entries = new WeakMap();
    }
    let ofSource = this.#entries.get(from);
    if (ofSource === undefined) this.#entries.set(from, (ofSource = new WeakMap()));
    const seen: PeerEntry[] = [];
    ofSource.set(to, seen);
    return seen;
  }
}
