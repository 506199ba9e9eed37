// The rules inside a pod, as data, in the order in which they are tried. The order and the marks are those of
// Istio's ambient mode, so that either side's agent may take over a pod that the other has set up.
import { isV6 } from '#/kit/index.ts';
import {
  capturePorts,
  checkSettings,
  proxyMark,
  tunnelMark,
  type CaptureSettings,
  type Mark,
} from './settings.ts';

export type Family = 4 | 6;
export type Table = 'mangle' | 'nat' | 'raw' | 'filter';
export type Hook = 'prerouting' | 'output' | 'postrouting' | 'input' | 'forward';

/** All that is given must hold. Addresses are single hosts. */
export interface Match {
  readonly inInterface?: string;
  readonly outInterface?: string;
  readonly notOutInterface?: string;
  readonly source?: string;
  readonly destination?: string;
  readonly notDestination?: string;
  readonly protocol?: 'tcp' | 'udp';
  readonly sourcePort?: number;
  readonly destinationPort?: number;
  readonly notDestinationPort?: number;
  readonly mark?: Mark;
  readonly notMark?: Mark;
  readonly connectionMark?: Mark;
}

export type Action =
  | { readonly kind: 'accept' }
  | { readonly kind: 'return' }
  | { readonly kind: 'drop' }
  /** To the same port of this host, whatever the address was. */
  | { readonly kind: 'redirect'; readonly port: number }
  /** Writes the mark on the connection. */
  | { readonly kind: 'mark-connection'; readonly mark: Mark }
  /** Copies the connection's mark to the packet, all bits. */
  | { readonly kind: 'restore-mark' }
  | { readonly kind: 'conntrack-zone'; readonly zone: number };

export interface Rule {
  readonly table: Table;
  readonly hook: Hook;
  readonly match: Match;
  readonly action: Action;
}

const dnsPort = 53;
/** DNS queries of ztunnel and of the application must not share conntrack entries: both go to one server. */
const proxyDnsZone = 1;

/** The rules of a pod for one address family. Throws a CaptureError for settings that cannot be rules. */
export function podRules(settings: CaptureSettings, family: Family): readonly Rule[] {
  checkSettings(settings);
  const probe = family === 4 ? settings.probeAddressV4 : settings.probeAddressV6;
  const loopback = family === 4 ? '127.0.0.1' : '::1';
  const rules: Rule[] = [];
  const add = (table: Table, hook: Hook, match: Match, action: Action) =>
    rules.push({ table, hook, match, action });
  const accept = { kind: 'accept' } as const;
  const redirect = (port: number) => ({ kind: 'redirect', port }) as const;

  // What a virtual machine in the pod sends comes in by a bridge or tap: it is outbound traffic. The RETURN
  // keeps the rest of the chain from taking it for inbound.
  for (const inInterface of settings.rerouteInterfaces) {
    add('nat', 'prerouting', { inInterface, protocol: 'tcp' }, redirect(capturePorts.outbound));
    add('nat', 'prerouting', { inInterface, protocol: 'tcp' }, { kind: 'return' });
  }
  // ztunnel speaks to the application with the client's address. The connection is marked here, and the
  // application's replies get the mark back below: the routing rule then delivers them to ztunnel, not to the client.
  add('mangle', 'prerouting', { mark: proxyMark }, { kind: 'mark-connection', mark: tunnelMark });
  if (!settings.bypassInbound) add('nat', 'prerouting', { source: probe, protocol: 'tcp' }, accept);
  add('nat', 'output', { destination: probe, protocol: 'tcp' }, accept);
  if (!settings.bypassInbound)
    add(
      'nat',
      'prerouting',
      {
        notDestination: loopback,
        protocol: 'tcp',
        notDestinationPort: capturePorts.inbound,
        notMark: proxyMark,
      },
      redirect(capturePorts.inboundPlaintext),
    );
  add('mangle', 'output', { connectionMark: tunnelMark }, { kind: 'restore-mark' });
  if (settings.dnsCapture) {
    const port = { destinationPort: dnsPort, notMark: proxyMark };
    // UDP on lo stays: ztunnel's own DNS proxy answers there, and resolvers such as 127.0.0.53 are the pod's.
    add('nat', 'output', { notOutInterface: 'lo', protocol: 'udp', ...port }, redirect(capturePorts.dns));
    add('nat', 'output', { notDestination: loopback, protocol: 'tcp', ...port }, redirect(capturePorts.dns));
    const zone = { kind: 'conntrack-zone', zone: proxyDnsZone } as const;
    add('raw', 'output', { protocol: 'udp', mark: proxyMark, destinationPort: dnsPort }, zone);
    add('raw', 'prerouting', { protocol: 'udp', notMark: proxyMark, sourcePort: dnsPort }, zone);
  }
  add('nat', 'output', { protocol: 'tcp', mark: tunnelMark }, accept);
  // A pod that calls its own address is not sent through the mesh.
  add('nat', 'output', { notDestination: loopback, outInterface: 'lo' }, accept);
  add(
    'nat',
    'output',
    { notDestination: loopback, protocol: 'tcp', notMark: proxyMark },
    redirect(capturePorts.outbound),
  );
  return rules;
}

/** The families for which the settings ask for rules. */
export function captureFamilies(settings: CaptureSettings): readonly Family[] {
  return [...(settings.ipv4 ? [4 as const] : []), ...(settings.ipv6 ? [6 as const] : [])];
}

/** True if the rule names an address, so that the other family needs a twin of it. */
export function bindsFamily(rule: Rule): boolean {
  const { source, destination, notDestination } = rule.match;
  return (source ?? destination ?? notDestination) !== undefined;
}

/** An address with the prefix length of a single host. */
export const hostPrefix = (address: string): string => `${address}/${isV6(address) ? 128 : 32}`;
