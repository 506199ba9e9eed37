// What the control plane tells a waypoint: services and workloads of the mesh, and what is attached to its own. A push is
// decoded whole before anything of it is applied; what cannot be decoded is refused by name and keeps its last good form.
import { errorText } from '#/errors/index.ts';
import { rootSource, tokenSource } from '#/identity/index.ts';
import type { Clock, Logger } from '#/kit/index.ts';
import type { Service, WaypointResource, Workload } from '#/model/index.ts';
import type { MeshStore } from '#/state/index.ts';
import { decodeAddress, decodeWaypointResource, waypointResourceTypeUrl } from '#/wire/index.ts';
import { DeltaClient, type Push, type Rejection } from '#/xds/index.ts';
import { gatewayKey, type WaypointConfig } from './config.ts';
import type { ResourceDelta } from './messages.ts';
import { UnreadablePolicies } from './unreadable-policies.ts';

const addressType = 'type.googleapis.com/istio.workload.Address';

export interface ControlClientOptions {
  readonly config: WaypointConfig;
  readonly version: string;
  readonly store: MeshStore;
  readonly clock: Clock;
  readonly log: Logger;
  readonly onResources: (delta: ResourceDelta) => void;
}

export interface ControlClient {
  readonly client: DeltaClient;
  /** Resolves when the mesh and what is attached to this waypoint have been told. */
  readonly configured: Promise<void>;
}

function decodeAll<T>(push: Push, decode: (bytes: Uint8Array) => T): { good: T[]; bad: Rejection[] } {
  const good: T[] = [];
  const bad: Rejection[] = [];
  for (const { name, resource } of push.upserts) {
    try {
      good.push(decode(resource));
    } catch (error) {
      bad.push({ name, reason: errorText(error) });
    }
  }
  return { good, bad };
}

export function controlClient(options: ControlClientOptions): ControlClient {
  const { config, version, store, clock, log, onResources } = options;
  const { podName, namespace, instanceIp, clusterDomain } = config;
  const token = config.authToken === undefined ? undefined : tokenSource(config.authToken);
  // What is asked for by name is not part of the client's own notion of being in step.
  const told = Promise.withResolvers<void>();
  const unreadable = new UnreadablePolicies();
  const onPush = (push: Push): readonly Rejection[] => {
    log.info('received response', {
      type_url: push.typeUrl,
      size: push.upserts.length,
      removes: push.removed.length,
    });
    let bad: Rejection[] = [];
    if (push.typeUrl === addressType) {
      const decoded = decodeAll<Workload | Service>(push, decodeAddress);
      bad = decoded.bad;
      store.apply({ addresses: decoded.good, removedNames: push.removed });
    } else {
      const decoded = decodeAll<WaypointResource>(push, decodeWaypointResource);
      bad = decoded.bad;
      const standIns = unreadable.standIns(decoded.good, bad, push.removed);
      for (const { name } of standIns)
        log.error('everything is refused: a policy cannot be read, and no earlier form of it is known', {
          policy: name,
        });
      onResources({ upserts: [...decoded.good, ...standIns], removed: push.removed });
      told.resolve();
    }
    for (const { name, reason } of bad)
      log.warn('refused a resource; its last good form stays', {
        type_url: push.typeUrl,
        name,
        error: reason,
      });
    return bad;
  };
  const client = new DeltaClient({
    address: config.xdsAddress,
    rootCert: rootSource(config.xdsRootCert),
    token: () => token?.(),
    metadata: { clusterid: config.clusterId },
    node: {
      id: `waypoint~${instanceIp}~${podName}.${namespace}~${namespace}.svc.${clusterDomain}`,
      metadata: {
        AURA_VERSION: version,
        ...config.proxyMetadata,
        NAME: podName,
        NAMESPACE: namespace,
        INSTANCE_IPS: instanceIp,
        CLUSTER_ID: config.clusterId,
        SERVICE_ACCOUNT: config.serviceAccount,
        GATEWAY_NAME: config.gatewayName,
        ...(config.nodeName === undefined ? {} : { NODE_NAME: config.nodeName }),
      },
    },
    types: [addressType, { typeUrl: waypointResourceTypeUrl, onDemand: true }],
    log,
    clock,
    onPush,
    onState: (state, reason) => {
      if (state === 'disconnected' && reason !== undefined)
        log.warn('the control plane is lost; what it told stays in force', {
          address: config.xdsAddress,
          error: reason,
        });
    },
  });
  client.subscribe(waypointResourceTypeUrl, [gatewayKey(config)]);
  return { client, configured: Promise.all([client.synced, told.promise]).then(() => {}) };
}
