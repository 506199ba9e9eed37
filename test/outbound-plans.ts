// Plans outbound connections of one client over a small mesh, and shows a plan as one line.
import { formatSocketAddress, type Ip, type SocketAddress } from '../src/kit/index.ts';
import type { MeshView, OutboundPlan, Service, Workload } from '../src/model/index.ts';
import { planOutbound, type RouteSettings } from '../src/route/index.ts';
import { MeshStore } from '../src/state/index.ts';
import { at, aService, aWorkload, ip } from './mesh-records.ts';

export const source = aWorkload('source', { addresses: ['127.0.0.1', '::1'] });
export const waypoint = aWorkload('waypoint', { addresses: ['127.0.0.10'], serviceAccount: 'waypoint-sa' });
export const dualWaypoint = aWorkload('waypoint-dual', {
  addresses: ['127.0.0.11', 'ff06::c5'],
  serviceAccount: 'waypoint-sa',
});

const show = ({ ip: address, port }: SocketAddress): string => formatSocketAddress(address, port);

/** `tcp HOP`, `hbone HOP AUTHORITY`, `double HOP AUTHORITY`, `needs …` or `CODE REASON`. */
export function summary(plan: OutboundPlan): string {
  switch (plan.kind) {
    case 'passthrough':
      return `tcp ${show(plan.nextHop)}`;
    case 'hbone':
      return `hbone ${show(plan.nextHop)} ${plan.authority}`;
    case 'double-hbone':
      return `double ${show(plan.outer.nextHop)} ${plan.authority}`;
    case 'needs':
      return `needs ${[...plan.keys, ...plan.hostnames].join(' ')}`;
    case 'reject':
      return `${plan.code} ${plan.reason}`;
  }
}

export interface PlanOptions {
  readonly from?: string;
  readonly source?: Workload;
  readonly network?: string;
  readonly random?: () => number;
  readonly settings?: RouteSettings;
  readonly resolved?: ReadonlyMap<string, readonly Ip[]>;
  readonly view?: (store: MeshStore) => MeshView;
}

export function plan(
  to: string,
  records: readonly (Workload | Service)[],
  options: PlanOptions = {},
): OutboundPlan {
  const client = options.source ?? source;
  const store = new MeshStore({ node: 'node-1' });
  store.apply({ addresses: [client, waypoint, dualWaypoint, ...records] });
  return planOutbound(
    {
      source: client,
      sourceAddress: { ip: ip(options.from ?? '127.0.0.1'), port: 41000 },
      originalDestination: at(to),
      network: options.network ?? '',
      ...(options.resolved && { resolved: options.resolved }),
    },
    options.view?.(store) ?? store,
    options.random ?? (() => 0),
    options.settings,
  );
}

export const example = aService('example.com', { addresses: ['127.0.0.3'] });
export const listed = { services: { 'ns/example.com': { 80: 8080 } } };
export const remoteGateway = aWorkload('ew-gtw', { addresses: ['10.22.1.1'], network: 'remote' });
