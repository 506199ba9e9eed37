// The program: puts the parts together, starts them in order and ends them in reverse.
import { errorText } from '#/errors/index.ts';
import { systemClock, type Clock, type Logger } from '#/kit/index.ts';
import type { KubeClient } from '#/kube/index.ts';
import { AuthorityStore } from './authority-store.ts';
import { CallerReview } from './caller.ts';
import { CaService } from './ca-service.ts';
import type { ControlPlaneConfig } from './config.ts';
import { debugPage, debugRoutes, type DebugSources } from './debug-pages.ts';
import { GatewayController } from './gateways/index.ts';
import { IpAllocator } from './ip-allocator.ts';
import { firstFile, KubernetesSigner } from './kubernetes-signer.ts';
import { leadDuties, type Duty } from './leader-duties.ts';
import { MergedMesh } from './merged-mesh.ts';
import { liveChange, withMeshConfig } from './mesh-config.ts';
import { followMeshConfig, readMeshConfig } from './mesh-config-source.ts';
import { MeshWatch } from './mesh-watch.ts';
import { ControlMetrics } from './metrics.ts';
import { serveHttp, type Routes } from './monitoring.ts';
import { ProxyServers } from './proxy-servers.ts';
import { RemoteClusters } from './remote-clusters.ts';
import { RootConfigMaps } from './root-config-maps.ts';
import { ServingCertificate, servingNames } from './serving-certificate.ts';
import { StatusWriter } from './status-writer.ts';
import { proxyVersion } from './sync-status.ts';
import { TrustBundle } from './trust-bundle.ts';

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

/** Resolves when proxies are served: after the first full list of every kind. Rejects if it cannot start. */
export async function startControlPlane(
  config: ControlPlaneConfig,
  deps: ControlPlaneDeps,
): Promise<ControlPlane> {
  const { client, log, version } = deps;
  const clock = deps.clock ?? systemClock;
  const stop = new AbortController();
  const signal = deps.signal === undefined ? stop.signal : AbortSignal.any([stop.signal, deps.signal]);
  await using started = new AsyncDisposableStack();
  started.defer(() => stop.abort(new Error('the control plane has ended')));
  /** What metrics and probes look at before all of it is there. */
  const live: { ready: boolean; servers?: ProxyServers } = { ready: false };

  const readyRoutes: Routes = {
    '/ready': () =>
      live.ready ? { body: 'ok\n' } : { status: 503, body: 'not ready: objects are being read\n' },
  };
  let { host } = config.listen;
  const readiness = await serveHttp(host, config.listen.ready, readyRoutes, log).catch((error: unknown) => {
    // A machine without IPv6.
    if (host !== '::' || !['EAFNOSUPPORT', 'EADDRNOTAVAIL'].includes((error as { code?: string }).code ?? ''))
      throw error;
    host = '0.0.0.0';
    return serveHttp(host, config.listen.ready, readyRoutes, log);
  });
  started.use(readiness);
  const meshSource = { client, namespace: config.namespace, log: log.scope('mesh'), clock };
  const settings = withMeshConfig(config.mesh, await readMeshConfig(meshSource, signal), config.given);
  const { trustDomain, clusterId } = settings;

  const authority = new AuthorityStore({
    client,
    namespace: config.namespace,
    directory: config.ca.directory,
    trustDomain,
    multiRoot: config.ca.multiRoot,
    authority: {
      defaultTtlSeconds: config.ca.defaultTtlSeconds,
      maxTtlSeconds: config.ca.maxTtlSeconds,
      rootTtlSeconds: config.ca.rootTtlSeconds,
      clock,
    },
    log: log.scope('ca'),
    clock,
  });
  const signer =
    config.ca.kubernetesSigner === undefined
      ? undefined
      : new KubernetesSigner({
          client,
          signerName: config.ca.kubernetesSigner,
          rootsPem: firstFile(config.ca.externalRootFiles),
          defaultTtlSeconds: config.ca.defaultTtlSeconds,
          maxTtlSeconds: config.ca.maxTtlSeconds,
          clock,
        });
  /** What proxies are to trust: whoever signs for them, and our own CA, which then signs for us alone. */
  const rootsPem = (): string | undefined => {
    const own = authority.current?.rootsPem;
    return own === undefined || signer === undefined ? own : `${own.trimEnd()}\n${signer.rootsPem}`;
  };
  const metrics = new ControlMetrics({
    version,
    connections: () => (live.servers?.status() ?? []).map(proxyVersion),
    pushes: () => live.servers?.stats ?? new Map(),
    services: () => watch.index.count('Service'),
    rootExpiry: () => authority.current?.notAfter,
    records: () => watch.index.sizes.records,
    clusters: () => remotes?.status() ?? [],
  });
  const status = new StatusWriter({
    client,
    log: log.scope('status'),
    onWrite: (kind, ok) => metrics.statusWrite(kind, ok),
    clock,
  });
  const rootMaps = new RootConfigMaps({
    client,
    rootsPem: () => (config.ca.trustBundle ? undefined : rootsPem()),
    crlPem: () => authority.crlPem,
    log: log.scope('root-cert'),
    clock,
  });
  const trustBundle = new TrustBundle({
    client,
    rootsPem,
    log: log.scope('root-cert'),
    clock,
  });
  const allocator = new IpAllocator({ client, log: log.scope('ip'), clock });
  const merged = settings.multiNetwork
    ? new MergedMesh({ settings, localNetwork: () => watch.index.network, tables: () => watch.tables })
    : undefined;
  const watch: MeshWatch = new MeshWatch({
    client,
    ...(merged === undefined ? {} : { sink: merged.sink }),
    settings,
    log: log.scope('mesh'),
    onChange: (kind) => metrics.inbound(kind),
    onObject: (kind, key, object) => {
      if (kind === 'Namespace') rootMaps.namespace(key, object !== undefined);
      else status.observe(kind, key, object);
      if (kind === 'ServiceEntry') allocator.observe(key, object);
    },
    onConditions: (origin, conditions) => status.want(origin, conditions),
    onParents: (origin, parents) => status.wantParents(origin, parents),
    onRound: (ms, changed) => metrics.round(ms, changed),
    clock,
  });

  const remotes =
    merged === undefined
      ? undefined
      : started.use(
          new RemoteClusters({
            client,
            namespace: config.namespace,
            settings,
            mesh: merged,
            timeoutMs: config.remoteClusterTimeoutMs,
            log: log.scope('multicluster'),
            clock,
          }),
        );

  const gateways = new GatewayController({
    client,
    ...config.gateways,
    revision: config.revision,
    namespace: config.namespace,
    mesh: () => watch.index.settings,
    log: log.scope('gateway'),
    onWrite: (kind, ok) => metrics.statusWrite(kind, ok),
    clock,
  });

  const review = new CallerReview({
    client,
    audiences: config.ca.tokenAudiences,
    trustDomain,
    clusterId,
    issuersPem: () => {
      const files = authority.current?.files;
      if (files === undefined) return '';
      const own = `${files.caCertPem}\n${files.certChainPem}\n${files.rootCertPem}`;
      return signer === undefined ? own : `${own}\n${signer.rootsPem}`;
    },
    log: log.scope('security'),
    clock,
  });

  const debug: DebugSources = {
    index: watch.index,
    tables: watch.tables,
    connections: () => live.servers?.status() ?? [],
    authenticate: (call) => review.authenticate(call),
    clusters: () => [
      { id: clusterId, secretName: '', syncStatus: live.ready ? 'synced' : 'syncing', answers: true },
      ...(remotes?.status() ?? []),
    ],
    systemNamespace: config.namespace,
    auth: config.debugAuth,
  };
  const monitoring = await serveHttp(
    host,
    config.listen.monitoring,
    {
      '/metrics': async () => ({
        type: metrics.registry.contentType,
        body: await metrics.registry.metrics(),
      }),
      // Version, revision of the source, state of the build: istioctl takes the line apart, and fails at other JSON
      // than its own.
      '/version': () => ({ body: `${version}-unknown-Clean` }),
      ...debugRoutes(debug),
    },
    log,
  );
  started.use(monitoring);

  watch.start(signal);
  await authority.start(signal);
  log.info('the CA is ready', { source: authority.source, trustDomain });
  const serving = new ServingCertificate({
    dnsNames: [
      ...servingNames(config.namespace, settings.clusterDomain, config.revision),
      ...config.serving.dnsNames,
    ],
    ips: config.serving.ips,
    log: log.scope('ca'),
    clock,
  });
  started.use(serving);
  await issue(serving, authority);
  await Promise.all([watch.synced, rootMaps.start(signal), remotes?.start(signal)]);

  const ca = new CaService({
    authenticate: (call) => review.authenticate(call),
    authority: () => signer ?? authority.current,
    pods: watch.pods,
    rules: { trustedAccounts: config.ca.trustedNodeAccounts, trustDomain },
    concurrency: config.ca.concurrency,
    queue: config.ca.queue,
    requestsPerSecond: config.ca.requestsPerSecond,
    log: log.scope('ca'),
    onOutcome: (outcome) => metrics.certificate(outcome),
    clock,
  });
  const servers = new ProxyServers({
    config: { ...config, listen: { ...config.listen, host } },
    version,
    tables: watch.tables,
    gatewayAccounts: (namespace, gateway) => watch.index.gatewayAccounts(namespace, gateway),
    authenticate: (call) => review.authenticate(call),
    ca,
    clusterId,
    systemNamespace: config.namespace,
    debugPage: (path) => debugPage(debug, path),
    credentials: serving.credentials(),
    log: log.scope('xds'),
    clock,
  });
  started.use(servers);
  live.servers = servers;
  const { tls, plain } = await servers.listen();

  authority.onChange(() => {
    rootMaps.refresh();
    trustBundle.refresh();
    issue(serving, authority).catch((error: unknown) =>
      log.error(`our own certificate was not renewed: ${errorText(error)}`),
    );
  });
  followMeshConfig(
    meshSource,
    (mesh) => {
      const change = liveChange(watch.index.settings, withMeshConfig(config.mesh, mesh, config.given));
      for (const name of change.restart) log.warn(`a change of ${name} is taken at the next start`);
      watch.reconfigure(change.settings);
      remotes?.reconfigure(change.settings);
      gateways.refresh();
    },
    signal,
  );
  const duties: Record<string, Duty> = {
    'istio-namespace-controller-election': (leading) => {
      rootMaps.lead(leading);
      void rotate(authority, leading, config.ca.rootTtlSeconds, clock, log);
    },
  };
  if (config.ca.trustBundle)
    duties['istio-clustertrustbundle-controller-election'] = (leading) => trustBundle.lead(leading);
  if (config.writeStatus) duties['istio-status-leader'] = (leading) => status.lead(leading);
  if (config.gateways.deploy)
    duties[`istio-gateway-deployment-${config.revision}`] = (leading) => gateways.lead(leading);
  if (settings.autoAllocateIps) duties['istio-ip-autoallocate'] = (leading) => allocator.lead(leading);
  const leading = leadDuties(
    duties,
    { client, namespace: config.namespace, identity: config.podName, log: log.scope('leader') },
    signal,
  );
  started.defer(async () => {
    stop.abort(new Error('the control plane has ended'));
    await leading;
  });

  live.ready = true;
  log.info('serving', { xds: tls, plain, monitoring: monitoring.port, ready: readiness.port });
  const parts = started.move();
  const finished = Promise.withResolvers<void>();
  let ending = false;
  const end = (): Promise<void> => {
    live.ready = false;
    if (!ending) parts.disposeAsync().then(finished.resolve, finished.reject);
    ending = true;
    return finished.promise;
  };
  deps.signal?.addEventListener('abort', () => void end().catch(() => {}), { once: true });
  if (deps.signal?.aborted === true) await end();
  return {
    addresses: { plain, tls, monitoring: monitoring.port, ready: readiness.port },
    done: finished.promise,
    [Symbol.asyncDispose]: end,
  };
}

async function issue(serving: ServingCertificate, authority: AuthorityStore): Promise<void> {
  if (authority.current !== undefined) await serving.issue(authority.current);
}

/** Hourly, or often enough for a root with a short life, and not all replicas at once. */
const rotationMs = (rootTtlSeconds: number) =>
  Math.min(3_600_000, rootTtlSeconds * 50) * (0.9 + 0.2 * Math.random());

async function rotate(
  authority: AuthorityStore,
  signal: AbortSignal,
  rootTtlSeconds: number,
  clock: Clock,
  log: Logger,
): Promise<void> {
  while (!signal.aborted) {
    try {
      await authority.rotateIfDue();
    } catch (error) {
      log.error(`the root certificate was not renewed: ${errorText(error)}`);
    }
    await clock.sleep(rotationMs(rootTtlSeconds), signal).catch(() => {});
  }
}
