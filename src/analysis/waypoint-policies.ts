// The policies that a waypoint checks for a service: those that name it, its Gateway or its class in `targetRefs`.
import type { Service, Workload } from '#/model/index.ts';
import type { Place } from './document.ts';
import { field, items, labels } from './fields.ts';
import type { MeshModel } from './mesh-model.ts';

export interface WaypointPolicy {
  /** `ns/name`. */
  readonly policy: string;
  readonly action: string;
  /** What it is attached to: `Service reviews`. */
  readonly target: string;
  readonly rules: number;
  /** What of a request it looks at. */
  readonly attributes: readonly string[];
  readonly place: Place;
}

const gatewayLabel = 'gateway.networking.k8s.io/gateway-name';

/** The name of the Gateway that a workload is an instance of. */
export function gatewayOf(model: MeshModel, workload: Workload): string | undefined {
  const pod = model.podOf(workload);
  return pod === undefined ? undefined : labels(pod.object, 'metadata', 'labels')[gatewayLabel];
}

/** Names of the fields that the rules use: `paths`, `methods`, `principals`. */
export function attributesOf(rules: readonly unknown[]): readonly string[] {
  const found = new Set<string>();
  for (const rule of rules) {
    for (const from of items(rule, 'from'))
      for (const key of Object.keys((field(from, 'source') as object | undefined) ?? {})) found.add(key);
    for (const to of items(rule, 'to'))
      for (const key of Object.keys((field(to, 'operation') as object | undefined) ?? {})) found.add(key);
    for (const when of items(rule, 'when')) found.add(String(field(when, 'key') ?? '?'));
  }
  return [...found];
}

export function waypointPolicies(
  model: MeshModel,
  waypoint: Workload,
  service: Service | undefined,
): readonly WaypointPolicy[] {
  const gateway = gatewayOf(model, waypoint);
  const gatewayClass =
    gateway === undefined ? undefined : model.lookup.gateway(waypoint.namespace, gateway)?.className;
  const document = service === undefined ? undefined : model.serviceDocument(service);
  const out: WaypointPolicy[] = [];
  for (const facts of model.lookup.all('AuthorizationPolicy'))
    for (const { kind, name } of facts.targets) {
      const attached =
        (kind === 'Gateway' && facts.namespace === waypoint.namespace && name === gateway) ||
        (kind === 'GatewayClass' &&
          facts.namespace === model.settings.rootNamespace &&
          name === gatewayClass) ||
        (document !== undefined &&
          kind === document.kind &&
          name === document.name &&
          facts.namespace === document.namespace);
      if (!attached) continue;
      out.push({
        policy: `${facts.namespace}/${facts.name}`,
        action: facts.action,
        target: `${kind} ${name}`,
        rules: facts.rules.length,
        attributes: attributesOf(facts.rules),
        place: model.place('AuthorizationPolicy', facts.namespace, facts.name),
      });
      break;
    }
  return out.sort((a, b) => (a.policy < b.policy ? -1 : 1));
}
