// One endpoint of a service: where it is, and the connections to it. Lives as long as the service lists it, over all
// rebuilds of the lists that it is in.
import { isV6, type Clock, type Ip, type SocketAddress } from '#/kit/index.ts';
import type { HttpLimits } from '#/http/index.ts';
import {
  knownIdentity,
  parseIdentity,
  type Identity,
  type Service,
  type TrafficSettings,
  type Workload,
} from '#/model/index.ts';
import { HttpPool, type ConnectionTerms, type PoolCircuit, type UpstreamProtocol } from './http-pool.ts';
import type { EndpointAddress, Tunnels } from './open-channel.ts';

const hbonePort = 15008;

/** Who may answer: the workload itself, or what the service says of its servers. */
function identitiesOf(workload: Workload, service: Service | undefined): Identity[] {
  const own = knownIdentity(workload);
  const more = (service?.subjectAltNames ?? []).flatMap((name) => parseIdentity(name) ?? []);
  return own === undefined || more.includes(own) ? more : [...more, own];
}

/** How the address of a workload is reached. */
export function endpointAddress(
  workload: Workload,
  service: Service | undefined,
  address: SocketAddress,
  settings: Pick<TrafficSettings, 'tls' | 'limits'>,
): EndpointAddress {
  const tunnelled = workload.protocol === 'HBONE' || workload.nativeTunnel;
  return {
    address,
    ...(tunnelled ? { tunnel: { port: hbonePort, identities: identitiesOf(workload, service) } } : {}),
    ...(tunnelled ? {} : outsideTerms(settings)),
  };
}

/** What holds where there is no tunnel. */
export function outsideTerms({
  tls,
  limits,
}: Pick<TrafficSettings, 'tls' | 'limits'>): Pick<EndpointAddress, 'tls' | 'keepAlive'> {
  const wanted = limits?.tcpKeepalive;
  const seconds = (ms: number | undefined, otherwise: number): number =>
    ms === undefined ? otherwise : Math.max(1, Math.round(ms / 1000));
  return {
    ...(tls === undefined ? {} : { tls }),
    // What is left out is the kernel's own.
    ...(wanted === undefined
      ? {}
      : {
          keepAlive: {
            timeSeconds: seconds(wanted.timeMs, 7200),
            intervalSeconds: seconds(wanted.intervalMs, 75),
            retries: wanted.probes ?? 9,
          },
        }),
  };
}

/** Of the workload's addresses the one of the family that the client used, else the first that the service allows. */
export function addressOf(workload: Workload, service: Service | undefined, wanted: Ip): Ip | undefined {
  const families = service?.ipFamilies;
  const allowed = workload.addresses.filter((ip) =>
    families === 'IPV4_ONLY' ? !isV6(ip) : families === 'IPV6_ONLY' ? isV6(ip) : true,
  );
  return allowed.find((ip) => isV6(ip) === isV6(wanted)) ?? allowed[0];
}

export interface EndpointOptions {
  readonly tunnels: Tunnels;
  readonly limits: HttpLimits;
  readonly terms: ConnectionTerms;
  readonly clock: Clock;
  readonly circuit: PoolCircuit;
}

/** The connections to one address. */
export class EndpointConnections {
  readonly to: EndpointAddress;
  readonly #options: EndpointOptions;
  readonly #pools = new Map<UpstreamProtocol, HttpPool>();

  constructor(to: EndpointAddress, options: EndpointOptions) {
    this.to = to;
    this.#options = options;
  }

  pool(protocol: UpstreamProtocol): HttpPool {
    let pool = this.#pools.get(protocol);
    if (pool === undefined) {
      const { tunnels, limits, terms, clock, circuit } = this.#options;
      const to = withAlpn(this.to, protocol);
      pool = new HttpPool({
        protocol,
        limits,
        terms,
        clock,
        open: (timeoutMs, done) => tunnels.open(to, timeoutMs, done),
        circuit,
      });
      this.#pools.set(protocol, pool);
    }
    return pool;
  }

  get connections(): number {
    let sum = 0;
    for (const pool of this.#pools.values()) sum += pool.size;
    return sum;
  }

  drain(): void {
    for (const pool of this.#pools.values()) pool.drain();
  }

  destroy(): void {
    for (const pool of this.#pools.values()) pool.destroy();
  }
}

function withAlpn(to: EndpointAddress, protocol: UpstreamProtocol): EndpointAddress {
  if (to.tls === undefined) return to;
  return { ...to, tls: { ...to.tls, alpn: protocol === 'http2' ? ['h2'] : ['http/1.1'] } };
}
