// istio.workload.Workload to and from the model.
import { create } from '@bufbuild/protobuf';
import type {
  ApplicationTunnel,
  PortMapping,
  ServiceKey,
  TunnelProtocol,
  Workload,
  WorkloadType,
} from '#/model/index.ts';
import { decodeGatewayAddress, decodeIp, encodeGatewayAddress, encodeIp } from './gateway-address.ts';
import * as pb from './gen/istio/workload/workload_pb.ts';
import { enumTable } from './enum-table.ts';
import { at, each, fault, port } from './wire-error.ts';

const types = enumTable<WorkloadType, pb.WorkloadType>({
  deployment: pb.WorkloadType.DEPLOYMENT,
  cronjob: pb.WorkloadType.CRONJOB,
  pod: pb.WorkloadType.POD,
  job: pb.WorkloadType.JOB,
});
const statuses = enumTable<Workload['status'], pb.WorkloadStatus>({
  Healthy: pb.WorkloadStatus.HEALTHY,
  Unhealthy: pb.WorkloadStatus.UNHEALTHY,
});
const networkModes = enumTable<Workload['networkMode'], pb.NetworkMode>({
  Standard: pb.NetworkMode.STANDARD,
  HostNetwork: pb.NetworkMode.HOST_NETWORK,
});
const tunnelProtocols = enumTable<TunnelProtocol, pb.TunnelProtocol>({
  TCP: pb.TunnelProtocol.NONE,
  HBONE: pb.TunnelProtocol.HBONE,
});
const applicationProtocols = enumTable<ApplicationTunnel['protocol'], pb.ApplicationTunnel_Protocol>(
  pb.ApplicationTunnel_Protocol,
);

// What an absent field stands for.
const defaults = {
  trustDomain: 'cluster.local',
  serviceAccount: 'default',
  clusterId: 'Kubernetes',
  capacity: 1,
} as const;

const orElse = (value: string, other: string): string => (value === '' ? other : value);

function decodeProtocol(value: number): TunnelProtocol {
  if (value === pb.TunnelProtocol.LEGACY_ISTIO_MTLS)
    throw fault('tunnelProtocol', 'LEGACY_ISTIO_MTLS is not supported');
  return tunnelProtocols.name('tunnelProtocol', value);
}

export function decodePortMapping(message: pb.Port): PortMapping {
  return {
    servicePort: port('servicePort', message.servicePort),
    targetPort: port('targetPort', message.targetPort),
  };
}

function decodeServices(services: pb.Workload['services']): Workload['services'] {
  const out: Record<ServiceKey, readonly PortMapping[]> = {};
  for (const [key, list] of Object.entries(services)) {
    const field = `services[${JSON.stringify(key)}]`;
    const slash = key.indexOf('/');
    if (slash < 0 || slash === key.length - 1) throw fault(field, 'the key is not namespace/hostname');
    out[key] = at(field, () => each('ports', list.ports, decodePortMapping));
  }
  return out;
}

/** Throws WireError without the resource's name; decodeAddress adds it. */
export function decodeWorkload(message: pb.Workload): Workload {
  if (message.uid === '') throw fault('uid', 'is empty');
  const { waypoint, networkGateway, applicationTunnel: tunnel } = message;
  return {
    kind: 'workload',
    uid: message.uid,
    name: message.name,
    namespace: message.namespace,
    addresses: each('addresses', message.addresses, (bytes) => decodeIp('', bytes)),
    hostname: message.hostname,
    network: message.network,
    protocol: decodeProtocol(message.tunnelProtocol),
    networkMode: networkModes.name('networkMode', message.networkMode),
    trustDomain: orElse(message.trustDomain, defaults.trustDomain),
    serviceAccount: orElse(message.serviceAccount, defaults.serviceAccount),
    node: message.node,
    canonicalName: message.canonicalName,
    canonicalRevision: message.canonicalRevision,
    workloadType: types.name('workloadType', message.workloadType),
    workloadName: message.workloadName,
    nativeTunnel: message.nativeTunnel,
    authorizationPolicies: message.authorizationPolicies,
    status: statuses.name('status', message.status),
    clusterId: orElse(message.clusterId, defaults.clusterId),
    locality: {
      region: message.locality?.region ?? '',
      zone: message.locality?.zone ?? '',
      subzone: message.locality?.subzone ?? '',
    },
    services: decodeServices(message.services),
    capacity: message.capacity ?? defaults.capacity,
    ...(waypoint && { waypoint: at('waypoint', () => decodeGatewayAddress(waypoint)) }),
    ...(networkGateway && {
      networkGateway: at('networkGateway', () => decodeGatewayAddress(networkGateway)),
    }),
    ...(tunnel && {
      applicationTunnel: {
        protocol: applicationProtocols.name('applicationTunnel.protocol', tunnel.protocol),
        port: port('applicationTunnel.port', tunnel.port),
      },
    }),
  };
}

/** Deterministic: equal workloads give equal bytes, whatever the order of their service keys. */
export function encodeWorkload(workload: Workload): pb.Workload {
  const { locality, applicationTunnel: tunnel, waypoint, networkGateway } = workload;
  const message = create(pb.WorkloadSchema, {
    uid: workload.uid,
    name: workload.name,
    namespace: workload.namespace,
    addresses: each('addresses', workload.addresses, (ip) => encodeIp('', ip)),
    hostname: workload.hostname,
    network: workload.network,
    tunnelProtocol: tunnelProtocols.number('tunnelProtocol', workload.protocol),
    networkMode: networkModes.number('networkMode', workload.networkMode),
    trustDomain: workload.trustDomain === defaults.trustDomain ? '' : workload.trustDomain,
    serviceAccount: workload.serviceAccount,
    node: workload.node,
    canonicalName: workload.canonicalName,
    canonicalRevision: workload.canonicalRevision,
    workloadType: types.number('workloadType', workload.workloadType),
    workloadName: workload.workloadName,
    nativeTunnel: workload.nativeTunnel,
    authorizationPolicies: [...workload.authorizationPolicies],
    status: statuses.number('status', workload.status),
    clusterId: workload.clusterId,
  });
  for (const key of Object.keys(workload.services).sort())
    message.services[key] = create(pb.PortListSchema, { ports: [...(workload.services[key] ?? [])] });
  if (locality.region !== '' || locality.zone !== '' || locality.subzone !== '')
    message.locality = create(pb.LocalitySchema, locality);
  if (workload.capacity !== defaults.capacity) message.capacity = workload.capacity;
  if (waypoint) message.waypoint = encodeGatewayAddress(waypoint);
  if (networkGateway) message.networkGateway = encodeGatewayAddress(networkGateway);
  if (tunnel)
    message.applicationTunnel = create(pb.ApplicationTunnelSchema, {
      protocol: applicationProtocols.number('applicationTunnel.protocol', tunnel.protocol),
      port: tunnel.port,
    });
  return message;
}
