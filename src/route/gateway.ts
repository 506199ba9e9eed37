// Who stands behind the name of a waypoint or gateway, whoever asks.
import type { GatewayAddress, MeshView, Service, Workload } from '#/model/index.ts';

export const describeGateway = ({ destination }: GatewayAddress): string =>
  destination.kind === 'address'
    ? `${destination.network}/${destination.ip}`
    : `${destination.namespace}/${destination.hostname}`;

/** An address is a workload's before a service's, a hostname a service's before a workload's. */
export function behindGateway(
  { destination }: GatewayAddress,
  view: MeshView,
): { readonly workload?: Workload | undefined; readonly service?: Service | undefined } {
  if (destination.kind === 'address') {
    const workload = view.workloadByAddress(destination.network, destination.ip);
    return workload === undefined
      ? { service: view.serviceByAddress(destination.network, destination.ip) }
      : { workload };
  }
  const service = view.serviceByKey(`${destination.namespace}/${destination.hostname}`);
  return service === undefined ? { workload: view.workloadByHostname(destination) } : { service };
}
