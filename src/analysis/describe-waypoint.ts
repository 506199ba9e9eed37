// What a waypoint does for a service or a workload, whatever the request: routes, tokens, settings, limits, telemetry.
import { findWaypoint } from '#/translate/index.ts';
import { serviceKey, type GatewayAddress, type Service, type Workload } from '#/model/index.ts';
import type { MeshModel } from './mesh-model.ts';
import { appliedObjects } from './request-applied.ts';
import type { AppliedObject } from './request-report.ts';
import { httpRouteReport, routeTitle, tcpRouteReport, type RouteReport } from './request-routes.ts';
import { judgeToken, type AuthenticationReport } from './request-token.ts';
import { gatewayOf } from './waypoint-policies.ts';

export interface AtWaypoint {
  /** `ns/name` of the Gateway. */
  readonly gateway: string;
  readonly routes: readonly RouteReport[];
  readonly authentications: readonly AuthenticationReport[];
  /** AuthorizationPolicies, in the order in which they are asked. */
  readonly policies: readonly {
    readonly policy: string;
    readonly action: string;
    readonly dryRun: boolean;
  }[];
  readonly applied: readonly AppliedObject[];
}

/** The Gateway that a binding leads to: by its pods, or by the name that its Service has. */
function gatewayAt(model: MeshModel, { destination }: GatewayAddress): string | undefined {
  if (destination.kind === 'address') {
    const service = model.store.serviceByAddress(destination.network, destination.ip);
    return service === undefined ? undefined : `${service.namespace}/${service.name}`;
  }
  const key = `${destination.namespace}/${destination.hostname}` as const;
  const [pod] = model.store.endpoints(key).workloads;
  const name = pod === undefined ? undefined : gatewayOf(model, pod);
  return `${destination.namespace}/${name ?? destination.hostname.split('.')[0] ?? ''}`;
}

const order = ['Custom', 'Deny', 'Allow', 'Audit'];

export function atWaypoint(
  model: MeshModel,
  binding: GatewayAddress | undefined,
  what: { readonly service: Service } | { readonly workload: Workload },
): AtWaypoint | undefined {
  const gateway = binding === undefined ? undefined : gatewayAt(model, binding);
  const [namespace = '', name = ''] = gateway?.split('/') ?? [];
  if (gateway === undefined || findWaypoint(model.lookup, namespace, name) === undefined) return undefined;
  const config = model.waypointConfig(gateway);
  const service = 'service' in what ? what.service : undefined;
  const key = service === undefined ? undefined : serviceKey(service);
  const attached = config.attachedTo(key, 'workload' in what ? what.workload.uid : undefined);
  // What names a port is there for that port alone.
  const ports = service?.ports.map(({ servicePort }) => servicePort) ?? [0];
  const routes = new Set(ports.flatMap((port) => config.routesOf(key, port)));
  return {
    gateway,
    routes: [...routes].map((route) =>
      route.kind === 'tcp-route'
        ? tcpRouteReport(model, route, false)
        : httpRouteReport(model, route, undefined, 0),
    ),
    authentications: judgeToken(model, attached.authentications, undefined).authentications,
    policies: attached.policies
      .toSorted((a, b) => order.indexOf(a.action) - order.indexOf(b.action))
      .map(({ name, action, dryRun }) => ({ policy: name, action: action.toUpperCase(), dryRun })),
    applied: appliedObjects(model, config, attached, key === undefined ? [] : [key], undefined, 0),
  };
}

/** Names alone. */
export function namesAtWaypoint(at: AtWaypoint): readonly string[] {
  return [
    ...at.routes.map(({ route }) => route),
    ...at.authentications.map(({ authentication }) => `RequestAuthentication ${authentication}`),
    ...at.policies.map(({ policy }) => `AuthorizationPolicy ${policy}`),
    ...at.applied.map(({ kind, name }) => `${kind} ${name}`),
  ];
}

/** For the pod of a waypoint: how much of each kind it has been told. */
export function toldTo(model: MeshModel, gateway: string): readonly string[] {
  const counts = new Map<string, number>();
  for (const { resource, gateways } of model.waypointRecords.values()) {
    if (!gateways.includes(gateway)) continue;
    const kind =
      resource.kind === 'http-route' || resource.kind === 'tcp-route'
        ? (routeTitle(resource.name).split(' ')[0] ?? '')
        : resource.kind === 'http-policy'
          ? 'AuthorizationPolicy'
          : (words[resource.kind] ?? '');
    if (kind !== '') counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  return [...counts].map(([kind, count]) => `${count} ${kind}`).sort();
}

const words: Readonly<Record<string, string>> = {
  'request-authentication': 'RequestAuthentication',
  'traffic-policy': 'TrafficPolicy',
  extension: 'Extension',
  telemetry: 'Telemetry',
  'destination-policy': 'DestinationRule',
};
