// The DNS proxy of one pod, put together from what the pod's proxies share.
import type { DnsLogRecord, MetricSet } from '#/telemetry/index.ts';
import { awaitLocalWorkload, localWorkload, type PodContext } from '../pod-context.ts';
import { DnsProxy } from './dns-proxy.ts';
import { askNameserver } from './exchange.ts';
import { Forwarder } from './forwarder.ts';
import { NameService } from './name-service.ts';
import type { Nameservers } from './nameservers.ts';

/** What the DNS proxies of all pods of a worker share. */
export interface DnsShared {
  readonly nameservers: Nameservers;
  /** Holds the families of `dnsFamilies`. */
  readonly metrics: MetricSet;
  readonly log: (record: () => DnsLogRecord) => void;
}

/** Undefined if questions are not captured. */
export function podDns(context: PodContext): DnsProxy | undefined {
  const { dns, config, dialer, netns, view, clock, pod, log } = context;
  if (dns === undefined) return undefined;
  const { kernel, mark } = dialer;
  const forwarder = new Forwarder({
    nameservers: () => dns.nameservers.list(),
    ask: (server, query) => askNameserver({ kernel, netns, mark }, server, query),
    clock,
  });
  const service = new NameService({
    client: async () => localWorkload(context) ?? (await awaitLocalWorkload(context)),
    view,
    settings: {
      domain: config.clusterDomain,
      preferredNamespace: config.dns.preferredNamespace,
      ipv6: config.ipv6,
    },
    forward: (query) => forwarder.lookup(query),
    metrics: dns.metrics,
    log: dns.log,
    clock,
  });
  return new DnsProxy({
    kernel,
    netns,
    hosts: config.dns.hosts,
    port: config.dns.port,
    mark,
    reusePort: config.reusePort,
    service,
    forwarder,
    pod: `${pod.namespace}/${pod.name}`,
    log: log.scope('dns::server'),
    clock,
  });
}
