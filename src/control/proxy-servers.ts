// The gRPC servers for proxies: xDS and certificates over TLS, xDS in plain text.
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { RpcError, type CallFacts } from '#/identity/index.ts';
import type { Clock, Logger } from '#/kit/index.ts';
import {
  addressTypeUrl,
  authorizationTypeUrl,
  waypointResourceTypeUrl,
  workloadTypeUrl,
  type Node,
} from '#/wire/index.ts';
import {
  DeltaServer,
  xdsServerOptions,
  type ConnectionStatus,
  type ResourceSource,
  type TypePushStats,
} from '#/xds/index.ts';
import type { Caller } from './caller.ts';
import type { CaService } from './ca-service.ts';
import type { ControlPlaneConfig } from './config.ts';
import { bindGrpc, type GrpcEndpoint } from './grpc-endpoint.ts';
import { nodeGroup, type MeshTables } from './mesh-tables.ts';
import { checkNodeIdentity, nodeNameOf } from './node-identity.ts';
import { StatusStream } from './status-stream.ts';
import { WorkloadView } from './workload-view.ts';
import { checkWaypointNames } from './waypoint-authorization.ts';

export interface ProxyServersOptions {
  readonly config: Pick<ControlPlaneConfig, 'listen' | 'xds' | 'podName' | 'drainMs'>;
  readonly version: string;
  readonly tables: MeshTables;
  /** Service accounts of the pods of a Gateway. */
  readonly gatewayAccounts: (namespace: string, gateway: string) => ReadonlySet<string>;
  readonly authenticate: (call: CallFacts) => Promise<Caller>;
  readonly ca: CaService;
  readonly clusterId: string;
  readonly systemNamespace: string;
  readonly debugPage: (path: string) => Promise<string | undefined>;
  readonly credentials: ServerCredentials;
  readonly log: Logger;
  readonly clock: Clock;
}

export class ProxyServers implements AsyncDisposable {
  readonly #options: ProxyServersOptions;
  readonly #deltas: readonly DeltaServer<Caller | undefined>[];
  readonly #secure: Server;
  readonly #open: Server | undefined;
  readonly #endpoints: GrpcEndpoint[] = [];

  constructor(options: ProxyServersOptions) {
    this.#options = options;
    const { config } = options;
    const limits = xdsServerOptions({
      maxReceiveBytes: config.xds.maxReceiveBytes,
      maxConnectionAgeMs: config.xds.maxConnectionAgeMs,
    });
    this.#secure = new Server(limits);
    const deltas = [this.#delta((call) => options.authenticate(call))];
    deltas[0]?.addTo(this.#secure);
    options.ca.addTo(this.#secure);
    const { authenticate, clusterId, systemNamespace, debugPage, log } = options;
    const asked = {
      authenticate,
      connections: () => this.status(),
      debugPage,
      systemNamespace,
      clusterId,
      identifier: this.#identifier(),
      log,
    };
    new StatusStream(asked).addTo(this.#secure);
    if (config.listen.plain !== undefined) {
      this.#open = new Server(limits);
      // Plain text is for where the network is trusted; who calls is not known there.
      const delta = this.#delta(() => Promise.resolve(undefined));
      delta.addTo(this.#open);
      new StatusStream({
        ...asked,
        authenticate: () =>
          Promise.reject(
            new RpcError(
              'UNAUTHENTICATED',
              'the state of proxies is told on the TLS port only, to a token of the mesh',
            ),
          ),
      }).addTo(this.#open);
      deltas.push(delta);
    }
    this.#deltas = deltas;
  }

  /** Clients such as istioctl parse it. */
  #identifier(): string {
    const { config, version } = this.#options;
    return JSON.stringify({ Component: 'istiod', ID: config.podName, Info: { version } });
  }

  #delta(authenticate: (call: CallFacts) => Promise<Caller | undefined>): DeltaServer<Caller | undefined> {
    const { config, tables, gatewayAccounts, log, clock } = this.#options;
    return new DeltaServer<Caller | undefined>({
      authenticate,
      checkNode: (caller, node) => {
        if (caller !== undefined && config.xds.identityCheck) checkNodeIdentity(caller, node);
      },
      checkNames: (caller, typeUrl, names) => {
        if (typeUrl === waypointResourceTypeUrl && config.xds.identityCheck)
          checkWaypointNames(caller, names, gatewayAccounts);
      },
      sources: new Map<string, ResourceSource>([
        // First: a waypoint must not take a service's traffic before it has its rules.
        [waypointResourceTypeUrl, tables.waypoints],
        [addressTypeUrl, tables.addresses],
        [workloadTypeUrl, new WorkloadView(tables.addresses)],
        [authorizationTypeUrl, tables.policies],
      ]),
      implicitGroups: (typeUrl, node: Node) => {
        const name = typeUrl === addressTypeUrl ? nodeNameOf(node) : '';
        return name === '' ? [] : [nodeGroup(name)];
      },
      identifier: this.#identifier(),
      debounce: {
        firstMs: config.xds.debounceFirstMs,
        afterMs: config.xds.debounceAfterMs,
        maxMs: config.xds.debounceMaxMs,
      },
      maxConnections: config.xds.maxConnections,
      log,
      clock,
    });
  }

  /** Ports. Rejects if one is taken. */
  async listen(): Promise<{ readonly tls: number; readonly plain: number | undefined }> {
    const { config, credentials } = this.#options;
    const { host } = config.listen;
    const tls = await bindGrpc(this.#secure, host, config.listen.tls, credentials);
    this.#endpoints.push(tls);
    if (this.#open === undefined) return { tls: tls.port, plain: undefined };
    const plain = await bindGrpc(
      this.#open,
      host,
      config.listen.plain ?? 0,
      ServerCredentials.createInsecure(),
    );
    this.#endpoints.push(plain);
    return { tls: tls.port, plain: plain.port };
  }

  /** What has been pushed since the start, by type URL. */
  get stats(): ReadonlyMap<string, Readonly<TypePushStats>> {
    const sum = new Map<string, TypePushStats>();
    for (const server of this.#deltas) {
      for (const [typeUrl, one] of server.stats) {
        const all = sum.get(typeUrl) ?? { pushes: 0, resources: 0, removed: 0, bytes: 0, nacks: 0 };
        for (const key of ['pushes', 'resources', 'removed', 'bytes', 'nacks'] as const) all[key] += one[key];
        sum.set(typeUrl, all);
      }
    }
    return sum;
  }

  status(): readonly ConnectionStatus[] {
    return this.#deltas.flatMap((server) => server.status());
  }

  /** Ends the streams, so that proxies turn to another replica, and what is being signed gets its answer. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of this.#deltas) server[Symbol.dispose]();
    await Promise.all(this.#endpoints.map((endpoint) => endpoint.drain(this.#options.config.drainMs)));
  }
}
