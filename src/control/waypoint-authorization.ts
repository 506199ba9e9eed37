// Which waypoint's resources a caller may have: those of the Gateway that it runs for. They hold keys and policies, so
// nobody gets all of them.
import { RpcError } from '#/identity/index.ts';
import type { Caller } from './caller.ts';

export interface WaypointNames {
  readonly subscribe: readonly string[];
  /** By `*`, or by not naming anything. */
  readonly wildcard: boolean;
}

/** Throws RpcError PERMISSION_DENIED. `accounts`: service accounts of the Gateway's pods, by its namespace and name. */
export function checkWaypointNames(
  caller: Caller | undefined,
  names: WaypointNames,
  accounts: (namespace: string, gateway: string) => ReadonlySet<string>,
): void {
  if (names.wildcard)
    throw new RpcError(
      'PERMISSION_DENIED',
      'resources of waypoints are asked for by the name of one Gateway',
    );
  for (const name of names.subscribe) {
    const [namespace = '', gateway = '', ...more] = name.split('/');
    if (gateway === '' || more.length > 0)
      throw new RpcError('PERMISSION_DENIED', `"${name}" is not the name of a Gateway (namespace/name)`);
    if (caller === undefined)
      throw new RpcError('PERMISSION_DENIED', `who asks for the resources of ${name} is not known: use TLS`);
    const own = caller.serviceAccount === gateway || accounts(namespace, gateway).has(caller.serviceAccount);
    if (caller.namespace !== namespace || !own)
      throw new RpcError(
        'PERMISSION_DENIED',
        `${caller.namespace}/${caller.serviceAccount} may not have the resources of waypoint ${name}`,
      );
  }
}
