// TCP and TLS routes of services and of the waypoint. TLS routes (those with SNI names) come before TCP routes; of
// several that fit, the more specific name, then the older, then the name of the object.
import type { TcpRoute, WeightedDestination } from '#/model/index.ts';
import { chooseDestination, compileDestinations, type DestinationChoices } from './choose-destination.ts';
import { compareRoutes } from './route-entry.ts';
import type { RequestTarget } from './route-table.ts';

interface CompiledTcpRoute {
  readonly route: TcpRoute;
  readonly destinations: DestinationChoices;
  readonly port: number | undefined;
}

export type TcpRouteMatch =
  | { readonly kind: 'forward'; readonly route: TcpRoute; readonly reference: WeightedDestination }
  /**
   * No destination has a weight, the one that was drawn is broken, or the service has routes and none fits (then without
   * a route): the connection is closed.
   */
  | { readonly kind: 'refuse'; readonly route?: TcpRoute; readonly reason: string };

/** How specific a name is for a server name: exact before wildcards, longer wildcards first; undefined: not at all. */
function sniRank(hosts: readonly string[], sni: string): number | undefined {
  let best: number | undefined;
  for (const host of hosts) {
    let rank: number | undefined;
    if (host === sni) rank = 1000;
    else if (host === '*') rank = 0;
    else if (host.startsWith('*.') && sni.length >= host.length && sni.endsWith(host.slice(1)))
      rank = host.length;
    if (rank !== undefined && (best === undefined || rank > best)) best = rank;
  }
  return best;
}

const byOrder = (a: CompiledTcpRoute, b: CompiledTcpRoute): number =>
  compareRoutes(a.route.order, b.route.order) || (a.route.name < b.route.name ? -1 : 1);

export class TcpRouteTables {
  readonly #routes = new Map<string, TcpRoute>();
  /** By `<kind> <parent>`, sorted. */
  readonly #parents = new Map<string, CompiledTcpRoute[]>();

  get size(): number {
    return this.#routes.size;
  }

  /** Adds a route, or replaces the one of that name. */
  put(route: TcpRoute): void {
    this.remove(route.name);
    this.#routes.set(route.name, route);
    const destinations = compileDestinations(route.destinations, {}, []);
    for (const parent of route.parents) {
      const key = parent.kind === 'service' ? `service ${parent.service}` : `waypoint ${parent.gateway}`;
      const list = this.#parents.get(key) ?? [];
      list.push({ route, destinations, port: parent.port });
      this.#parents.set(key, list.toSorted(byOrder));
    }
  }

  /** By `TcpRoute.name`. */
  remove(name: string): void {
    const route = this.#routes.get(name);
    if (route === undefined) return;
    this.#routes.delete(name);
    for (const [key, list] of this.#parents) {
      const others = list.filter((entry) => entry.route !== route);
      if (others.length === 0) this.#parents.delete(key);
      else if (others.length < list.length) this.#parents.set(key, others);
    }
  }

  /** The service's own routes before those of the waypoint. */
  find(target: RequestTarget, sni: string | undefined): TcpRoute | undefined {
    return this.#find(target, sni)?.route;
  }

  #find({ service, gateway, port }: RequestTarget, sni: string | undefined): CompiledTcpRoute | undefined {
    const ofService = service === undefined ? undefined : this.#best(`service ${service}`, port, sni);
    return ofService ?? this.#best(`waypoint ${gateway}`, port, sni);
  }

  #best(key: string, port: number, sni: string | undefined): CompiledTcpRoute | undefined {
    let tls: CompiledTcpRoute | undefined;
    let tlsRank = -1;
    let tcp: CompiledTcpRoute | undefined;
    const name = sni?.toLowerCase();
    for (const entry of this.#parents.get(key) ?? []) {
      if (entry.port !== undefined && entry.port !== port) continue;
      if (entry.route.sniHosts.length === 0) tcp ??= entry;
      else if (name !== undefined) {
        const rank = sniRank(entry.route.sniHosts, name);
        if (rank !== undefined && rank > tlsRank) {
          tls = entry;
          tlsRank = rank;
        }
      }
    }
    return tls ?? tcp;
  }

  /**
   * The route and the destination drawn by weight; undefined: no route, so the service itself gets it.
   * `random` gives numbers in [0, 1).
   */
  match(target: RequestTarget, sni: string | undefined, random: () => number): TcpRouteMatch | undefined {
    const found = this.#find(target, sni);
    if (found === undefined) return this.#unmatched(target, sni);
    const { route } = found;
    const choice = chooseDestination(found.destinations, random);
    if (choice === undefined)
      return { kind: 'refuse', route, reason: `${route.name} has no destination with a weight` };
    const { reference } = choice;
    return reference.destination === undefined
      ? { kind: 'refuse', route, reason: `${route.name}: ${reference.broken ?? 'a broken reference'}` }
      : { kind: 'forward', route, reference };
  }

  /** A service all of whose routes name other servers is like one whose HTTP routes match nothing. */
  #unmatched({ service, port }: RequestTarget, sni: string | undefined): TcpRouteMatch | undefined {
    const applies = this.#parents
      .get(`service ${service}`)
      ?.some((entry) => entry.port === undefined || entry.port === port);
    if (applies !== true) return undefined;
    const asked = sni === undefined ? 'a connection without SNI' : `SNI ${sni}`;
    return { kind: 'refuse', reason: `no TLS route of service ${service} port ${port} takes ${asked}` };
  }
}
