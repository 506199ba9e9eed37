// The names of a cluster, by the Kubernetes DNS specification (1.1.0): services, headless endpoints, named ports,
// pods by address. Pure: objects in, answers out.
import type { Answer } from 'dns-packet';
import type { Endpoint, EndpointSlice, KubeService } from '#/kube/index.ts';

export interface ZoneView {
  service(namespace: string, name: string): KubeService | undefined;
  slices(namespace: string, service: string): readonly EndpointSlice[];
  hasNamespace(namespace: string): boolean;
}

export interface ZoneAnswer {
  readonly rcode: 'NOERROR' | 'NXDOMAIN';
  readonly answers: readonly Answer[];
  readonly additionals: readonly Answer[];
}

/** Seconds. Short: a lab's services come and go while somebody watches. */
export const zoneTtl = 5;

const nothing: ZoneAnswer = { rcode: 'NXDOMAIN', answers: [], additionals: [] };
const empty: ZoneAnswer = { rcode: 'NOERROR', answers: [], additionals: [] };
const dashed = (ip: string): string => ip.replaceAll(/[.:]/g, '-');

const records = (name: string, ips: readonly string[], type: string): Answer[] =>
  ips
    .filter((ip) => type === (ip.includes(':') ? 'AAAA' : 'A'))
    .map((data) => ({ type: type as 'A', name, ttl: zoneTtl, data }));

const isHeadless = (service: KubeService): boolean =>
  service.spec.clusterIP === 'None' || (service.spec.clusterIPs ?? [])[0] === 'None';

const clusterIps = ({ spec }: KubeService): readonly string[] =>
  spec.clusterIPs ?? (spec.clusterIP === undefined || spec.clusterIP === '' ? [] : [spec.clusterIP]);

/** The SOA that says for how long a "no" may be kept. */
export function authority(domain: string): Answer {
  return {
    type: 'SOA',
    name: domain,
    ttl: zoneTtl,
    data: {
      mname: `ns.dns.${domain}`,
      rname: `hostmaster.${domain}`,
      serial: 1,
      refresh: 7200,
      retry: 1800,
      expire: 86400,
      minimum: zoneTtl,
    },
  };
}

/** Answers one question. `domain` without dots at its ends. Names outside it do not exist: a lab has no way out. */
export function answerQuestion(
  view: ZoneView,
  domain: string,
  question: { readonly name: string; readonly type: string },
): ZoneAnswer {
  const asked = question.name;
  const name = asked.toLowerCase().replace(/\.$/, '');
  const type = question.type;
  if (name === domain) {
    if (type === 'SOA') return { ...empty, answers: [authority(domain)] };
    if (type === 'NS')
      return { ...empty, answers: [{ type: 'NS', name: asked, ttl: zoneTtl, data: `ns.dns.${domain}` }] };
    return empty;
  }
  if (!name.endsWith(`.${domain}`)) return nothing;
  const labels = name.slice(0, -domain.length - 1).split('.');
  if (labels.length === 1 && labels[0] === 'dns-version')
    return type === 'TXT'
      ? { ...empty, answers: [{ type: 'TXT', name: asked, ttl: zoneTtl, data: '1.1.0' }] }
      : empty;
  const kind = labels.pop();
  if (kind === 'svc') return answerService(view, domain, labels, asked, type);
  if (kind === 'pod') return answerPod(view, labels, asked, type);
  return nothing;
}

/** `10-244-1-2.ns.pod`: any address of an existing namespace, as kubeadm's CoreDNS answers. */
function answerPod(view: ZoneView, labels: readonly string[], asked: string, type: string): ZoneAnswer {
  const [address, namespace] = labels;
  if (namespace === undefined || !view.hasNamespace(namespace)) return labels.length === 0 ? empty : nothing;
  if (address === undefined || labels.length > 2) return nothing;
  const v4 = /^\d+-\d+-\d+-\d+$/.test(address);
  if (!v4 && !/^[0-9a-f]*(?:-[0-9a-f]*){2,7}$/.test(address)) return nothing;
  const ip = v4 ? address.replaceAll('-', '.') : address.replaceAll('-', ':');
  return { ...empty, answers: records(asked, [ip], type) };
}

function answerService(
  view: ZoneView,
  domain: string,
  labels: readonly string[],
  asked: string,
  type: string,
): ZoneAnswer {
  const rest = [...labels];
  const namespace = rest.pop();
  if (namespace === undefined) return empty;
  const serviceName = rest.pop();
  if (serviceName === undefined) return view.hasNamespace(namespace) ? empty : nothing;
  const service = view.service(namespace, serviceName);
  if (service === undefined) return nothing;
  const host = `${service.metadata.name}.${service.metadata.namespace}.svc.${domain}`;
  if (service.spec.type === 'ExternalName') {
    if (rest.length > 0 || service.spec.externalName === undefined) return nothing;
    const target = service.spec.externalName.toLowerCase();
    const answers: Answer[] = [{ type: 'CNAME', name: asked, ttl: zoneTtl, data: target }];
    if (type !== 'CNAME' && target.endsWith(`.${domain}`))
      answers.push(...answerQuestion(view, domain, { name: target, type }).answers);
    return { ...empty, answers };
  }
  const headless = isHeadless(service);
  const endpoints = headless ? headlessEndpoints(service, view.slices(namespace, serviceName)) : [];
  if (rest.length === 0) {
    const ips = headless ? endpoints.flatMap(({ addresses }) => addresses) : clusterIps(service);
    if (headless && ips.length === 0) return nothing;
    if (type === 'SRV') return answerPorts(view, service, host, endpoints, asked, undefined, undefined);
    return { ...empty, answers: records(asked, ips, type) };
  }
  if (rest.length === 2 && rest[0]?.startsWith('_') === true && rest[1]?.startsWith('_') === true)
    return answerPorts(view, service, host, endpoints, asked, rest[0].slice(1), rest[1].slice(1), type);
  if (rest.length === 1 && headless) {
    const found = endpoints.filter((endpoint) => endpointName(endpoint) === rest[0]);
    if (found.length === 0) return nothing;
    return {
      ...empty,
      answers: records(
        asked,
        found.flatMap(({ addresses }) => addresses),
        type,
      ),
    };
  }
  return nothing;
}

const endpointName = (endpoint: Endpoint): string => endpoint.hostname ?? dashed(endpoint.addresses[0] ?? '');

function headlessEndpoints(service: KubeService, slices: readonly EndpointSlice[]): Endpoint[] {
  return slices
    .flatMap((slice) => slice.endpoints ?? [])
    .filter(
      ({ conditions }) => service.spec.publishNotReadyAddresses === true || conditions?.ready !== false,
    );
}

/** SRV: one record per named port, and for a headless service per endpoint. */
function answerPorts(
  view: ZoneView,
  service: KubeService,
  host: string,
  endpoints: readonly Endpoint[],
  asked: string,
  portName: string | undefined,
  protocol: string | undefined,
  type = 'SRV',
): ZoneAnswer {
  const { namespace = '', name } = service.metadata;
  const targets: { port: number; target: string; ips: readonly string[] }[] = [];
  const matches = (port: { name?: string; protocol?: string }): boolean =>
    port.name !== undefined &&
    (portName === undefined || port.name === portName) &&
    (protocol === undefined || (port.protocol ?? 'TCP').toLowerCase() === protocol);
  if (isHeadless(service)) {
    for (const slice of view.slices(namespace, name))
      for (const port of slice.ports ?? [])
        if (matches(port) && port.port !== undefined)
          for (const endpoint of slice.endpoints ?? [])
            if (endpoints.includes(endpoint))
              targets.push({
                port: port.port,
                target: `${endpointName(endpoint)}.${host}`,
                ips: endpoint.addresses,
              });
  } else
    for (const port of service.spec.ports ?? [])
      if (matches(port)) targets.push({ port: port.port, target: host, ips: clusterIps(service) });
  if (targets.length === 0) return portName === undefined ? empty : nothing;
  if (type !== 'SRV') return empty;
  const weight = Math.max(1, Math.floor(100 / targets.length));
  const seen = new Set<string>();
  return {
    rcode: 'NOERROR',
    answers: targets.map(({ port, target }) => ({
      type: 'SRV',
      name: asked,
      ttl: zoneTtl,
      data: { port, target, priority: 0, weight },
    })),
    additionals: targets.flatMap(({ target, ips }) => {
      if (seen.has(target)) return [];
      seen.add(target);
      return [...records(target, ips, 'A'), ...records(target, ips, 'AAAA')];
    }),
  };
}
