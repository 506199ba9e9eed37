// A waypoint's Gateway as the command makes it, and what it shows of those that are there. Pure.
import type { Condition, KubeObject } from '#/kube/index.ts';
import { table } from './print-report.ts';

export const waypointClass = 'istio-waypoint';
export const defaultName = 'waypoint';
export const useWaypoint = 'istio.io/use-waypoint';
export const useWaypointNamespace = 'istio.io/use-waypoint-namespace';
const waypointFor = 'istio.io/waypoint-for';
const revisionLabel = 'istio.io/rev';

export const trafficTypes: readonly string[] = ['all', 'none', 'service', 'workload'];

export interface WaypointGateway extends KubeObject {
  readonly spec: {
    readonly gatewayClassName: string;
    readonly listeners?: readonly {
      readonly name: string;
      readonly port: number;
      readonly protocol: string;
    }[];
  };
  readonly status?: {
    readonly conditions?: readonly Condition[];
    readonly addresses?: readonly { readonly type?: string; readonly value: string }[];
  };
}

export interface WaypointWish {
  readonly name?: string;
  readonly for?: string;
  readonly revision?: string;
}

/** Throws Error for a name or a type of traffic that there is not. An empty name is the default one. */
export function waypointGateway(wish: WaypointWish, namespace?: string): WaypointGateway {
  const name = wish.name || defaultName;
  if (name === 'none')
    throw new Error(
      "invalid name provided for waypoint, 'none' is a reserved value: it means that no waypoint is used",
    );
  if (wish.for !== undefined && wish.for !== '' && !trafficTypes.includes(wish.for))
    throw new Error(`invalid traffic type: ${wish.for}. Valid options are: [${trafficTypes.join(' ')}]`);
  const labels = {
    ...(wish.revision ? { [revisionLabel]: wish.revision } : {}),
    // Without one, the class decides, and else the control plane.
    ...(wish.for ? { [waypointFor]: wish.for } : {}),
  };
  return {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'Gateway',
    metadata: {
      ...(Object.keys(labels).length === 0 ? {} : { labels }),
      name,
      ...(namespace === undefined ? {} : { namespace }),
    },
    spec: {
      gatewayClassName: waypointClass,
      listeners: [{ name: 'mesh', port: 15008, protocol: 'HBONE' }],
    },
  };
}

export const isWaypoint = ({ spec }: WaypointGateway): boolean => spec.gatewayClassName === waypointClass;

export const condition = (gateway: WaypointGateway, type: string): Condition | undefined =>
  gateway.status?.conditions?.find((one) => one.type === type);

export const isProgrammed = (gateway: WaypointGateway): boolean =>
  condition(gateway, 'Programmed')?.status === 'True';

export interface WaypointRow {
  readonly namespace: string;
  readonly name: string;
  readonly revision: string;
  readonly trafficType: string;
  readonly programmed: string;
}

export function waypointRow(gateway: WaypointGateway): WaypointRow {
  const { namespace = '', name, labels } = gateway.metadata;
  return {
    namespace,
    name,
    revision: labels?.[revisionLabel] || 'default',
    // As upstream shows it, though one without the label takes traffic to services.
    trafficType: labels?.[waypointFor] || 'none',
    programmed: condition(gateway, 'Programmed')?.status ?? 'False',
  };
}

export interface WaypointStatus {
  readonly namespace: string;
  readonly name: string;
  readonly addresses: readonly string[];
  readonly conditions: readonly Condition[];
}

export const waypointStatus = ({ metadata, status }: WaypointGateway): WaypointStatus => ({
  namespace: metadata.namespace ?? '',
  name: metadata.name,
  addresses: (status?.addresses ?? []).map(({ value }) => value),
  conditions: status?.conditions ?? [],
});

/** By namespace and name. */
export const inOrder = (gateways: readonly WaypointGateway[]): readonly WaypointGateway[] =>
  gateways.toSorted((a, b) => {
    const key = ({ metadata }: WaypointGateway): string => `${metadata.namespace}/${metadata.name}`;
    return key(a) < key(b) ? -1 : 1;
  });

/** Spaces between columns, as upstream. */
const gap = 5;
export const nothingFound = 'No waypoints found.\n';

function shown(header: readonly string[], rows: readonly (readonly string[])[], namespaces: boolean): string {
  const cut = (row: readonly string[]): readonly string[] => (namespaces ? row : row.slice(1));
  return `${table([cut(header), ...rows.map(cut)], gap)}\n`;
}

/** `namespaces`: with the column of namespaces. */
export function listText(rows: readonly WaypointRow[], namespaces: boolean): string {
  if (rows.length === 0) return nothingFound;
  return shown(
    ['NAMESPACE', 'NAME', 'REVISION', 'TRAFFIC TYPE', 'PROGRAMMED'],
    rows.map((row) => [row.namespace, row.name, row.revision, row.trafficType, row.programmed]),
    namespaces,
  );
}

/** A row per condition; one without any shows that, too. */
export function statusText(waypoints: readonly WaypointStatus[], namespaces: boolean): string {
  if (waypoints.length === 0) return nothingFound;
  const none: Condition = {
    type: 'Programmed',
    status: 'Unknown',
    reason: 'Pending',
    message: 'no controller has looked at it yet',
  };
  return shown(
    ['NAMESPACE', 'NAME', 'STATUS', 'TYPE', 'REASON', 'MESSAGE'],
    waypoints.flatMap(({ namespace, name, conditions }) =>
      (conditions.length === 0 ? [none] : conditions).map(({ type, status, reason = '', message = '' }) => [
        namespace,
        name,
        status,
        type,
        reason,
        message,
      ]),
    ),
    namespaces,
  );
}
