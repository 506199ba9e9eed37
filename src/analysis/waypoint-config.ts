// What one waypoint is told, put together as the waypoint itself does it: compiled routes, settings and policies.
import {
  appliesTo,
  type AttachmentTarget,
  type DestinationPolicy,
  type Extension,
  type HttpPolicy,
  type HttpRoute,
  type Provider,
  type RequestAuthentication,
  type ServiceKey,
  type SubsetMembers,
  type TcpRoute,
  type Telemetry,
  type TrafficPolicy,
  type WaypointMesh,
  type WaypointResource,
} from '#/model/index.ts';
import { compileHttpPolicies, type CompiledHttpPolicies } from '#/policy/index.ts';
import {
  compileRetry,
  defaultRetry,
  DestinationSettings,
  HttpRouteTables,
  TcpRouteTables,
  type RequestView,
} from '#/route/index.ts';
import type { WaypointRecord } from '#/translate/index.ts';

const byName = (a: { readonly name: string }, b: { readonly name: string }): number =>
  a.name < b.name ? -1 : a.name > b.name ? 1 : 0;

export interface AttachedToTarget {
  readonly policies: readonly HttpPolicy[];
  readonly authentications: readonly RequestAuthentication[];
  readonly trafficPolicies: readonly TrafficPolicy[];
  readonly extensions: readonly Extension[];
  readonly telemetry: readonly Telemetry[];
}

export class WaypointConfig {
  /** `ns/name` */
  readonly gateway: string;
  readonly view: RequestView;
  readonly tcpRoutes = new TcpRouteTables();
  readonly mesh: WaypointMesh | undefined;
  readonly #routes = new HttpRouteTables();
  readonly #settings = new DestinationSettings();
  readonly #resources: readonly WaypointResource[];

  constructor(gateway: string, records: Iterable<WaypointRecord>) {
    this.gateway = gateway;
    const resources: WaypointResource[] = [];
    for (const { resource, gateways } of records) if (gateways.includes(gateway)) resources.push(resource);
    this.#resources = resources;
    this.mesh = this.#of('waypoint-mesh')[0];
    for (const resource of resources)
      if (resource.kind === 'http-route') this.#routes.put(resource);
      else if (resource.kind === 'tcp-route') this.tcpRoutes.put(resource);
      else if (resource.kind === 'destination-policy') this.#settings.put(resource);
    this.view = {
      routes: this.#routes,
      settings: this.#settings,
      gateway,
      defaultRetry: compileRetry(this.mesh?.defaultRetry ?? defaultRetry),
    };
  }

  #of<K extends WaypointResource['kind']>(kind: K): readonly Extract<WaypointResource, { kind: K }>[] {
    return this.#resources.filter(
      (resource): resource is Extract<WaypointResource, { kind: K }> => resource.kind === kind,
    );
  }

  attachedTo(service: ServiceKey | undefined, workload: string | undefined): AttachedToTarget {
    const target: AttachmentTarget = { service, workload, gateway: this.gateway };
    const applying = <T extends Extract<WaypointResource, { targets: unknown }>>(list: readonly T[]): T[] =>
      list.filter((one) => appliesTo(one, target)).sort(byName);
    return {
      policies: applying(this.#of('http-policy')),
      authentications: applying(this.#of('request-authentication')),
      trafficPolicies: applying(this.#of('traffic-policy')),
      extensions: applying(this.#of('extension')).sort((a, b) => b.priority - a.priority),
      telemetry: applying(this.#of('telemetry')),
    };
  }

  compile(policies: readonly HttpPolicy[]): CompiledHttpPolicies {
    const { trustDomain = 'cluster.local', trustDomainAliases = [] } = this.mesh ?? {};
    return compileHttpPolicies(policies, { trustDomains: [trustDomain, ...trustDomainAliases] });
  }

  /** Of the service's port, and of the waypoint itself; the order is that in which they are looked at. */
  routesOf(service: ServiceKey | undefined, port: number): readonly (HttpRoute | TcpRoute)[] {
    const routes = [...this.#of('http-route'), ...this.#of('tcp-route')].filter(({ parents }) =>
      parents.some(
        (parent) =>
          (parent.port === undefined || parent.port === port) &&
          (parent.kind === 'service' ? parent.service === service : parent.gateway === this.gateway),
      ),
    );
    const rank = (route: HttpRoute | TcpRoute): number =>
      (route.parents.some((parent) => parent.kind === 'service' && parent.service === service) ? 0 : 4) +
      (route.kind === 'tcp-route' ? 2 : route.precedence === 'listed' ? 1 : 0);
    return routes.sort((a, b) => rank(a) - rank(b) || a.order.createdAt - b.order.createdAt || byName(a, b));
  }

  destinationPolicies(service: ServiceKey): readonly DestinationPolicy[] {
    return this.#settings.policiesOf(service);
  }

  /** uids */
  subsetMembers(service: ServiceKey, subset: string): ReadonlySet<string> {
    const found: SubsetMembers | undefined = this.#of('subset-members').find(
      (one) => one.service === service && one.subset === subset,
    );
    return new Set(found?.workloads);
  }

  get providers(): readonly Provider[] {
    return this.#of('provider');
  }
}
