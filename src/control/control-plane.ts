// The program: puts the parts together, starts them in order and ends them in reverse.
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { errorText } from '#/errors/index.ts';
import { systemClock, type Clock, type Logger } from '#/kit/index.ts';
import { LeaderElection, type KubeClient } from '#/kube/index.ts';
import { addressTypeUrl, authorizationTypeUrl, type Node } from '#/wire/index.ts';
import { DeltaServer, xdsServerOptions, type ConnectionStatus, type ResourceSource } from '#/xds/index.ts';
import { AuthorityStore } from './authority-store.ts';
import { CallerReview, type Caller } from './caller.ts';
import { CaService } from './ca-service.ts';
import type { ControlPlaneConfig } from './config.ts';
import { bindGrpc, type GrpcEndpoint } from './grpc-endpoint.ts';
import { MeshWatch } from './mesh-watch.ts';
import { nodeGroup } from './mesh-tables.ts';
import { ControlMetrics } from './metrics.ts';
import { json, serveHttp } from './monitoring.ts';
import { checkNodeIdentity, nodeNameOf } from './node-identity.ts';
import { RootConfigMaps } from './root-config-maps.ts';
import { ServingCertificate, servingNames } from './serving-certificate.ts';
import { StatusWriter } from './status-writer.ts';

export interface ControlPlaneDeps {
  readonly client: KubeClient;
  readonly log: Logger;
  readonly version: string;
  readonly clock?: Clock;
  /** Ends the start while it waits for the API server, and the running program. */
  readonly signal?: AbortSignal;
}

export interface ControlPlane extends AsyncDisposable {
  /** Ports that are bound. */
  readonly addresses: {
    readonly plain: number | undefined;
    readonly tls: number;
    readonly monitoring: number;
    readonly ready: number;
  };
  /** Resolves when everything has ended. */
  readonly done: Promise<void>;
}

/** Hourly, and not all replicas at once. */
const rotationMs = () => 3_600_000 * (0.9 + 0.2 * Math.random());

/** Resolves when proxies are served: after the first full list of every kind. Rejects if it cannot start. */
export async function startControlPlane(
  config: ControlPlaneConfig,
  deps: ControlPlaneDeps,
): Promise<ControlPlane> {
  const { client, log, version } = deps;
  const clock = deps.clock ?? systemClock;
  const stop = new AbortController();
  const signal = deps.signal === undefined ? stop.signal : AbortSignal.any([stop.signal, deps.signal]);
  const timing = { clock };
  await using started = new AsyncDisposableStack();
  started.defer(() => stop.abort(new Error('the control plane has ended')));

  let ready = false;
  const servers: DeltaServer<Caller | undefined>[] = [];
  const connections = (): readonly ConnectionStatus[] => servers.flatMap((server) => server.status());

  const authority = new AuthorityStore({
    client,
    namespace: config.namespace,
    directory: config.ca.directory,
    trustDomain: config.mesh.trustDomain,
    multiRoot: config.ca.multiRoot,
    authority: {
      defaultTtlSeconds: config.ca.defaultTtlSeconds,
      maxTtlSeconds: config.ca.maxTtlSeconds,
      clock,
    },
    log: log.scope('ca'),
    ...timing,
  });
  const metrics = new ControlMetrics({
    version,
    connections: () => connections().map(() => ({ version: 'unknown' })),
    services: () => [...watch.index.all('Service')].length,
    rootExpiry: () => authority.current?.notAfter,
    records: () => watch.index.sizes.records,
  });
  const status = new StatusWriter({
    client,
    log: log.scope('status'),
    onWrite: (kind, ok) => metrics.statusWrite(kind, ok),
    ...timing,
  });
  const rootMaps = new RootConfigMaps({
    client,
    rootsPem: () => authority.current?.rootsPem,
    crlPem: () => authority.crlPem,
    log: log.scope('root-cert'),
    ...timing,
  });
  const watch = new MeshWatch({
    client,
    settings: config.mesh,
    log: log.scope('mesh'),
    onChange: (kind) => metrics.inbound(kind),
    onObject: (kind, key, object) => {
      if (kind === 'Namespace') rootMaps.namespace(key, object !== undefined);
      else status.observe(kind, key, object);
    },
    onConditions: (origin, conditions) => status.want(origin, conditions),
    onRound: (ms, changed) => metrics.round(ms, changed),
    ...timing,
  });

  const monitoring = await serveHttp(
    config.listen.host,
    config.listen.monitoring,
    {
      '/metrics': async () => ({
        type: metrics.registry.contentType,
        body: await metrics.registry.metrics(),
      }),
      '/version': () =>
        json({ version, revision: config.revision, golang_version: '', status: 'Clean', tag: version }),
    },
    log,
  );
  started.use(monitoring);
  const readiness = await serveHttp(
    config.listen.host,
    config.listen.ready,
    {
      '/ready': () =>
        ready ? { body: 'ok\n' } : { status: 503, body: 'not ready: objects are being read\n' },
    },
    log,
  );
  started.use(readiness);

  watch.start(signal);
  await authority.start(signal);
  log.info('the CA is ready', { source: authority.source, trustDomain: config.mesh.trustDomain });
  const serving = new ServingCertificate({
    dnsNames: [
      ...servingNames(config.namespace, config.mesh.clusterDomain, config.revision),
      ...config.serving.dnsNames,
    ],
    ips: config.serving.ips,
    log: log.scope('ca'),
    ...timing,
  });
  started.use(serving);
  await issue(serving, authority);
  await Promise.all([watch.synced, rootMaps.start(signal)]);

  const review = new CallerReview({
    client,
    audiences: config.ca.tokenAudiences,
    trustDomain: config.mesh.trustDomain,
    clusterId: config.mesh.clusterId,
    issuersPem: () => {
      const files = authority.current?.files;
      return files === undefined ? '' : `${files.caCertPem}\n${files.certChainPem}\n${files.rootCertPem}`;
    },
    log: log.scope('security'),
    ...timing,
  });
  const ca = new CaService({
    authenticate: (call) => review.authenticate(call),
    authority: () => authority.current,
    pods: watch.pods,
    rules: { trustedAccounts: config.ca.trustedNodeAccounts, trustDomain: config.mesh.trustDomain },
    concurrency: config.ca.concurrency,
    queue: config.ca.queue,
    requestsPerSecond: config.ca.requestsPerSecond,
    log: log.scope('ca'),
    onOutcome: (outcome) => metrics.certificate(outcome),
    ...timing,
  });
  const sources: ReadonlyMap<string, ResourceSource> = new Map([
    [addressTypeUrl, watch.tables.addresses],
    [authorizationTypeUrl, watch.tables.policies],
  ]);
  const delta = (authenticated: boolean): DeltaServer<Caller | undefined> => {
    const server = new DeltaServer<Caller | undefined>({
      authenticate: (call) => (authenticated ? review.authenticate(call) : Promise.resolve(undefined)),
      checkNode: (caller, node) => {
        if (caller !== undefined && config.xds.identityCheck) checkNodeIdentity(caller, node);
      },
      sources,
      implicitGroups: (typeUrl, node: Node) => {
        const name = typeUrl === addressTypeUrl ? nodeNameOf(node) : '';
        return name === '' ? [] : [nodeGroup(name)];
      },
      identifier: JSON.stringify({ Component: 'istiod', ID: config.podName, Info: { version } }),
      debounce: { afterMs: config.xds.debounceAfterMs, maxMs: config.xds.debounceMaxMs },
      maxConnections: config.xds.maxConnections,
      log: log.scope('xds'),
      ...timing,
    });
    servers.push(server);
    started.use(server);
    return server;
  };
  const grpcOptions = xdsServerOptions({
    maxReceiveBytes: config.xds.maxReceiveBytes,
    maxConnectionAgeMs: config.xds.maxConnectionAgeMs,
  });
  const listen = async (
    server: Server,
    port: number,
    credentials: ServerCredentials,
  ): Promise<GrpcEndpoint> => {
    const endpoint = await bindGrpc(server, config.listen.host, port, credentials);
    // The streams are cut at the deadline; disposed before the delta servers, in reverse order.
    started.defer(() => endpoint.drain(config.drainMs));
    return endpoint;
  };
  const secure = new Server(grpcOptions);
  delta(true).addTo(secure);
  ca.addTo(secure);
  const tls = await listen(secure, config.listen.tls, serving.credentials());
  let plain: GrpcEndpoint | undefined;
  if (config.listen.plain !== undefined) {
    const open = new Server(grpcOptions);
    delta(false).addTo(open);
    plain = await listen(open, config.listen.plain, ServerCredentials.createInsecure());
  }

  authority.onChange(() => {
    rootMaps.refresh();
    issue(serving, authority).catch((error: unknown) =>
      log.error(`our own certificate was not renewed: ${errorText(error)}`),
    );
  });
  const duties: Promise<void>[] = [];
  const lead = (name: string, duty: (leading: AbortSignal) => void): void => {
    const election = new LeaderElection({
      client,
      namespace: config.namespace,
      name,
      identity: config.podName,
      log: log.scope('leader'),
    });
    const held = (leading: AbortSignal) =>
      new Promise<void>((resolve) => {
        leading.addEventListener('abort', () => resolve(), { once: true });
        duty(leading);
      });
    duties.push(election.run(signal, held));
  };
  started.defer(async () => {
    stop.abort(new Error('the control plane has ended'));
    await Promise.all(duties);
  });
  lead('istio-namespace-controller-election', (leading) => {
    rootMaps.lead(leading);
    void rotate(authority, leading, clock, log);
  });
  if (config.writeStatus) lead('istio-status-leader', (leading) => status.lead(leading));

  ready = true;
  log.info('serving', {
    xds: tls.port,
    plain: plain?.port,
    monitoring: monitoring.port,
    ready: readiness.port,
    records: watch.index.sizes.records,
  });

  const parts = started.move();
  const finished = Promise.withResolvers<void>();
  let ending: Promise<void> | undefined;
  const end = (): Promise<void> => {
    ready = false;
    ending ??= parts.disposeAsync().then(finished.resolve, finished.reject);
    return finished.promise;
  };
  deps.signal?.addEventListener('abort', () => void end().catch(() => {}), { once: true });
  return {
    addresses: { plain: plain?.port, tls: tls.port, monitoring: monitoring.port, ready: readiness.port },
    done: finished.promise,
    [Symbol.asyncDispose]: end,
  };
}

async function issue(serving: ServingCertificate, authority: AuthorityStore): Promise<void> {
  if (authority.current !== undefined) await serving.issue(authority.current);
}

async function rotate(
  authority: AuthorityStore,
  signal: AbortSignal,
  clock: Clock,
  log: Logger,
): Promise<void> {
  while (!signal.aborted) {
    try {
      await authority.rotateIfDue();
    } catch (error) {
      log.error(`the root certificate was not renewed: ${errorText(error)}`);
    }
    await clock.sleep(rotationMs(), signal).catch(() => {});
  }
}
