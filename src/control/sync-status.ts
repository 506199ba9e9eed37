// What is known of connected proxies, in the shapes in which istioctl and people read it.
import type { ConnectionStatus, TypeStatus } from '#/xds/index.ts';
import { parseNodeId } from './node-identity.ts';

/** One proxy of `/debug/syncz`. */
export interface SyncStatus {
  readonly cluster_id: string;
  readonly proxy: string;
  readonly proxy_type: string;
  readonly istio_version: string;
  readonly resources: Readonly<Record<string, ResourceStatus>>;
}

export interface ResourceStatus {
  readonly sent?: string;
  readonly acked?: string;
  readonly sentTime?: string;
  readonly lastError?: string;
}

/** A proxy's short name: `ztunnel-1.istio-system`. */
export function proxyName(nodeId: string): string {
  const id = parseNodeId(nodeId);
  return id === undefined ? nodeId : `${id.pod}.${id.namespace}`;
}

export function metadataText(connection: ConnectionStatus, key: string): string {
  const value = connection.metadata[key];
  return typeof value === 'string' ? value : '';
}

/** Istio's proxies and ours tell their version under names of their own. */
export function proxyVersion(connection: ConnectionStatus): string {
  return metadataText(connection, 'ISTIO_VERSION') || metadataText(connection, 'AURA_VERSION');
}

function resourceStatus(type: TypeStatus): ResourceStatus {
  return {
    ...(type.sentNonce === undefined ? {} : { sent: type.sentNonce }),
    ...(type.ackedNonce === undefined ? {} : { acked: type.ackedNonce }),
    ...(type.lastSentMs === undefined ? {} : { sentTime: new Date(type.lastSentMs).toISOString() }),
    ...(type.error === undefined ? {} : { lastError: type.error }),
  };
}

export function syncStatus(connection: ConnectionStatus, clusterId: string): SyncStatus {
  return {
    cluster_id: metadataText(connection, 'CLUSTER_ID') || clusterId,
    proxy: proxyName(connection.nodeId),
    proxy_type: parseNodeId(connection.nodeId)?.type ?? '',
    istio_version: proxyVersion(connection),
    resources: Object.fromEntries(connection.types.map((type) => [type.typeUrl, resourceStatus(type)])),
  };
}

/** One proxy of `/debug/adsz` and `/debug/connections`. */
export function adsClient(connection: ConnectionStatus): Readonly<Record<string, unknown>> {
  return {
    connectionId: `${proxyName(connection.nodeId)}-${connection.id}`,
    connectedAt: new Date(connection.connectedMs).toISOString(),
    address: connection.peer,
    metadata: connection.metadata,
    watches: Object.fromEntries(
      connection.types.map((type) => [type.typeUrl, type.wildcard ? ['*'] : [`${type.subscribed} names`]]),
    ),
  };
}
