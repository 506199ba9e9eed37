// From xDS pushes to the mesh store. A push is decoded whole before anything of it is applied; what cannot be
// decoded is refused by name and keeps its last good form.
import { errorText } from '#/errors/index.ts';
import type { Logger } from '#/kit/index.ts';
import type { Policy, Service, Workload } from '#/model/index.ts';
import type { MeshStore } from '#/state/index.ts';
import { decodeAddress, decodePolicy } from '#/wire/index.ts';
import type { Push, Rejection } from '#/xds/index.ts';

export const addressType = 'type.googleapis.com/istio.workload.Address';
export const authorizationType = 'type.googleapis.com/istio.security.Authorization';

/** Applies the push as one change; returns what it refuses. */
export function applyPush(store: MeshStore, push: Push, log: Logger): readonly Rejection[] {
  log.info('received response', {
    type_url: push.typeUrl,
    size: push.upserts.length,
    removes: push.removed.length,
  });
  const rejections: Rejection[] = [];
  const decode = <T>(read: (bytes: Uint8Array) => T): T[] => {
    const records: T[] = [];
    for (const { name, resource } of push.upserts) {
      try {
        records.push(read(resource));
      } catch (error) {
        rejections.push({ name, reason: errorText(error) });
      }
    }
    return records;
  };
  if (push.typeUrl === addressType) {
    const addresses: (Workload | Service)[] = decode(decodeAddress);
    store.apply({ addresses, removedNames: push.removed });
  } else if (push.typeUrl === authorizationType) {
    const policies: Policy[] = decode(decodePolicy);
    store.apply({ policies, removedPolicies: push.removed });
  } else {
    return push.upserts.map(({ name }) => ({
      name,
      reason: `resources of type ${push.typeUrl} were not asked for`,
    }));
  }
  for (const { name, reason } of rejections)
    log.warn('refused a resource; its last good form stays', { type_url: push.typeUrl, name, error: reason });
  return rejections;
}
