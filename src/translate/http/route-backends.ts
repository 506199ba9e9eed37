// The destinations that routes name, looked up. One that cannot be resolved stays in its place with its weight, so that
// its share of requests gets an error and not another destination.
import type { Destination } from '#/model/index.ts';
import type { Lookup } from '../lookup.ts';
import { integer, optionalText, record, text } from '../read.ts';
import { serviceOfHost, viewService } from './bindings.ts';
import { backendHost, fullHost } from './spec-facts.ts';
import { port as portOf } from './values.ts';

export type Resolved =
  | { readonly destination: Destination; readonly broken?: undefined }
  | { readonly destination?: undefined; readonly broken: string; readonly reason: string };

const broken = (reason: string, text: string): Resolved => ({ broken: text, reason });

/** A backendRef of the Gateway API. References to other namespaces need no grant in a mesh. */
export function resolveBackend(value: unknown, namespace: string, lookup: Lookup): Resolved {
  const ref = record(value);
  const kind = optionalText(ref['kind']) ?? 'Service';
  const group = text(ref['group']);
  const host = backendHost(ref, namespace, lookup.mesh.clusterDomain);
  if (host === undefined)
    return broken(
      'InvalidKind',
      `a backend may be a Service or a Hostname, not ${group === '' ? 'core' : group}/${kind}`,
    );
  const where = text(ref['namespace']) || namespace;
  let view;
  if (kind === 'Service') {
    const service = lookup.service(where, text(ref['name']));
    view = service === undefined ? undefined : viewService(lookup, service);
  } else view = serviceOfHost(lookup, host, namespace);
  const what = kind === 'Service' ? `Service ${where}/${text(ref['name'])}` : `host ${host}`;
  if (view === undefined) return broken('BackendNotFound', `${what} was not found`);
  const port = integer(ref['port']);
  if (port === 0) return broken('BackendNotFound', `the reference to ${what} names no port`);
  if (!view.ports.some((one) => one.port === port))
    return broken('BackendNotFound', `${what} has no port ${port}`);
  return { destination: { service: view.key, port } };
}

/**
 * A destination of a VirtualService. `parentPort` stands in where it names no port and the service has several: the
 * port that the request was sent to.
 */
export function resolveHost(
  value: unknown,
  namespace: string,
  parentPort: number | undefined,
  lookup: Lookup,
): Resolved {
  const ref = record(value);
  const host = fullHost(text(ref['host']), namespace, lookup.mesh.clusterDomain);
  const view = serviceOfHost(lookup, host, namespace);
  if (view === undefined) return broken('BackendNotFound', `there is no service with the host "${host}"`);
  const named = portOf(record(ref['port'])['number']);
  const [only] = view.ports;
  const port = named ?? (view.ports.length === 1 ? only?.port : parentPort);
  if (port === undefined || !view.ports.some((one) => one.port === port))
    return broken('BackendNotFound', `${view.key} has no port ${port ?? 'that could be meant'}`);
  const subset = text(ref['subset']);
  return { destination: { service: view.key, port, ...(subset === '' ? {} : { subset }) } };
}
