// All destinations that this worker sends to. Made when they are first asked for, brought up to date when the mesh has
// changed, given up when nobody has asked for a while.
import { errorText } from '#/errors/index.ts';
import type { RequestHead } from '#/http/index.ts';
import type { SocketAddress } from '#/kit/index.ts';
import {
  serviceKey,
  type ConnectionFacts,
  type Destination,
  type Service,
  type ServiceKey,
  type ServicePort,
  type TrafficSettings,
  type Workload,
} from '#/model/index.ts';
import { hashKey, type Place } from '#/route/index.ts';
import type { Resources } from '../config/resources.ts';
import { lookUp, type WorkerContext } from '../context.ts';
import { requestFacts } from '../requests/request-facts.ts';
import { endpointKeys, type Target } from '../resolve-target.ts';
import { Cluster, type ChosenEndpoint, type ListedEndpoint, type PickFailure } from './cluster.ts';
import { ResolvedNames } from './resolved-names.ts';
import { addressOf, endpointAddress, outsideTerms } from './endpoint.ts';
import type { UpstreamProtocol } from './http-pool.ts';
import type { Tunnels } from './open-channel.ts';

export interface PickAt {
  /** Absent: what the client addressed. */
  readonly destination: Destination | undefined;
  readonly settings: TrafficSettings;
  readonly target: Target;
  /** Absent: no HTTP. */
  readonly head: RequestHead | undefined;
  readonly facts: ConnectionFacts;
  readonly tried: readonly ChosenEndpoint[];
}

type Picked = (picked: ChosenEndpoint | { readonly failure: PickFailure }) => void;

interface Known {
  readonly cluster: Cluster;
  /** What its endpoints were listed from. */
  service: number;
  resources: number;
  names: number;
}

/** Destinations that nobody has asked for in this time are given up. */
const idleMs = 600_000;
/** Destinations that are kept: clients choose the names below a wildcard. */
const maxClusters = 4096;
const tickMs = 1000;
const rounds = 3;

/** Of a destination that was given up meanwhile. */
const noLimit: Disposable = { [Symbol.dispose]: () => {} };

export class Clusters {
  readonly #context: WorkerContext;
  readonly #resources: Resources;
  readonly #tunnels: Tunnels;
  readonly #here: Place;
  readonly #known = new Map<string, Known>();
  readonly #names: ResolvedNames;
  /** By service: grows with each change that may touch its endpoints. */
  readonly #serviceVersions = new Map<ServiceKey, number>();
  readonly #timer: NodeJS.Timeout;

  constructor(context: WorkerContext, resources: Resources, tunnels: Tunnels, here: Place) {
    this.#context = context;
    this.#resources = resources;
    this.#tunnels = tunnels;
    this.#here = here;
    this.#names = new ResolvedNames(context.clock);
    context.view.onChange(({ services, workloads }) => {
      for (const key of services.keys()) this.#changed(key);
      for (const { before, after } of workloads.values())
        for (const key of new Set([
          ...Object.keys(before?.services ?? {}),
          ...Object.keys(after?.services ?? {}),
        ]))
          this.#changed(key);
    });
    this.#timer = setInterval(() => this.#tick(), tickMs);
    this.#timer.unref();
  }

  #changed(key: ServiceKey): void {
    this.#serviceVersions.set(key, (this.#serviceVersions.get(key) ?? 0) + 1);
  }

  /** Calls `done` once: on the spot if all is known, unless disposed before. */
  pick(at: PickAt, done: Picked): Disposable | undefined {
    const now = this.#pickNow(at);
    if (!(now instanceof Promise)) {
      done(now);
      return undefined;
    }
    const waiting = { gone: false };
    void tellLater(now, waiting, done);
    return {
      [Symbol.dispose]: () => {
        waiting.gone = true;
      },
    };
  }

  #pickNow(at: PickAt): ReturnType<Clusters['pickKnown']> | Promise<ReturnType<Clusters['pickKnown']>> {
    const missing = this.#missing(at);
    return missing === undefined ? this.pickKnown(at) : this.#pickLater(at, missing);
  }

  async #pickLater(at: PickAt, first: Promise<void>): Promise<ReturnType<Clusters['pickKnown']>> {
    let missing: Promise<void> | undefined = first;
    for (let round = 0; round < rounds && missing !== undefined; round++) {
      await missing;
      missing = this.#missing(at);
    }
    return this.pickKnown(at);
  }

  /** What has to be fetched before the endpoints are known. */
  #missing({ destination, head, facts }: PickAt): Promise<void> | undefined {
    if (destination === undefined) return undefined;
    const { view, config } = this.#context;
    const keys = endpointKeys(destination.service, config.network, view);
    if (keys.length > 0) return lookUp(this.#context, keys);
    const service = view.serviceByKey(destination.service);
    if (service === undefined) return undefined;
    const names = new Set<string>();
    const wildcard = wildcardName(service, head, facts);
    if (wildcard !== undefined) names.add(wildcard);
    else
      for (const workload of view.endpoints(destination.service).workloads)
        if (workload.addresses.length === 0 && workload.hostname !== '') names.add(workload.hostname);
    const unknown = [...names].filter((name) => !this.#names.knows(name));
    if (unknown.length === 0) return undefined;
    return this.#names.resolve(unknown);
  }

  /** With what is known now. */
  pickKnown(at: PickAt): ChosenEndpoint | { readonly failure: PickFailure } {
    const { destination, settings, target, head, facts, tried } = at;
    const service =
      destination === undefined ? undefined : this.#context.view.serviceByKey(destination.service);
    if (destination !== undefined && service === undefined)
      return { failure: { kind: 'unknown', message: `there is no service ${destination.service}` } };
    const port = service?.ports.find(({ servicePort }) => servicePort === destination?.port);
    if (service !== undefined && port === undefined)
      return {
        failure: {
          kind: 'unknown',
          message: `service ${serviceKey(service)} has no port ${destination?.port}`,
        },
      };
    const key = clusterKey(at, service);
    const versions = {
      service: destination === undefined ? 0 : (this.#serviceVersions.get(destination.service) ?? 0),
      resources: this.#resources.clusterVersion,
      names: this.#names.version,
    };
    let known = this.#known.get(key);
    if (known === undefined) {
      if (this.#known.size >= maxClusters) this.#forgetOne();
      known = { cluster: this.#make(settings, service, port), service: -1, resources: -1, names: -1 };
      this.#known.set(key, known);
    }
    if (
      known.service !== versions.service ||
      known.resources !== versions.resources ||
      known.names !== versions.names
    ) {
      known.cluster.configure(settings, service?.loadBalancing);
      known.cluster.update(this.#list(at, service, port), performance.now());
      Object.assign(known, versions);
    }
    const { balancing } = settings;
    const hash =
      balancing?.kind === 'hash' && head !== undefined
        ? hashKey(balancing, requestFacts(head), facts.source.ip, Math.random)
        : undefined;
    const picked = known.cluster.choose(
      {
        hash: hash?.hash,
        setCookie: hash?.setCookie,
        avoid: tried.length === 0 ? undefined : new Set(tried.map(({ uid }) => uid)),
        addressed: target.workload?.uid,
      },
      performance.now(),
    );
    return 'kind' in picked ? { failure: picked } : picked;
  }

  /** The one that nobody has asked for the longest time. */
  #forgetOne(): void {
    let oldest: string | undefined;
    let at = Number.POSITIVE_INFINITY;
    for (const [key, { cluster }] of this.#known)
      if (cluster.lastUsed < at) {
        oldest = key;
        at = cluster.lastUsed;
      }
    if (oldest === undefined) return;
    this.#known.get(oldest)?.cluster.drain();
    this.#known.delete(oldest);
  }

  admitRetry({
    destination,
    settings,
    target,
  }: Pick<PickAt, 'destination' | 'settings' | 'target'>): Disposable | undefined {
    const service =
      destination === undefined ? undefined : this.#context.view.serviceByKey(destination.service);
    const at = { destination, settings, target, head: undefined, tried: [] };
    const known = this.#known.get(clusterKey(at, service));
    return known === undefined ? noLimit : known.cluster.admitRetry();
  }

  #make(settings: TrafficSettings, service: Service | undefined, port: ServicePort | undefined): Cluster {
    const { config, clock } = this.#context;
    return new Cluster(settings, service, {
      tunnels: this.#tunnels,
      limits: config.http,
      clock,
      here: this.#here,
      declared: declaredProtocol(port),
    });
  }

  #list(at: PickAt, service: Service | undefined, port: ServicePort | undefined): ListedEndpoint[] {
    const { destination, settings, target, head, facts } = at;
    const { view } = this.#context;
    if (service === undefined || destination === undefined) {
      const { workload } = target;
      return workload === undefined ? [] : [listed(workload, undefined, facts.destination, settings)];
    }
    const wildcard = wildcardName(service, head, facts);
    if (wildcard !== undefined)
      return this.#names
        .addresses(wildcard)
        .map((ip) => outside(`${wildcard}/${ip}`, { ip, port: destination.port }, settings, wildcard));
    if (service.loadBalancing.mode === 'PASSTHROUGH')
      return [outside(`${facts.destination.ip}`, facts.destination, settings, service.hostname)];
    const key = serviceKey(service);
    const members =
      destination.subset === undefined
        ? undefined
        : (this.#resources.subsetMembers(key, destination.subset) ?? new Set<string>());
    const found: ListedEndpoint[] = [];
    for (const workload of view.endpoints(key).workloads) {
      if (members !== undefined && !members.has(workload.uid)) continue;
      const mapped = workload.services[key]?.find(({ servicePort }) => servicePort === destination.port);
      const targetPort = mapped?.targetPort === 0 ? port?.targetPort : mapped?.targetPort;
      if (targetPort === undefined || targetPort === 0) continue;
      const ip = addressOf(workload, service, facts.destination.ip);
      if (ip !== undefined) found.push(listed(workload, service, { ip, port: targetPort }, settings));
      else if (workload.hostname !== '')
        for (const resolved of this.#names.addresses(workload.hostname))
          found.push({
            ...listed(
              workload,
              service,
              { ip: resolved, port: targetPort },
              withSni(settings, workload.hostname),
            ),
            uid: `${workload.uid}/${resolved}`,
          });
    }
    return found;
  }

  #tick(): void {
    const now = performance.now();
    this.#names.sweep();
    for (const [key, { cluster }] of this.#known) {
      cluster.tick(now);
      if (now - cluster.lastUsed < idleMs) continue;
      cluster.drain();
      this.#known.delete(key);
    }
  }

  get size(): number {
    return this.#known.size;
  }

  drain(): void {
    clearInterval(this.#timer);
    for (const { cluster } of this.#known.values()) cluster.drain();
  }

  destroy(): void {
    clearInterval(this.#timer);
    for (const { cluster } of this.#known.values()) cluster.destroy();
  }
}

async function tellLater(
  later: Promise<Parameters<Picked>[0]>,
  waiting: { readonly gone: boolean },
  done: Picked,
): Promise<void> {
  let picked: Parameters<Picked>[0];
  try {
    picked = await later;
  } catch (error) {
    picked = { failure: { kind: 'none', message: errorText(error) } };
  }
  if (!waiting.gone) done(picked);
  else if (!('failure' in picked)) release(picked);
}

function release(endpoint: ChosenEndpoint): void {
  endpoint.begin();
  endpoint.finish({ kind: 'abandoned' });
}

function clusterKey(
  {
    destination,
    target,
    head,
    facts,
  }: Omit<PickAt, 'settings' | 'facts' | 'tried'> & { readonly facts?: ConnectionFacts },
  service: Service | undefined,
): string {
  if (destination === undefined) return `workload ${target.workload?.uid} ${target.port}`;
  const base = `${destination.service} ${destination.port} ${destination.subset ?? ''}`;
  if (service === undefined || facts === undefined) return base;
  const wildcard = wildcardName(service, head, facts);
  if (wildcard !== undefined) return `${base} ${wildcard}`;
  return service.loadBalancing.mode === 'PASSTHROUGH'
    ? `${base} ${facts.destination.ip} ${facts.destination.port}`
    : base;
}

/** The name that a request to a wildcard service is for; only names that the wildcard covers. */
function wildcardName(
  service: Service,
  head: RequestHead | undefined,
  facts: ConnectionFacts,
): string | undefined {
  if (!service.hostname.startsWith('*.')) return undefined;
  const asked = head === undefined ? facts.sni : head.authority.replace(/:[0-9]+$/, '');
  const suffix = service.hostname.slice(1);
  return asked !== undefined && asked.length > suffix.length && asked.endsWith(suffix) ? asked : '';
}

function declaredProtocol(port: ServicePort | undefined): UpstreamProtocol | undefined {
  switch (port?.appProtocol) {
    case 'GRPC':
    case 'HTTP2':
      return 'http2';
    case 'HTTP11':
      return 'http1';
    default:
      return undefined;
  }
}

const withSni = (settings: TrafficSettings, hostname: string): TrafficSettings =>
  settings.tls === undefined || settings.tls.sni !== undefined
    ? settings
    : { ...settings, tls: { ...settings.tls, sni: hostname } };

function listed(
  workload: Workload,
  service: Service | undefined,
  address: SocketAddress,
  settings: TrafficSettings,
): ListedEndpoint {
  return {
    uid: workload.uid,
    workload,
    to: endpointAddress(workload, service, address, settings),
    weight: workload.capacity,
    healthy: workload.status === 'Healthy',
  };
}

function outside(
  uid: string,
  address: SocketAddress,
  settings: TrafficSettings,
  hostname: string,
): ListedEndpoint {
  return {
    uid,
    workload: undefined,
    to: { address, ...outsideTerms(withSni(settings, hostname)) },
    weight: 1,
    healthy: true,
  };
}
