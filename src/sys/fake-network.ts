// The addresses and ports of fake namespaces, and what they are on the real loopback. Pure tables; knows
// which listener a connection reaches, as the kernel and a pod's redirection rules would choose it.
import { isLoopback, isV6, type Ip, type SocketAddress } from '#/kit/index.ts';
import { errnos } from './system-error.ts';

/** Identity of a namespace: `dev:inode`, or '' for the process's own. */
export type NetnsKey = string;

export interface FakeListener {
  readonly netns: NetnsKey;
  readonly protocol: 'tcp' | 'udp';
  readonly host: string;
  readonly port: number;
  readonly reusePort: boolean;
  /** Port on the real 127.0.0.1. */
  readonly realPort: number;
  readonly alive: () => boolean;
}

/** What a pod's redirection rules do. Marked sockets are the proxy's own, and pass. */
export interface FakeRedirection {
  /** Unmarked connections that leave the namespace go to this port of it. */
  readonly outboundTo?: number | undefined;
  /** Connections from other namespaces go to this port, but for `inboundExcept`. */
  readonly inboundTo?: number | undefined;
  readonly inboundExcept?: readonly number[] | undefined;
}

export interface FakeRoute {
  readonly realPort: number;
  /** The accepted socket's own address. */
  readonly local: SocketAddress;
  /** Set if a redirection was at work. */
  readonly original: SocketAddress | undefined;
}

const wildcard = (host: string): boolean => host === '::' || host === '0.0.0.0';
const covers = (host: string, ip: string): boolean =>
  host === ip || host === '::' || (host === '0.0.0.0' && !isV6(ip));

export class FakeNetwork {
  readonly #owners = new Map<string, NetnsKey>();
  readonly #redirections = new Map<NetnsKey, FakeRedirection>();
  #listeners: FakeListener[] = [];

  assign(netns: NetnsKey, ip: string): void {
    this.#owners.set(ip, netns);
  }

  redirect(netns: NetnsKey, redirection: FakeRedirection): void {
    this.#redirections.set(netns, redirection);
  }

  /** The namespace's first address of the family of `ip`, as source of a connection to `ip`. */
  sourceFor(netns: NetnsKey, ip: string): Ip {
    const v6 = isV6(ip);
    if (!isLoopback(ip))
      for (const [own, owner] of this.#owners) if (owner === netns && isV6(own) === v6) return own as Ip;
    return (v6 ? '::1' : '127.0.0.1') as Ip;
  }

  /** True if the kernel would answer EADDRINUSE. */
  taken(netns: NetnsKey, protocol: 'tcp' | 'udp', host: string, port: number, reusePort: boolean): boolean {
    return this.#live().some(
      (other) =>
        other.netns === netns &&
        other.protocol === protocol &&
        other.port === port &&
        (other.host === host || wildcard(other.host) || wildcard(host)) &&
        !(other.reusePort && reusePort),
    );
  }

  add(listener: FakeListener): void {
    this.#listeners.push(listener);
  }

  byRealPort(realPort: number): FakeListener | undefined {
    return this.#live().find((listener) => listener.realPort === realPort);
  }

  /** Where a packet from `netns` ends, or the errno. */
  route(
    netns: NetnsKey,
    to: SocketAddress,
    marked: boolean,
    protocol: 'tcp' | 'udp' = 'tcp',
  ): FakeRoute | number {
    const owner = isLoopback(to.ip) ? netns : this.#owners.get(to.ip);
    const leaves = owner !== netns;
    const out = this.#redirections.get(netns)?.outboundTo;
    if (protocol === 'tcp' && leaves && !marked && out !== undefined)
      return this.#reach(netns, { ip: '127.0.0.1' as Ip, port: out }, protocol, to);
    if (owner === undefined) return errnos.EHOSTUNREACH;
    const rules = this.#redirections.get(owner);
    if (
      protocol === 'tcp' &&
      leaves &&
      rules?.inboundTo !== undefined &&
      rules.inboundExcept?.includes(to.port) !== true
    )
      return this.#reach(owner, { ip: to.ip, port: rules.inboundTo }, protocol, to);
    return this.#reach(owner, to, protocol, undefined);
  }

  #reach(
    netns: NetnsKey,
    local: SocketAddress,
    protocol: 'tcp' | 'udp',
    original: SocketAddress | undefined,
  ): FakeRoute | number {
    const listener = this.#live().findLast(
      (one) =>
        one.netns === netns &&
        one.protocol === protocol &&
        one.port === local.port &&
        covers(one.host, local.ip),
    );
    if (listener !== undefined) return { realPort: listener.realPort, local, original };
    // Servers that a test has put on the real loopback belong to the own namespace.
    if (netns === '' && isLoopback(local.ip)) return { realPort: local.port, local, original };
    return errnos.ECONNREFUSED;
  }

  /** node:net closes fds without a word to us. */
  #live(): FakeListener[] {
    this.#listeners = this.#listeners.filter((listener) => listener.alive());
    return this.#listeners;
  }
}
