// The small files that every pod gets: resolv.conf, hosts, hostname. Pure.
import type { Pod } from '#/kube/index.ts';

export interface DnsSettings {
  readonly servers: readonly string[];
  readonly clusterDomain: string;
}

interface DnsConfig {
  readonly nameservers?: readonly string[];
  readonly searches?: readonly string[];
  readonly options?: readonly { readonly name: string; readonly value?: string }[];
}

/**
 * resolv.conf by dnsPolicy. A node's own resolver is the cluster DNS too, without search domains: a lab has no
 * other name server.
 */
export function resolvConf(pod: Pod, dns: DnsSettings): string {
  const { dnsPolicy = 'ClusterFirst', hostNetwork = false } = pod.spec;
  const cluster = dnsPolicy === 'ClusterFirstWithHostNet' || (dnsPolicy === 'ClusterFirst' && !hostNetwork);
  const extra = (pod.spec as { dnsConfig?: DnsConfig }).dnsConfig;
  const servers = dnsPolicy === 'None' ? [] : [...dns.servers];
  const searches = cluster
    ? [`${pod.metadata.namespace}.svc.${dns.clusterDomain}`, `svc.${dns.clusterDomain}`, dns.clusterDomain]
    : [];
  const options = new Map<string, string | undefined>(cluster ? [['ndots', '5']] : []);
  servers.push(...(extra?.nameservers ?? []).filter((server) => !servers.includes(server)));
  searches.push(...(extra?.searches ?? []).filter((search) => !searches.includes(search)));
  for (const { name, value } of extra?.options ?? []) options.set(name, value);
  const lines = [
    // glibc reads three.
    ...servers.slice(0, 3).map((server) => `nameserver ${server}`),
    ...(searches.length > 0 ? [`search ${searches.join(' ')}`] : []),
    ...(options.size > 0
      ? [
          `options ${[...options].map(([name, value]) => (value === undefined ? name : `${name}:${value}`)).join(' ')}`,
        ]
      : []),
  ];
  return `${lines.join('\n')}\n`;
}

/** A pod's own name for itself; a pod on the node's network has the node's. */
export function podHostname(pod: Pod): string {
  if (pod.spec.hostNetwork === true) return pod.spec.nodeName ?? pod.metadata.name;
  // A host name has at most 63 characters, and does not end with a dash.
  return (pod.spec.hostname ?? pod.metadata.name).slice(0, 63).replace(/[-.]+$/, '');
}

interface HostAlias {
  readonly ip: string;
  readonly hostnames?: readonly string[];
}

export function hostsFile(pod: Pod, podIps: readonly string[], clusterDomain: string): string {
  const hostname = podHostname(pod);
  const { subdomain } = pod.spec;
  const full =
    subdomain === undefined
      ? ''
      : `${hostname}.${subdomain}.${pod.metadata.namespace}.svc.${clusterDomain}\t`;
  const aliases = (pod.spec as { hostAliases?: readonly HostAlias[] }).hostAliases ?? [];
  return [
    '# Written by the lab for this pod.',
    '127.0.0.1\tlocalhost',
    '::1\tlocalhost ip6-localhost ip6-loopback',
    ...podIps.map((ip) => `${ip}\t${full}${hostname}`),
    ...aliases.map(({ ip, hostnames }) => `${ip}\t${(hostnames ?? []).join('\t')}`),
    '',
  ].join('\n');
}
