// All HTTP routes that a waypoint knows, by parent. A change of one route compiles that route and touches the tables of
// its parents, entry by entry; nothing else is built again.
//
// Which routes apply to a request for a service: those of Gateway API attached to the service; if it has none,
// VirtualServices of the service, in listed order; if it has none either, routes attached to the waypoint, by hostname.
// The mix of the first two is undefined upstream; here the whole service goes by Gateway API, so that one object more
// never changes the order inside the other kind. Routes for a port and for all ports stand beside each other.
import type { HttpMatch, HttpRoute, HttpRule, RequestFacts, ServiceKey } from '#/model/index.ts';
import { MatchInput } from './match-input.ts';
import { PathIndex } from './path-index.ts';
import {
  compareListed,
  compareSpecific,
  compileRoute,
  type CompiledRoute,
  type RouteEntry,
} from './route-entry.ts';

type Precedence = HttpRoute['precedence'];

const everyPort = 0;

/** Entries of one parent (and hostname), by the port that the parent reference names. */
class PortTables {
  readonly #precedence: Precedence;
  readonly #byPort = new Map<number, PathIndex>();

  constructor(precedence: Precedence) {
    this.#precedence = precedence;
  }

  get empty(): boolean {
    return this.#byPort.size === 0;
  }

  add(port: number, entry: RouteEntry): void {
    let index = this.#byPort.get(port);
    if (index === undefined) this.#byPort.set(port, (index = new PathIndex(this.#precedence)));
    index.add(entry);
  }

  remove(port: number, entry: RouteEntry): void {
    const index = this.#byPort.get(port);
    index?.remove(entry);
    if (index?.size === 0) this.#byPort.delete(port);
  }

  applies(port: number): boolean {
    return this.#byPort.has(everyPort) || this.#byPort.has(port);
  }

  find(input: MatchInput): RouteEntry | undefined {
    const general = this.#byPort.get(everyPort)?.find(input);
    const own = this.#byPort.get(input.port);
    if (own === undefined) return general;
    const found = own.find(input);
    if (found === undefined || general === undefined) return found ?? general;
    const compare = this.#precedence === 'listed' ? compareListed : compareSpecific;
    return compare(general, found) <= 0 ? general : found;
  }
}

/** Entries of a waypoint's own routes, by hostname. The most specific name first, then the next, as Gateway API says. */
class HostTables {
  readonly #precedence: Precedence;
  readonly #hosts = new Map<string, PortTables>();

  constructor(precedence: Precedence) {
    this.#precedence = precedence;
  }

  get empty(): boolean {
    return this.#hosts.size === 0;
  }

  add(hostname: string, port: number, entry: RouteEntry): void {
    let tables = this.#hosts.get(hostname);
    if (tables === undefined) this.#hosts.set(hostname, (tables = new PortTables(this.#precedence)));
    tables.add(port, entry);
  }

  remove(hostname: string, port: number, entry: RouteEntry): void {
    const tables = this.#hosts.get(hostname);
    tables?.remove(port, entry);
    if (tables?.empty === true) this.#hosts.delete(hostname);
  }

  /** `no-route`: the host has routes, and none matches. */
  find(input: MatchInput): RouteEntry | 'no-route' | undefined {
    const { host } = input;
    let applied = false;
    const look = (name: string): RouteEntry | undefined => {
      const tables = this.#hosts.get(name);
      if (tables === undefined || !tables.applies(input.port)) return undefined;
      applied = true;
      return tables.find(input);
    };
    let found = look(host);
    for (let dot = host.indexOf('.'); found === undefined && dot >= 0; dot = host.indexOf('.', dot + 1))
      found = look(`*${host.slice(dot)}`);
    found ??= look('*');
    return found ?? (applied ? 'no-route' : undefined);
  }
}

/** Whom a request is for. */
export interface RequestTarget {
  readonly service: ServiceKey | undefined;
  /** `ns/name` of the waypoint. */
  readonly gateway: string;
  readonly port: number;
}

/** What was found; made when the route was compiled. */
export interface RouteMatch {
  readonly route: HttpRoute;
  readonly rule: HttpRule;
  readonly match?: HttpMatch;
}

const tableKey = (precedence: Precedence, parent: string): string => `${precedence} ${parent}`;

/** The names that a route of a waypoint is found by; no hostname is `*`. */
const hostnamesOf = ({ hostnames }: HttpRoute): readonly string[] =>
  hostnames.length === 0 ? ['*'] : hostnames;

export class HttpRouteTables {
  readonly #routes = new Map<string, CompiledRoute>();
  readonly #services = new Map<string, PortTables>();
  readonly #gateways = new Map<string, HostTables>();

  get size(): number {
    return this.#routes.size;
  }

  /** Adds a route, or replaces the one of that name. Returns what of it could not be compiled. */
  put(route: HttpRoute): readonly string[] {
    this.remove(route.name);
    const compiled = compileRoute(route);
    this.#routes.set(route.name, compiled);
    this.#each(compiled, true);
    return compiled.problems;
  }

  /** By `HttpRoute.name`. */
  remove(name: string): void {
    const compiled = this.#routes.get(name);
    if (compiled === undefined) return;
    this.#routes.delete(name);
    this.#each(compiled, false);
  }

  #each({ route, entries }: CompiledRoute, add: boolean): void {
    const { precedence } = route;
    // A parent that is named twice counts once.
    const seen = new Set<string>();
    for (const parent of route.parents) {
      const port = parent.port ?? everyPort;
      const key = tableKey(precedence, parent.kind === 'service' ? parent.service : parent.gateway);
      if (seen.has(`${parent.kind} ${port} ${key}`)) continue;
      seen.add(`${parent.kind} ${port} ${key}`);
      if (parent.kind === 'service') {
        let tables = this.#services.get(key);
        if (tables === undefined) this.#services.set(key, (tables = new PortTables(precedence)));
        for (const entry of entries)
          if (add) tables.add(port, entry);
          else tables.remove(port, entry);
        if (tables.empty) this.#services.delete(key);
        continue;
      }
      let tables = this.#gateways.get(key);
      if (tables === undefined) this.#gateways.set(key, (tables = new HostTables(precedence)));
      for (const hostname of new Set(hostnamesOf(route)))
        for (const entry of entries)
          if (add) tables.add(hostname, port, entry);
          else tables.remove(hostname, port, entry);
      if (tables.empty) this.#gateways.delete(key);
    }
  }

  /** The entry with what was compiled for it; `match` is the door for others. */
  find(
    request: RequestFacts,
    { service, gateway, port }: RequestTarget,
  ): RouteEntry | 'no-route' | undefined {
    let input: MatchInput | undefined;
    if (service !== undefined && this.#services.size > 0)
      for (const precedence of ['specificity', 'listed'] as const) {
        const tables = this.#services.get(tableKey(precedence, service));
        if (tables === undefined || !tables.applies(port)) continue;
        return tables.find((input ??= new MatchInput(request, port))) ?? 'no-route';
      }
    if (this.#gateways.size > 0)
      for (const precedence of ['specificity', 'listed'] as const) {
        const found = this.#gateways
          .get(tableKey(precedence, gateway))
          ?.find((input ??= new MatchInput(request, port)));
        if (found !== undefined) return found;
      }
    return undefined;
  }

  /** `no-route`: routes exist and none matches, which is a 404. Undefined: no route, so the service itself gets it. */
  match(request: RequestFacts, target: RequestTarget): RouteMatch | 'no-route' | undefined {
    return this.find(request, target);
  }
}
