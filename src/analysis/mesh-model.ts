// The mesh that follows from a set of objects: records as the proxies get them, what status would say, and for each
// record the object that it comes from.
import { MeshStore } from '#/state/index.ts';
import {
  kinds,
  MeshIndex,
  PlainLookup,
  podUid,
  serviceHostname,
  type BindingProblem,
  type Kind,
  type MeshRecord,
  type MeshSettings,
  type ParentStatus,
  type Problem,
  type WantedCondition,
  type WaypointRecord,
} from '#/translate/index.ts';
import type { Policy, Service, Workload } from '#/model/index.ts';
import { withAssumptions } from './assume.ts';
import { documentKey, keyOf, placeOf, type Place, type SourceDocument } from './document.ts';
import { labels, type Labels } from './fields.ts';
import { annotations, type Eligibility, type Enrolment } from './names.ts';
import { WaypointConfig } from './waypoint-config.ts';

export interface MeshInput {
  readonly documents: readonly SourceDocument[];
  readonly settings: MeshSettings;
  readonly enrolment: Enrolment;
  /** The objects are those of a running cluster: nothing is assumed, and their status counts. */
  readonly live: boolean;
}

const isKind = (kind: string): kind is Kind => (kinds as readonly string[]).includes(kind);

/** `networking.istio.io` has a Gateway of its own, which is none of ours. */
const isForeign = ({ kind, object }: SourceDocument): boolean =>
  kind === 'Gateway' && object.apiVersion?.startsWith('networking.istio.io/') === true;

export class MeshModel {
  readonly input: MeshInput;
  readonly settings: MeshSettings;
  readonly store = new MeshStore();
  readonly lookup: PlainLookup;
  readonly documents = new Map<string, SourceDocument>();
  /** Given twice; the last one counts. */
  readonly duplicates: SourceDocument[] = [];
  readonly conditions = new Map<string, readonly WantedCondition[]>();
  readonly problems = new Map<string, readonly Problem[]>();
  /** Of routes: what their status says of each parent. */
  readonly parents = new Map<string, readonly ParentStatus[]>();
  /** What waypoints are told, by name on the wire. */
  readonly waypointRecords = new Map<string, WaypointRecord>();
  readonly #configs = new Map<string, WaypointConfig>();
  readonly #byKind = new Map<string, SourceDocument[]>();

  constructor(input: MeshInput) {
    this.input = input;
    this.settings = input.settings;
    this.lookup = new PlainLookup(input.settings);
    const records = new Map<string, MeshRecord>();
    const index = new MeshIndex(input.settings, {
      upsert: (record, name) => records.set(`${'kind' in record ? 'address' : 'policy'}:${name}`, record),
      upsertWaypoint: (record, name) => this.waypointRecords.set(name, record),
      remove: (table, name) =>
        table === 'waypoint' ? this.waypointRecords.delete(name) : records.delete(`${table}:${name}`),
      conditions: (origin, list) => this.conditions.set(`${origin.kind} ${origin.key}`, list),
      problems: (origin, list) => this.problems.set(`${origin.kind} ${origin.key}`, list),
      parents: (origin, list) => this.parents.set(`${origin.kind} ${origin.key}`, list),
    });
    const all = input.live
      ? input.documents
      : withAssumptions(input.documents, input.enrolment, input.settings.clusterDomain);
    for (const document of all) {
      const key = isForeign(document) ? `networking.istio.io/${keyOf(document)}` : keyOf(document);
      const before = this.documents.get(key);
      if (before !== undefined) this.duplicates.push(before);
      this.documents.set(key, document);
    }
    for (const document of this.documents.values()) {
      const list = this.#byKind.get(document.kind);
      if (list === undefined) this.#byKind.set(document.kind, [document]);
      else list.push(document);
      if (!isKind(document.kind) || isForeign(document)) continue;
      index.set(document.kind, document.object);
      const facts = index.facts(document.kind, documentKeyOf(document));
      if (facts !== undefined) this.lookup.set(document.kind, facts);
    }
    index.work();
    const addresses = [...records.values()].filter(
      (record): record is Workload | Service => 'kind' in record,
    );
    const policies = [...records.values()].filter((record): record is Policy => !('kind' in record));
    this.store.apply({ addresses, policies });
  }

  get live(): boolean {
    return this.input.live;
  }

  /** What the waypoint of this Gateway (`ns/name`) does. */
  waypointConfig(gateway: string): WaypointConfig {
    let config = this.#configs.get(gateway);
    if (config === undefined) {
      config = new WaypointConfig(gateway, this.waypointRecords.values());
      this.#configs.set(gateway, config);
    }
    return config;
  }

  /** In the order in which they were given. */
  all(kind: string): readonly SourceDocument[] {
    return this.#byKind.get(kind) ?? [];
  }

  document(kind: string, namespace: string, name: string): SourceDocument | undefined {
    return this.documents.get(documentKey(kind, namespace, name));
  }

  place(kind: string, namespace: string, name: string, field?: string): Place {
    const document = this.document(kind, namespace, name);
    if (document !== undefined) return placeOf(document, field);
    return { kind, namespace, name, ...(field === undefined ? {} : { field }) };
  }

  namespaceLabels(namespace: string): Labels {
    return this.lookup.namespace(namespace)?.labels ?? {};
  }

  /** What the node agent would say of a pod. */
  eligibility(pod: SourceDocument): Eligibility {
    return this.input.enrolment(pod.object, this.namespaceLabels(pod.namespace));
  }

  isCaptured(pod: SourceDocument): boolean {
    return labels(pod.object, 'metadata', 'annotations')[annotations.redirection] === 'enabled';
  }

  workloadOf(pod: SourceDocument): Workload | undefined {
    return this.store.workloadByUid(podUid(this.settings.clusterId, pod.namespace, pod.name));
  }

  /** The pod behind a workload's record. */
  podOf(workload: Workload): SourceDocument | undefined {
    const pod = this.document('Pod', workload.namespace, workload.name);
    return pod !== undefined && this.workloadOf(pod)?.uid === workload.uid ? pod : undefined;
  }

  serviceRecord(namespace: string, name: string): Service | undefined {
    const hostname = serviceHostname({ namespace, name }, this.settings.clusterDomain);
    return this.store.serviceByKey(`${namespace}/${hostname}`);
  }

  /** The object behind a service's record. */
  serviceDocument(service: Service): SourceDocument | undefined {
    const own = this.document('Service', service.namespace, service.name);
    const hostname = serviceHostname(service, this.settings.clusterDomain);
    if (own !== undefined && service.hostname === hostname) return own;
    return this.all('ServiceEntry').find(
      (entry) =>
        entry.namespace === service.namespace &&
        this.lookup.serviceEntry(entry.namespace, entry.name)?.hosts.includes(service.hostname) === true,
    );
  }

  /** Why a service is not bound to the waypoint that it asks for. */
  bindingProblem(document: SourceDocument): BindingProblem | undefined {
    const told = this.conditions
      .get(keyOf(document))
      ?.find(({ type, status }) => type === 'istio.io/WaypointBound' && !status);
    return told === undefined
      ? undefined
      : { reason: told.reason as BindingProblem['reason'], message: told.message };
  }
}

const documentKeyOf = ({ namespace, name }: SourceDocument): string =>
  namespace === '' ? name : `${namespace}/${name}`;
