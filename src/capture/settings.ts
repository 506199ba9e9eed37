// What decides the rules of one pod: the node's settings, and the pod's annotations that override them.
import { parseIp, type Ip } from '#/kit/index.ts';

/** Ports on which ztunnel listens inside the pod's network namespace. */
export const capturePorts = { outbound: 15001, inboundPlaintext: 15006, inbound: 15008, dns: 15053 } as const;

export interface Mark {
  readonly value: number;
  readonly mask: number;
}

/** On every socket of ztunnel in the pod: such packets are never redirected. */
export const proxyMark: Mark = { value: 0x539, mask: 0xfff };
/** On connections from ztunnel to the application: replies are routed back to ztunnel's transparent socket. */
export const tunnelMark: Mark = { value: 0x111, mask: 0xfff };

export interface CaptureSettings {
  readonly ipv4: boolean;
  readonly ipv6: boolean;
  /** Redirect DNS (UDP and TCP port 53) to ztunnel's DNS proxy. */
  readonly dnsCapture: boolean;
  /** Leave inbound plaintext alone (a pod that is an ingress). Traffic through the tunnel still works. */
  readonly bypassInbound: boolean;
  /** Interfaces of virtual machines in the pod: what comes in there counts as the pod's outbound traffic. */
  readonly rerouteInterfaces: readonly string[];
  /** The host's probes come from these link-local addresses and pass uncaptured. */
  readonly probeAddressV4: Ip;
  readonly probeAddressV6: Ip;
}

export const captureDefaults: CaptureSettings = {
  ipv4: true,
  ipv6: true,
  dnsCapture: true,
  bypassInbound: false,
  rerouteInterfaces: [],
  probeAddressV4: '169.254.7.127' as Ip,
  probeAddressV6: 'fd16:9254:7127:1337:ffff:ffff:ffff:ffff' as Ip,
};

export const captureAnnotations = {
  bypassInbound: 'ambient.istio.io/bypass-inbound-capture',
  dnsCapture: 'ambient.istio.io/dns-capture',
  rerouteInterfaces: 'istio.io/reroute-virtual-interfaces',
} as const;

/** Settings from which no safe rules can be made. The message names the setting, its value and what is allowed. */
export class CaptureError extends Error {
  override readonly name = 'CaptureError';
}

// IFNAMSIZ is 16 with the final zero. `+` would be a wildcard for iptables, `*` and `"` mean something to nft.
const interfaceName = /^[A-Za-z0-9_.:@-]{1,15}$/;

/** Throws a CaptureError unless every value may stand in a rule. */
export function checkSettings(settings: CaptureSettings): CaptureSettings {
  for (const name of settings.rerouteInterfaces)
    if (!interfaceName.test(name) || name.startsWith('-'))
      throw new CaptureError(
        `interface name ${JSON.stringify(name)} cannot be rerouted: up to 15 of the characters A-Z a-z 0-9 _ . : @ - are allowed`,
      );
  if (settings.rerouteInterfaces.length > maxRerouteInterfaces)
    throw new CaptureError(
      `${settings.rerouteInterfaces.length} interfaces to reroute are more than the ${maxRerouteInterfaces} that are allowed`,
    );
  if (parseIp(settings.probeAddressV4)?.includes('.') !== true)
    throw new CaptureError(
      `the probe address ${JSON.stringify(settings.probeAddressV4)} is not an IPv4 address`,
    );
  if (parseIp(settings.probeAddressV6)?.includes(':') !== true)
    throw new CaptureError(
      `the probe address ${JSON.stringify(settings.probeAddressV6)} is not an IPv6 address`,
    );
  return settings;
}

const maxRerouteInterfaces = 64;

/**
 * The node's settings with a pod's annotations applied. A boolean that is neither `true` nor `false` throws:
 * guessing would either capture what the user excluded or let pass what the user wanted captured.
 */
export function podSettings(
  node: CaptureSettings,
  annotations: Readonly<Record<string, string>>,
): CaptureSettings {
  const flag = (name: string, fallback: boolean): boolean => {
    const text = annotations[name]?.trim().toLowerCase();
    if (text === undefined || text === '') return fallback;
    if (text === 'true') return true;
    if (text === 'false') return false;
    throw new CaptureError(
      `annotation ${name}=${JSON.stringify(annotations[name])} is neither "true" nor "false"`,
    );
  };
  const reroute = annotations[captureAnnotations.rerouteInterfaces];
  return checkSettings({
    ...node,
    bypassInbound: flag(captureAnnotations.bypassInbound, node.bypassInbound),
    dnsCapture: flag(captureAnnotations.dnsCapture, node.dnsCapture),
    rerouteInterfaces:
      reroute === undefined
        ? node.rerouteInterfaces
        : [
            ...new Set(
              reroute
                .split(',')
                .map((name) => name.trim())
                .filter((name) => name !== ''),
            ),
          ],
  });
}
