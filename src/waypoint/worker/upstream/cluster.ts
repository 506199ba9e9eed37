// One destination: a service's port, or a subset of it, or a single address. Keeps its endpoints in step with the mesh,
// and chooses among them.
import type { ByteChannel, ClientConnection, RequestHead } from '#/http/index.ts';
import type { SocketAddress } from '#/kit/index.ts';
import type { LoadBalancing, Service, TrafficSettings, Workload } from '#/model/index.ts';
import { Balancer, Circuit, OutlierDetector, type Candidate, type Place } from '#/route/index.ts';
import type { PoolFailure, UpstreamProtocol } from './http-pool.ts';
import { EndpointConnections, type EndpointOptions } from './endpoint.ts';
import type { EndpointAddress, ChannelFailure } from './open-channel.ts';

export interface PickFailure {
  /** `unknown`: there is no such destination. */
  readonly kind: 'none' | 'overflow' | 'unknown';
  readonly message: string;
}

/** What a try came to, for outlier detection. `abandoned`: it was given up, which says nothing of the endpoint. */
export type EndpointOutcome =
  | { readonly kind: 'response'; readonly status: number }
  | { readonly kind: 'timeout' | 'local-failure' | 'abandoned' };

export interface ChosenEndpoint {
  readonly uid: string;
  readonly address: SocketAddress;
  /** Absent: an address outside the mesh. */
  readonly workload: Workload | undefined;
  /** Set-Cookie of consistent hashing. */
  readonly setCookie: string | undefined;
  /** The try begins and ends; each once. */
  begin(): void;
  finish(outcome: EndpointOutcome): void;
  /** An HTTP connection. `done` is called once, unless the result was disposed before. */
  connection(
    head: RequestHead,
    connectTimeoutMs: number,
    done: (connection: ClientConnection | undefined, failure?: PoolFailure) => void,
  ): Disposable | undefined;
  /** A flow of bytes. */
  channel(
    connectTimeoutMs: number,
    done: (channel: ByteChannel | undefined, failure?: ChannelFailure) => void,
  ): Disposable;
}

/** An endpoint as the mesh has it now. */
export interface ListedEndpoint {
  readonly uid: string;
  readonly workload: Workload | undefined;
  readonly to: EndpointAddress;
  readonly weight: number;
  readonly healthy: boolean;
}

interface Member {
  listed: ListedEndpoint;
  readonly candidate: Candidate;
  connections: EndpointConnections;
}

export interface ClusterOptions extends Omit<EndpointOptions, 'circuit' | 'terms'> {
  readonly here: Place;
  /** What requests to the destination speak, if its port says so. */
  readonly declared: UpstreamProtocol | undefined;
}

const unknownPlace: Place = { locality: { region: '', zone: '', subzone: '' } };

export class Cluster {
  readonly #options: ClusterOptions;
  readonly #members = new Map<string, Member>();
  readonly #balancer: Balancer;
  readonly #circuit: Circuit;
  #settings: TrafficSettings;
  #outliers: OutlierDetector | undefined;
  #listed = false;
  lastUsed = 0;

  constructor(settings: TrafficSettings, service: Service | undefined, options: ClusterOptions) {
    this.#options = options;
    this.#settings = settings;
    this.#balancer = new Balancer(
      settings,
      service?.loadBalancing,
      options.here,
      Math.floor(Math.random() * 1000),
    );
    this.#circuit = new Circuit(settings);
    this.#configureOutliers(settings);
  }

  get size(): number {
    return this.#members.size;
  }

  configure(settings: TrafficSettings, loadBalancing: LoadBalancing | undefined): void {
    this.#balancer.configure(settings, loadBalancing);
    if (settings === this.#settings) return;
    const before = this.#settings;
    this.#settings = settings;
    this.#circuit.configure(settings);
    this.#configureOutliers(settings);
    if (JSON.stringify(before.limits) === JSON.stringify(settings.limits)) return;
    // Connections under the former terms may finish.
    for (const member of this.#members.values()) {
      member.connections.drain();
      member.connections = this.#connectionsTo(member.listed);
    }
  }

  #configureOutliers({ outliers }: TrafficSettings): void {
    if (outliers === undefined) this.#outliers = undefined;
    else if (this.#outliers === undefined) {
      this.#outliers = new OutlierDetector(outliers);
      this.#outliers.setHosts(this.#members.keys());
    } else this.#outliers.configure(outliers);
  }

  /** The endpoints as they are now: what is new comes, what is gone finishes what it has. */
  update(endpoints: readonly ListedEndpoint[], now: number): void {
    const present = new Set<string>();
    for (const listed of endpoints) {
      present.add(listed.uid);
      const member = this.#members.get(listed.uid);
      if (member !== undefined && sameWay(member.listed, listed)) {
        member.listed = listed;
        this.#balancer.setHealthy(
          listed.uid,
          listed.healthy && this.#outliers?.isEjected(listed.uid) !== true,
        );
        continue;
      }
      member?.connections.drain();
      this.#add(listed, now);
    }
    for (const [uid, member] of this.#members)
      if (!present.has(uid)) {
        this.#members.delete(uid);
        this.#balancer.remove(uid);
        this.#outliers?.removeHost(uid);
        member.connections.drain();
      }
    this.#listed = true;
  }

  #add(listed: ListedEndpoint, now: number): void {
    const { workload } = listed;
    const candidate: Candidate = {
      ...(workload === undefined
        ? unknownPlace
        : {
            locality: workload.locality,
            network: workload.network,
            clusterId: workload.clusterId,
            node: workload.node,
          }),
      uid: listed.uid,
      weight: listed.weight,
      healthy: listed.healthy,
      activeRequests: 0,
      // What was there when the waypoint first looked has long been warm.
      ...(this.#listed ? { since: now } : {}),
    };
    this.#members.set(listed.uid, {
      listed,
      candidate,
      connections: this.#connectionsTo(listed),
    });
    this.#balancer.put(candidate);
    this.#outliers?.addHost(listed.uid);
  }

  #connectionsTo({ to }: ListedEndpoint): EndpointConnections {
    const { limits } = this.#settings;
    const http = this.#options.limits;
    return new EndpointConnections(to, {
      ...this.#options,
      limits: limits?.idleTimeoutMs === undefined ? http : { ...http, idleTimeoutMs: limits.idleTimeoutMs },
      terms: {
        maxDurationMs: limits?.maxConnectionDurationMs,
        maxStreams: limits?.maxConcurrentStreams,
        keepalive: limits?.http2Keepalive,
      },
      circuit: this.#circuit,
    });
  }

  choose(
    request: {
      readonly hash: number | undefined;
      readonly setCookie: string | undefined;
      readonly avoid: ReadonlySet<string> | undefined;
      readonly addressed: string | undefined;
    },
    now: number,
  ): ChosenEndpoint | PickFailure {
    this.lastUsed = now;
    if (this.#members.size === 0) return { kind: 'none', message: 'the destination has no endpoint' };
    if (!this.#circuit.admit('requests'))
      return { kind: 'overflow', message: 'the limit of requests is reached' };
    const candidate = this.#balancer.pick(
      {
        hash: request.hash,
        ...(request.avoid === undefined ? {} : { avoid: request.avoid }),
        ...(request.addressed === undefined ? {} : { addressed: request.addressed }),
      },
      Math.random,
      now,
    );
    const member = candidate === undefined ? undefined : this.#members.get(candidate.uid);
    if (member === undefined) {
      this.#circuit.release('requests');
      return { kind: 'none', message: `none of ${this.#members.size} endpoints is healthy` };
    }
    return new Choice(this, member, request.setCookie);
  }

  /** The place of a retry, until it is over. Undefined: the limit of retries is reached. */
  admitRetry(): Disposable | undefined {
    if (!this.#circuit.admit('retries')) return undefined;
    let held = true;
    return {
      [Symbol.dispose]: () => {
        if (held) this.#circuit.release('retries');
        held = false;
      },
    };
  }

  finished(uid: string, outcome: EndpointOutcome): void {
    this.#circuit.release('requests');
    if (this.#outliers === undefined || outcome.kind === 'abandoned') return;
    const ejection = this.#outliers.record(
      uid,
      outcome.kind === 'response' ? outcome : { kind: 'local', timeout: outcome.kind === 'timeout' },
      performance.now(),
    );
    if (ejection !== undefined) this.#balancer.setHealthy(uid, false);
  }

  protocolFor(head: RequestHead): UpstreamProtocol {
    const { limits } = this.#settings;
    const client: UpstreamProtocol = head.version === '2' ? 'http2' : 'http1';
    // An upgrade is a different thing in each version, and is not turned into the other.
    if (head.upgrade !== undefined || limits?.useClientProtocol === true) return client;
    if (limits?.upgradeToHttp2 === 'UPGRADE') return 'http2';
    const type = head.headers.get('content-type');
    if (client === 'http2' && type?.startsWith('application/grpc') === true) return 'http2';
    return this.#options.declared ?? client;
  }

  get maxRequestsPerConnection(): number {
    return this.#settings.limits?.maxRequestsPerConnection ?? 0;
  }

  openChannel(member: Member, timeoutMs: number, done: Parameters<ChosenEndpoint['channel']>[1]): Disposable {
    if (!this.#circuit.admit('connections')) {
      done(undefined, { kind: 'connect', message: 'the limit of connections is reached' });
      return { [Symbol.dispose]: () => {} };
    }
    return this.#options.tunnels.open(member.listed.to, timeoutMs, (channel, failure) => {
      if (channel === undefined) this.#circuit.release('connections');
      done(channel, failure);
    });
  }

  closedChannel(): void {
    this.#circuit.release('connections');
  }

  /** Once a second or so. */
  tick(now: number): void {
    for (const uid of this.#outliers?.check(now) ?? [])
      this.#balancer.setHealthy(uid, this.#members.get(uid)?.listed.healthy === true);
  }

  /** Nobody asks for it any more. */
  drain(): void {
    for (const { connections } of this.#members.values()) connections.drain();
  }

  destroy(): void {
    for (const { connections } of this.#members.values()) connections.destroy();
  }
}

function sameWay(a: ListedEndpoint, b: ListedEndpoint): boolean {
  return (
    a.to.address.ip === b.to.address.ip &&
    a.to.address.port === b.to.address.port &&
    a.weight === b.weight &&
    a.to.tls === b.to.tls &&
    a.to.tunnel?.port === b.to.tunnel?.port &&
    a.to.tunnel?.identities.join() === b.to.tunnel?.identities.join()
  );
}

class Choice implements ChosenEndpoint {
  readonly #cluster: Cluster;
  readonly #member: Member;
  readonly setCookie: string | undefined;
  #finished = false;
  #channel = false;

  constructor(cluster: Cluster, member: Member, setCookie: string | undefined) {
    this.#cluster = cluster;
    this.#member = member;
    this.setCookie = setCookie;
  }

  get uid(): string {
    return this.#member.listed.uid;
  }

  get address(): SocketAddress {
    return this.#member.listed.to.address;
  }

  get workload(): Workload | undefined {
    return this.#member.listed.workload;
  }

  begin(): void {
    this.#member.candidate.activeRequests++;
  }

  finish(outcome: EndpointOutcome): void {
    if (this.#finished) return;
    this.#finished = true;
    this.#member.candidate.activeRequests--;
    if (this.#channel) this.#cluster.closedChannel();
    this.#cluster.finished(this.uid, outcome);
  }

  connection(head: RequestHead, connectTimeoutMs: number, done: Parameters<ChosenEndpoint['connection']>[2]) {
    const pool = this.#member.connections.pool(this.#cluster.protocolFor(head));
    return pool.take(connectTimeoutMs, this.#cluster.maxRequestsPerConnection, done);
  }

  channel(connectTimeoutMs: number, done: Parameters<ChosenEndpoint['channel']>[1]): Disposable {
    return this.#cluster.openChannel(this.#member, connectTimeoutMs, (channel, failure) => {
      this.#channel = channel !== undefined;
      done(channel, failure);
    });
  }
}
