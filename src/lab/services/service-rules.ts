// Service forwarding as data, and as rules for nft: what kube-proxy does on a node. A connection to a cluster
// IP goes to a random ready endpoint, and keeps its client's address, so that policies and logs see the pod.
// Pure.
import type { Endpoint, EndpointSlice, KubeService } from '#/kube/index.ts';

export interface Backend {
  readonly ip: string;
  readonly port: number;
}

/** One address, protocol and port of a service, with what stands behind it. */
export interface ServiceForward {
  /** `namespace/name:port`, for the reader of the rules. */
  readonly title: string;
  readonly ip: string;
  readonly protocol: 'tcp' | 'udp';
  readonly port: number;
  readonly backends: readonly Backend[];
  /** One client always to one backend (sessionAffinity: ClientIP). */
  readonly sticky: boolean;
}

const familyOf = (ip: string): 'IPv4' | 'IPv6' => (ip.includes(':') ? 'IPv6' : 'IPv4');

/** Ready, or, while none is ready, still serving although about to end: as kube-proxy chooses. */
function usable(endpoints: readonly Endpoint[]): readonly Endpoint[] {
  const ready = endpoints.filter(({ conditions }) => conditions?.ready !== false);
  if (ready.length > 0) return ready;
  return endpoints.filter(
    ({ conditions }) => conditions?.serving === true && conditions.terminating === true,
  );
}

/** The forwards of a service on `node` (which matters for internalTrafficPolicy: Local only). */
export function serviceForwards(
  service: KubeService,
  slices: readonly EndpointSlice[],
  node: string,
): ServiceForward[] {
  const { metadata, spec } = service;
  if (spec.type === 'ExternalName') return [];
  const addresses = [
    ...(spec.clusterIPs ?? (spec.clusterIP === undefined ? [] : [spec.clusterIP])),
    ...(spec.externalIPs ?? []),
    ...(service.status?.loadBalancer?.ingress ?? []).flatMap(({ ip }) => (ip === undefined ? [] : [ip])),
  ].filter((ip) => ip !== '' && ip !== 'None');
  const forwards: ServiceForward[] = [];
  for (const port of spec.ports ?? []) {
    const protocol = (port.protocol ?? 'TCP').toLowerCase();
    if (protocol !== 'tcp' && protocol !== 'udp') continue;
    for (const ip of new Set(addresses)) {
      const backends: Backend[] = [];
      for (const slice of slices) {
        if (slice.addressType !== familyOf(ip)) continue;
        const target = (slice.ports ?? []).find(
          (candidate) =>
            (candidate.name ?? '') === (port.name ?? '') &&
            (candidate.protocol ?? 'TCP').toLowerCase() === protocol,
        );
        if (target?.port === undefined) continue;
        const local =
          spec.internalTrafficPolicy === 'Local'
            ? (slice.endpoints ?? []).filter(({ nodeName }) => nodeName === node)
            : (slice.endpoints ?? []);
        for (const endpoint of usable(local))
          if (endpoint.addresses[0] !== undefined)
            backends.push({ ip: endpoint.addresses[0], port: target.port });
      }
      backends.sort((a, b) => (a.ip < b.ip ? -1 : a.ip > b.ip ? 1 : a.port - b.port));
      forwards.push({
        title: `${metadata.namespace}/${metadata.name}:${port.name ?? port.port}`,
        ip,
        protocol,
        port: port.port,
        backends,
        sticky: spec.sessionAffinity === 'ClientIP',
      });
    }
  }
  return forwards;
}

const table = 'inet aura-services';

/** The whole table, as input for `nft -f -`: applied at once, and open connections keep their endpoint. */
export function renderServiceRules(
  forwards: readonly ServiceForward[],
  serviceCidrs: readonly string[],
): string {
  const served = forwards.filter(({ backends }) => backends.length > 0);
  const lines = [`table ${table} {}`, `delete table ${table}`, `table ${table} {`];
  for (const version of ['ip', 'ip6'] as const) {
    const own = served.filter(({ ip }) => familyOf(ip) === (version === 'ip' ? 'IPv4' : 'IPv6'));
    const type = version === 'ip' ? 'ipv4_addr' : 'ipv6_addr';
    const seen = new Set<string>();
    const elements = own.flatMap((forward) => {
      const key = `${forward.ip} . ${forward.protocol} . ${forward.port}`;
      // Two services may name one external IP; an address can lead to one of them only.
      if (seen.has(key)) return [];
      seen.add(key);
      return [`${key} : goto ${chainOf(forward)}`];
    });
    const pods = [...new Set(own.flatMap(({ backends }) => backends.map(({ ip }) => ip)))];
    lines.push(
      `  map services-${version} {`,
      `    type ${type} . inet_proto . inet_service : verdict`,
      ...(elements.length > 0 ? [`    elements = { ${elements.join(',\n      ')} }`] : []),
      '  }',
      `  set hairpin-${version} {`,
      `    type ${type} . ${type}`,
      ...(pods.length > 0
        ? [`    elements = { ${pods.map((ip) => `${ip} . ${ip}`).join(',\n      ')} }`]
        : []),
      '  }',
    );
  }
  const made = new Set<string>();
  for (const forward of served) {
    const name = chainOf(forward);
    if (made.has(name)) continue;
    made.add(name);
    const { backends, title, ip, sticky } = forward;
    const version = familyOf(ip) === 'IPv4' ? 'ip' : 'ip6';
    const choose = sticky ? `jhash ${version} saddr` : 'numgen random';
    const targets = backends.map((backend, i) => `${i} : ${backend.ip} . ${backend.port}`);
    lines.push(
      `  chain ${name} {`,
      `    # ${title}`,
      `    meta l4proto ${forward.protocol} dnat ${version} to ${choose} mod ${backends.length} map { ${targets.join(', ')} }`,
      '  }',
    );
  }
  lines.push(
    '  chain services {',
    '    ip daddr . meta l4proto . th dport vmap @services-ip',
    '    ip6 daddr . meta l4proto . th dport vmap @services-ip6',
    '  }',
    '  chain prerouting {',
    '    type nat hook prerouting priority -100; policy accept;',
    '    jump services',
    '  }',
    '  chain output {',
    '    type nat hook output priority -100; policy accept;',
    '    jump services',
    '  }',
    '  chain postrouting {',
    '    type nat hook postrouting priority 100; policy accept;',
    // A pod that reached itself must see another peer than itself, or it would answer past this node.
    '    ip saddr . ip daddr @hairpin-ip masquerade',
    '    ip6 saddr . ip6 daddr @hairpin-ip6 masquerade',
    '  }',
    '  chain unserved {',
    ...serviceCidrs.flatMap((cidr) => {
      const match = `${cidr.includes(':') ? 'ip6' : 'ip'} daddr ${cidr}`;
      return [`    ${match} meta l4proto tcp reject with tcp reset`, `    ${match} reject`];
    }),
    '  }',
    '  chain forward {',
    '    type filter hook forward priority 0; policy accept;',
    '    jump unserved',
    '  }',
    '  chain unserved-output {',
    '    type filter hook output priority 0; policy accept;',
    '    jump unserved',
    '  }',
    '}',
  );
  return `${lines.join('\n')}\n`;
}

const chainOf = ({ ip, protocol, port }: ServiceForward): string =>
  `to-${ip.replaceAll(/[.:]/g, '-')}-${protocol}-${port}`;
