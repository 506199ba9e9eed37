// What the control plane has told of L7, in one state: routes and settings as compiled tables, and what is attached to
// services, workloads and the waypoint, looked up by target. A change that does not touch attachments leaves them be.
import {
  appliesTo,
  waypointResourceName,
  type AttachmentTarget,
  type DestinationPolicy,
  type Extension,
  type HttpPolicy,
  type Provider,
  type RequestAuthentication,
  type ServiceKey,
  type SubsetMembers,
  type Telemetry,
  type TrafficPolicy,
  type WaypointMesh,
  type WaypointResource,
  type WaypointResourceKind,
} from '#/model/index.ts';
import {
  compileRetry,
  defaultRetry,
  DestinationSettings,
  HttpRouteTables,
  TcpRouteTables,
  type RetryPolicy,
} from '#/route/index.ts';
import type { ResourceDelta } from '../../messages.ts';

type Attached = HttpPolicy | RequestAuthentication | Telemetry | TrafficPolicy | Extension;
const attachedKinds: readonly WaypointResourceKind[] = [
  'http-policy',
  'request-authentication',
  'telemetry',
  'traffic-policy',
  'extension',
] satisfies readonly Attached['kind'][];

const isAttached = (resource: WaypointResource): resource is Attached =>
  attachedKinds.includes(resource.kind);

/** Until the control plane has told of the mesh. */
const unknownMesh: WaypointMesh = {
  kind: 'waypoint-mesh',
  name: 'mesh',
  trustDomain: 'cluster.local',
  trustDomainAliases: [],
  rootNamespace: 'istio-system',
  meshId: '',
  accessLogFile: '',
  accessLogFormat: '',
  accessLogEncoding: 'TEXT',
  defaultProviders: { accessLogging: [], metrics: [], tracing: [] },
  connectTimeoutMs: 10_000,
  hboneIdleTimeoutMs: 3_600_000,
};

export interface AttachedResources {
  readonly policies: readonly HttpPolicy[];
  readonly authentications: readonly RequestAuthentication[];
  readonly trafficPolicies: readonly TrafficPolicy[];
  readonly extensions: readonly Extension[];
}

export class Resources {
  readonly routes = new HttpRouteTables();
  readonly tcpRoutes = new TcpRouteTables();
  readonly settings = new DestinationSettings();
  readonly #attached = new Map<string, Attached>();
  readonly #subsets = new Map<string, SubsetMembers>();
  readonly #providers = new Map<string, Provider>();
  /** By name on the wire. */
  readonly #kinds = new Map<string, WaypointResource>();
  mesh: WaypointMesh = unknownMesh;
  retry: RetryPolicy = compileRetry(defaultRetry);
  /** Grows with each change of what targets are made of. */
  attachmentVersion = 0;
  /** Grows with each change of a service's endpoints by subset, or settings. */
  clusterVersion = 0;
  /** What could not be compiled: by resource. */
  readonly problems = new Map<string, readonly string[]>();

  get size(): number {
    return this.#kinds.size;
  }

  get providers(): ReadonlyMap<string, Provider> {
    return this.#providers;
  }

  all(): Iterable<WaypointResource> {
    return this.#kinds.values();
  }

  apply({ upserts, removed }: ResourceDelta): void {
    for (const name of removed) this.#remove(name);
    for (const resource of upserts) this.#put(waypointResourceName(resource), resource);
  }

  #put(name: string, resource: WaypointResource): void {
    const before = this.#kinds.get(name);
    this.#kinds.set(name, resource);
    if (isAttached(resource)) {
      this.#attached.set(name, resource);
      this.attachmentVersion++;
      return;
    }
    switch (resource.kind) {
      case 'http-route': {
        const problems = this.routes.put(resource);
        if (problems.length > 0) this.problems.set(name, problems);
        else this.problems.delete(name);
        return;
      }
      case 'tcp-route':
        this.tcpRoutes.put(resource);
        return;
      case 'destination-policy':
        this.settings.put(resource);
        this.clusterVersion++;
        return;
      case 'subset-members':
        this.#subsets.set(resource.name, resource);
        this.clusterVersion++;
        return;
      case 'provider':
        if (before !== undefined && before.kind === 'provider') this.#providers.delete(before.name);
        this.#providers.set(resource.name, resource);
        this.attachmentVersion++;
        return;
      case 'waypoint-mesh':
        this.mesh = resource;
        this.retry = compileRetry(resource.defaultRetry ?? defaultRetry);
        this.attachmentVersion++;
    }
  }

  #remove(name: string): void {
    const resource = this.#kinds.get(name);
    if (resource === undefined) return;
    this.#kinds.delete(name);
    this.problems.delete(name);
    if (this.#attached.delete(name)) {
      this.attachmentVersion++;
      return;
    }
    switch (resource.kind) {
      case 'http-route':
        this.routes.remove(resource.name);
        return;
      case 'tcp-route':
        this.tcpRoutes.remove(resource.name);
        return;
      case 'destination-policy':
        this.settings.remove(resource.name);
        this.clusterVersion++;
        return;
      case 'subset-members':
        this.#subsets.delete(resource.name);
        this.clusterVersion++;
        return;
      case 'provider':
        this.#providers.delete(resource.name);
        this.attachmentVersion++;
        return;
      default:
        this.mesh = unknownMesh;
        this.attachmentVersion++;
    }
  }

  destinationPolicies(service: ServiceKey): readonly DestinationPolicy[] {
    return this.settings.policiesOf(service);
  }

  /** Undefined: the control plane has not told who is in the subset. */
  subsetMembers(service: ServiceKey, subset: string): ReadonlySet<string> | undefined {
    const members = this.#subsets.get(`${service}/${subset}`);
    return members === undefined ? undefined : new Set(members.workloads);
  }

  telemetry(): readonly Telemetry[] {
    return [...this.#attached.values()].filter((one): one is Telemetry => one.kind === 'telemetry');
  }

  /** Sorted by name; telemetry is merged elsewhere. */
  attachedTo(target: AttachmentTarget): AttachedResources {
    const policies: HttpPolicy[] = [];
    const authentications: RequestAuthentication[] = [];
    const trafficPolicies: TrafficPolicy[] = [];
    const extensions: Extension[] = [];
    for (const resource of this.#attached.values()) {
      if (!appliesTo(resource, target)) continue;
      if (resource.kind === 'http-policy') policies.push(resource);
      else if (resource.kind === 'request-authentication') authentications.push(resource);
      else if (resource.kind === 'traffic-policy') trafficPolicies.push(resource);
      else if (resource.kind === 'extension') extensions.push(resource);
    }
    return {
      policies: policies.toSorted(byName),
      authentications: authentications.toSorted(byName),
      trafficPolicies: trafficPolicies.toSorted(byName),
      extensions: extensions.toSorted((a, b) => b.priority - a.priority || byName(a, b)),
    };
  }
}

const byName = (a: { readonly name: string }, b: { readonly name: string }): number =>
  a.name < b.name ? -1 : a.name > b.name ? 1 : 0;
