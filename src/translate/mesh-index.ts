// The incremental engine: holds the facts of all objects, knows which translation has read what, and after a change
// runs those again and no others. Plain computing: no timers, no I/O; the caller decides when it works and for how long.
import { policyKey, serviceKey, waypointResourceName } from '#/model/index.ts';
import { translateAuthorizationPolicy } from './authorization-policy.ts';
import { translateEndpointSlice } from './endpoint-slice.ts';
import type { FactsStore } from './facts-store.ts';
import { translateGateway } from './gateway-records.ts';
import { translateMeshSettings } from './http/mesh-settings.ts';
import { waypointTranslations } from './http/translations.ts';
import type { ParentStatus, WaypointRecord } from './http/waypoint-record.ts';
import {
  kinds,
  kindsOnDemand,
  mark,
  readFacts,
  type FactsByKind,
  type Kind,
  type KindOnDemand,
} from './kinds.ts';
import type { Lookup } from './lookup.ts';
import { label } from './names.ts';
import { objectKey, type SourceObject } from './object.ts';
import { translateMesh, translatePeerAuthentication } from './peer-authentication.ts';
import { translatePod } from './pod.ts';
import { Readers } from './readers.ts';
import { RecordedLookup } from './recorded-lookup.ts';
import { sameJson } from './same-json.ts';
import { translateService } from './service.ts';
import { translateServiceEntry } from './service-entry.ts';
import type { MeshSettings } from './settings.ts';
import { makeStores, type Stores } from './stores.ts';
import {
  emptyTranslation,
  type MeshRecord,
  type NetworkGateway,
  type Problem,
  type Translation,
  type WantedCondition,
} from './translation.ts';
import { translateWorkloadEntry } from './workload-entry.ts';

type Translate<F> = (facts: F, lookup: Lookup) => Translation;

/** Kinds that give something of their own; the others are only looked up. */
const translations: { readonly [K in Kind]?: Translate<FactsByKind[K]> } = {
  Gateway: translateGateway,
  Service: translateService,
  ServiceEntry: translateServiceEntry,
  EndpointSlice: translateEndpointSlice,
  Pod: translatePod,
  WorkloadEntry: translateWorkloadEntry,
  AuthorizationPolicy: translateAuthorizationPolicy,
  PeerAuthentication: translatePeerAuthentication,
  ...waypointTranslations,
};

/** An object whose translation gives records, conditions or problems. */
export interface Origin {
  readonly kind: Kind | 'Mesh';
  /** `ns/name`. */
  readonly key: string;
}

export type RecordTable = 'address' | 'policy' | 'waypoint';

/** Where results go. Records may come again though nothing is new; who keeps them compares. */
export interface MeshOutput {
  /** `global`: a service that other clusters may use. */
  upsert(record: MeshRecord, name: string, global: boolean): void;
  upsertWaypoint?(record: WaypointRecord, name: string): void;
  remove(table: RecordTable, name: string): void;
  /** Called when they differ from those of the last call; an empty list at the end. */
  conditions?(origin: Origin, conditions: readonly WantedCondition[]): void;
  problems?(origin: Origin, problems: readonly Problem[]): void;
  /** Of routes; as `conditions`. */
  parents?(origin: Origin, parents: readonly ParentStatus[]): void;
  /** An object of a kind on demand is referred to now, or no longer: follow it, or forget it. */
  needs?(kind: KindOnDemand, key: string, needed: boolean): void;
  networkGateways?(origin: Origin, gateways: readonly NetworkGateway[]): void;
}

interface Source extends Origin {
  /** Questions that the last run has asked. */
  questions: readonly number[];
  /** What it gave: `address:` or `policy:` and the name. */
  names: readonly string[];
  conditions: readonly WantedCondition[];
  problems: readonly Problem[];
  parents: readonly ParentStatus[];
  networkGateways: readonly NetworkGateway[];
}

const nothing: readonly never[] = [];

function tableName(record: MeshRecord): string {
  if (!('kind' in record)) return `policy:${policyKey(record)}`;
  return `address:${record.kind === 'workload' ? record.uid : serviceKey(record)}`;
}

export class MeshIndex {
  readonly #output: MeshOutput;
  readonly #stores: Stores;
  readonly #lookup: RecordedLookup;
  readonly #readers = new Readers({
    asked: (question) => this.#needs(question, true),
    forgotten: (question) => this.#needs(question, false),
  });
  readonly #ids = new Map<string, number>();
  readonly #sources: (Source | undefined)[] = [];
  readonly #free: number[] = [];
  readonly #dirty = new Set<number>();
  /** Which source gave a record last: when two do so in turn, the one that ends must not remove the other's. */
  readonly #owners = new Map<string, number>();
  /** Names that their object has given up. They are removed at the end of a round, unless another has taken them. */
  readonly #givenUp = new Set<string>();
  #asked: number[] = [];
  /** Per question, the run that asked last, so that a question counts once per run. */
  readonly #askedIn: number[] = [];
  #run = 0;

  constructor(settings: MeshSettings, output: MeshOutput) {
    this.#output = output;
    this.#stores = makeStores(settings.clusterDomain);
    this.#lookup = new RecordedLookup(this.#stores, settings, (question) => this.#ask(question));
    this.#dirty.add(this.#source('Mesh', 'mesh'));
  }

  /** An object that is new or has changed. */
  set(kind: Kind, object: SourceObject): void {
    this.setFacts(kind, readFacts(kind, object));
  }

  /** The same with what `readFacts` gave. Facts that are equal to the ones at hand change nothing. */
  setFacts<K extends Kind>(kind: K, facts: FactsByKind[K]): void {
    const key = objectKey(facts);
    const store: FactsStore<FactsByKind[K]> = this.#stores[kind];
    const old = store.get(key);
    if (old !== undefined && sameJson(old, facts)) return;
    this.#touch(store.set(facts), mark.object(kind, key));
    if (translations[kind] !== undefined) this.#dirty.add(this.#source(kind, key));
  }

  delete(kind: Kind, key: string): void {
    const store = this.#stores[kind];
    if (store.get(key) === undefined) return;
    this.#touch(store.delete(key), mark.object(kind, key));
    const id = this.#ids.get(`${kind}/${key}`);
    if (id !== undefined) this.#dirty.add(id);
  }

  facts<K extends Kind>(kind: K, key: string): FactsByKind[K] | undefined {
    return this.#stores[kind].get(key);
  }

  all<K extends Kind>(kind: K): Iterable<FactsByKind[K]> {
    return this.#stores[kind].values();
  }

  /** Service accounts of the pods that are labelled as a Gateway's. */
  gatewayAccounts(namespace: string, gateway: string): ReadonlySet<string> {
    const pods = this.#stores.Pod.marked(mark.gatewayPods(namespace, gateway));
    return new Set([...pods].map(({ serviceAccount }) => serviceAccount));
  }

  count(kind: Kind): number {
    return this.#stores[kind].size;
  }

  get settings(): MeshSettings {
    return this.#lookup.mesh;
  }

  /** New settings: everything runs again. The cluster domain cannot change. */
  reconfigure(settings: MeshSettings): void {
    if (sameJson(this.#lookup.mesh, settings)) return;
    this.#lookup.mesh = settings;
    this.again();
  }

  /** Everything runs again. */
  again(): void {
    for (const id of this.#ids.values()) this.#dirty.add(id);
  }

  /** The network that the system namespace says this cluster is in; empty if it says none. */
  get network(): string {
    return this.facts('Namespace', this.settings.systemNamespace)?.labels[label.network] ?? '';
  }

  /** How many translations have run since the start. */
  get translations(): number {
    return this.#run;
  }

  /** How many translations are waiting. */
  get pending(): number {
    return this.#dirty.size;
  }

  /** For measurements: objects, questions and records that are held. */
  get sizes(): { readonly objects: number; readonly questions: number; readonly records: number } {
    const objects = kinds.reduce((sum, kind) => sum + this.#stores[kind].size, 0);
    return { objects, questions: this.#readers.size, records: this.#owners.size };
  }

  /** Runs what is waiting until `pause` says true (asked after each). True when nothing is left. */
  work(pause: () => boolean = () => false): boolean {
    for (const id of this.#dirty) {
      this.#dirty.delete(id);
      this.#translate(id);
      if (this.#dirty.size > 0 && pause()) return false;
    }
    for (const name of this.#givenUp) {
      const colon = name.indexOf(':');
      this.#output.remove(name.slice(0, colon) as RecordTable, name.slice(colon + 1));
    }
    this.#givenUp.clear();
    return true;
  }

  /** The origins with problems, for a page of diagnosis. */
  *problems(): Iterable<{ readonly origin: Origin; readonly problems: readonly Problem[] }> {
    for (const source of this.#sources)
      if (source !== undefined && source.problems.length > 0)
        yield { origin: { kind: source.kind, key: source.key }, problems: source.problems };
  }

  #source(kind: Kind | 'Mesh', key: string): number {
    const name = `${kind}/${key}`;
    const known = this.#ids.get(name);
    if (known !== undefined) return known;
    const id = this.#free.pop() ?? this.#sources.length;
    this.#ids.set(name, id);
    this.#sources[id] = {
      kind,
      key,
      questions: nothing,
      names: nothing,
      conditions: nothing,
      problems: nothing,
      parents: nothing,
      networkGateways: nothing,
    };
    return id;
  }

  #needs(question: string, needed: boolean): void {
    for (const kind of kindsOnDemand)
      if (question.startsWith(kind) && question[kind.length] === '/')
        this.#output.needs?.(kind, question.slice(kind.length + 1), needed);
  }

  #touch(marks: ReadonlySet<string>, object: string): void {
    const visit = (reader: number) => this.#dirty.add(reader);
    this.#readers.of(object, visit);
    for (const each of marks) this.#readers.of(each, visit);
  }

  #ask(question: string): void {
    const id = this.#readers.id(question);
    if (this.#askedIn[id] === this.#run) return;
    this.#askedIn[id] = this.#run;
    this.#asked.push(id);
  }

  #translate(id: number): void {
    const source = this.#sources[id];
    if (source === undefined) return;
    this.#run++;
    this.#asked = [];
    const result = this.#resultOrFault(source);
    for (const question of this.#asked) this.#readers.add(question, id);
    for (const question of source.questions)
      if (this.#askedIn[question] !== this.#run) this.#readers.drop(question, id);
    source.questions = this.#asked;
    if (typeof result === 'string') {
      this.#fault(source, result);
      return;
    }
    this.#publish(source, id, result ?? emptyTranslation);
    if (result === undefined) {
      this.#sources[id] = undefined;
      this.#ids.delete(`${source.kind}/${source.key}`);
      this.#free.push(id);
    }
  }

  /** A fault of ours with one object must not stop the others: its text, in that case. */
  #resultOrFault(source: Source): Translation | string | undefined {
    try {
      return this.#result(source);
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }

  #fault(source: Source, text: string): void {
    source.problems = [{ field: '', reason: `cannot be translated, its last form is kept: ${text}` }];
    this.#output.problems?.({ kind: source.kind, key: source.key }, source.problems);
  }

  /** Undefined if the object is gone. */
  #result(source: Source): Translation | undefined {
    if (source.kind === 'Mesh') return this.#mesh();
    return this.#resultOf(source.kind, source.key);
  }

  #mesh(): Translation {
    const policies = translateMesh(this.#lookup);
    const settings = translateMeshSettings(this.#lookup);
    return { ...policies, ...settings };
  }

  #resultOf<K extends Kind>(kind: K, key: string): Translation | undefined {
    const facts = this.#stores[kind].get(key);
    return facts === undefined ? undefined : translations[kind]?.(facts, this.#lookup);
  }

  #publish(source: Source, id: number, translation: Translation): void {
    const { records, conditions, problems, waypoint = nothing, parents = nothing } = translation;
    const { global = false, networkGateways = nothing } = translation;
    const names = records.map(tableName);
    records.forEach((record, i) => {
      const name = names[i] as string;
      this.#owners.set(name, id);
      this.#givenUp.delete(name);
      this.#output.upsert(record, name.slice(name.indexOf(':') + 1), global);
    });
    for (const record of waypoint) {
      const name = waypointResourceName(record.resource);
      names.push(`waypoint:${name}`);
      this.#owners.set(`waypoint:${name}`, id);
      this.#givenUp.delete(`waypoint:${name}`);
      this.#output.upsertWaypoint?.(record, name);
    }
    for (const name of source.names) {
      if (names.includes(name) || this.#owners.get(name) !== id) continue;
      this.#owners.delete(name);
      this.#givenUp.add(name);
    }
    if (!sameJson(source.networkGateways, networkGateways)) {
      source.networkGateways = networkGateways;
      this.#output.networkGateways?.({ kind: source.kind, key: source.key }, networkGateways);
    }
    source.names = names.length === 0 ? nothing : names;
    if (!sameJson(source.conditions, conditions)) {
      source.conditions = conditions;
      this.#output.conditions?.({ kind: source.kind, key: source.key }, conditions);
    }
    if (!sameJson(source.problems, problems)) {
      source.problems = problems;
      this.#output.problems?.({ kind: source.kind, key: source.key }, problems);
    }
    if (!sameJson(source.parents, parents)) {
      source.parents = parents;
      this.#output.parents?.({ kind: source.kind, key: source.key }, parents);
    }
  }
}
