// The cluster DNS as a program: follows Services, EndpointSlices and Namespaces, and answers from them. Ready when
// it has seen them all once.
import { createServer } from 'node:http';
import type { Logger } from '#/kit/index.ts';
import {
  Informer,
  endpointSlices,
  namespaces,
  objectKey,
  services,
  type EndpointSlice,
  type KubeClient,
} from '#/kube/index.ts';
import { serviceNameLabel } from '../controllers/endpoint-slices.ts';
import type { ZoneView } from './cluster-zone.ts';
import { DnsServer } from './dns-server.ts';

export interface DnsProgramOptions {
  readonly client: KubeClient;
  readonly domain: string;
  /**
   * Addresses to listen on. On a node they must be named: an answer over UDP from a wildcard socket leaves with
   * the address of the link to the pod, and the pod waits for one from the node.
   */
  readonly hosts: readonly string[];
  readonly port: number;
  /** Port of /ready. */
  readonly healthPort: number;
  readonly log: Logger;
}

export interface DnsProgram extends AsyncDisposable {
  readonly port: number;
}

export async function startDnsProgram(options: DnsProgramOptions): Promise<DnsProgram> {
  const { client, domain, hosts, port, log } = options;
  const abort = new AbortController();
  const serviceInformer = new Informer(client, services, { log });
  const sliceInformer = new Informer(client, endpointSlices, { log });
  const namespaceInformer = new Informer(client, namespaces, { log });
  const slicesByService = new Map<string, Map<string, EndpointSlice>>();
  const serviceOf = ({ metadata }: EndpointSlice): string =>
    objectKey(metadata.namespace, metadata.labels?.[serviceNameLabel] ?? '');
  const put = (slice: EndpointSlice): void => {
    const key = serviceOf(slice);
    const own = slicesByService.get(key) ?? new Map<string, EndpointSlice>();
    own.set(slice.metadata.name, slice);
    slicesByService.set(key, own);
  };
  const drop = (slice: EndpointSlice): void => {
    const own = slicesByService.get(serviceOf(slice));
    if (own?.delete(slice.metadata.name) === true && own.size === 0) slicesByService.delete(serviceOf(slice));
  };
  sliceInformer.on('add', put);
  sliceInformer.on('update', (slice, old) => {
    drop(old);
    put(slice);
  });
  sliceInformer.on('delete', drop);
  const view: ZoneView = {
    service: (namespace, name) => serviceInformer.get(namespace, name),
    slices: (namespace, name) => [...(slicesByService.get(objectKey(namespace, name))?.values() ?? [])],
    hasNamespace: (namespace) => namespaceInformer.get(undefined, namespace) !== undefined,
  };
  let ready = false;
  const health = createServer((request, response) => {
    const ok = request.url === '/health' || (request.url === '/ready' && ready);
    response.writeHead(ok ? 200 : 503).end(ok ? 'OK' : 'not ready');
  });
  health.listen(options.healthPort, hosts.some((host) => host.includes(':')) ? '::' : '0.0.0.0');
  for (const informer of [serviceInformer, sliceInformer, namespaceInformer]) informer.start(abort.signal);
  await Promise.all([serviceInformer.synced, sliceInformer.synced, namespaceInformer.synced]);
  // Only now: a name that is asked for before the list is in must wait, not be denied.
  const servers = hosts.map((host) => new DnsServer({ view, domain, host, port, log }));
  const bound = (await Promise.all(servers.map((server) => server.start())))[0] ?? port;
  ready = true;
  log.info('serving', { domain, hosts: hosts.join(','), port: bound, services: serviceInformer.size });
  return {
    port: bound,
    async [Symbol.asyncDispose]() {
      abort.abort(new Error('ended'));
      health.close();
      await Promise.all(servers.map((server) => server[Symbol.asyncDispose]()));
    },
  };
}
