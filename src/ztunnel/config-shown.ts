// The configuration as /config_dump and the log show it: upstream's keys and forms, then what only we have.
import type { ZtunnelConfig } from './config.ts';

const duration = (ms: number): unknown => ({ secs: Math.floor(ms / 1000), nanos: (ms % 1000) * 1e6 });

/** A literal PEM or SYSTEM is told from a path, which upstream calls a file. */
function root(text: string): unknown {
  if (text === 'SYSTEM') return 'Default';
  return text.includes('-----BEGIN') ? { Static: 'a literal PEM' } : { File: text };
}

const loopbackOr = (hosts: readonly string[], port: number): unknown =>
  hosts.length === 1 && hosts[0] !== '127.0.0.1'
    ? { SocketAddr: `${hosts[0]?.includes(':') ? `[${hosts[0]}]` : hosts[0]}:${port}` }
    : { Localhost: [hosts.length > 1, port] };

/** Never the token, which may be literal, and of the extra headers the names only. */
export function configShown(config: ZtunnelConfig): Record<string, unknown> {
  const { ports, dns, windows, keepAlive, serviceAccount } = config;
  const any = config.ipv6 ? '[::]' : '0.0.0.0';
  const headers = (map: Readonly<Record<string, string>>) =>
    Object.keys(map).map((name) => [name, 'redacted']);
  return {
    proxy: true,
    dnsProxy: dns.capture,
    windowSize: windows.streamWindow,
    connectionWindowSize: windows.connectionWindow,
    frameSize: windows.maxFrameSize,
    poolMaxStreamsPerConn: config.poolMaxStreams,
    poolUnusedReleaseTimeout: duration(config.poolIdleMs),
    socks5Addr: null,
    adminAddr: { Localhost: [config.ipv6, ports.admin] },
    statsAddr: { SocketAddr: `${any}:${ports.metrics}` },
    readinessAddr: { SocketAddr: `${any}:${ports.readiness}` },
    inboundAddr: `${any}:${ports.inbound}`,
    inboundPlaintextAddr: `${any}:${ports.inboundPlaintext}`,
    outboundAddr: `${any}:${ports.outbound}`,
    dnsProxyAddr: loopbackOr(dns.hosts, dns.port),
    illegalPorts: [ports.outbound, ports.inboundPlaintext, ports.inbound],
    network: config.network,
    localNode: config.nodeName ?? null,
    proxyMode: 'Shared',
    proxyWorkloadInformation: null,
    clusterId: config.clusterId,
    clusterDomain: config.clusterDomain,
    caAddress: config.caAddress,
    caRootCert: root(config.caRootCert),
    altCaHostname: config.altCaHostname ?? null,
    xdsAddress: config.xdsAddress === '' ? null : config.xdsAddress,
    xdsRootCert: root(config.xdsRootCert),
    altXdsHostname: config.altXdsHostname ?? null,
    preferedServiceNamespace: dns.preferredNamespace ?? null,
    secretTtl: duration(config.certificateTtlSeconds * 1000),
    xdsOnDemand: false,
    fakeCa: false,
    fakeSelfInbound: false,
    selfTerminationDeadline: duration(config.drainMs),
    proxyMetadata: config.proxyMetadata,
    numWorkerThreads: config.workers,
    requireOriginalSource: config.originalSource === 'try' ? null : config.originalSource === 'always',
    proxyArgs: 'ztunnel',
    inpodUds: config.zdsPath,
    inpodPortReuse: config.reusePort,
    packetMark: config.packetMark,
    socketConfig: {
      ...(keepAlive === undefined
        ? {}
        : {
            keepaliveTime: duration(keepAlive.timeSeconds * 1000),
            keepaliveInterval: duration(keepAlive.intervalSeconds * 1000),
            keepaliveRetries: keepAlive.retries,
          }),
      keepaliveEnabled: keepAlive !== undefined,
      userTimeoutEnabled: config.userTimeoutMs !== undefined,
    },
    xdsHeaders: headers(config.xdsHeaders),
    caHeaders: headers(config.caHeaders),
    localhostAppTunnel: config.loopbackTunnel,
    ztunnelIdentity:
      serviceAccount === undefined
        ? null
        : `spiffe://${config.trustDomain}/ns/${config.podNamespace}/sa/${serviceAccount}`,
    ztunnelWorkload:
      serviceAccount === undefined
        ? null
        : { name: config.podName, namespace: config.podNamespace, serviceAccount },
    ipv6Enabled: config.ipv6,
    crlPath: null,
    enableEnhancedBaggage: config.responseBaggage,
    // Ours only.
    logLevel: config.logLevel,
    logFormat: config.logFormat,
    policyLogLevel: config.policyLogLevel,
    unknownPolicy: config.unknownPolicy,
    maxConnectionsPerPod: config.maxConnectionsPerPod,
  };
}
