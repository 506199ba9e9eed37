// The lab's own process: kubelets, controllers, service rules, the API server's keeper and the relay to it, put
// together. It may be killed at any time: what it started goes on, and its successor takes over.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Logger } from '#/kit/index.ts';
import { errorText } from '#/errors/index.ts';
import { KubeClient, type Pod } from '#/kube/index.ts';
import { linuxKernel } from '#/sys/index.ts';
import { addressPlan, apiPort, type AddressPlan } from './address-plan.ts';
import { applyManifests } from './apply-manifests.ts';
import { cgroupRoot, makeCgroup } from './cgroups.ts';
import { ClusterView } from './controllers/cluster-view.ts';
import { EndpointSliceController, Scheduler } from './controllers/cluster-controllers.ts';
import { isPodReady } from './controllers/object-tools.ts';
import { workloadControllers } from './controllers/workload-controllers.ts';
import { EventRecorder } from './kubelet/event-recorder.ts';
import { Kubelet } from './kubelet/kubelet.ts';
import { KubeletServer } from './kubelet/kubelet-server.ts';
import type { LabConfig } from './lab-config.ts';
import { serveStatus, type ComponentStatus, type LabStatus, type PodSummary } from './lab-status.ts';
import { apiServiceManifests, dnsManifests, labManager } from './manifests.ts';
import { meshManifests } from './mesh-manifests.ts';
import { ensureNetwork } from './network.ts';
import { machineCapacity, registerNode } from './node-objects.ts';
import { nodePaths, type LabPaths } from './paths.ts';
import { Relay } from './relay.ts';
import { defaultNetworkConfig, NetworkPlugins } from './runtime/network-plugins.ts';
import { writeWhole } from './runtime/sandbox.ts';
import { ServiceProxy } from './services/service-proxy.ts';
import { SystemProgram } from './system-program.ts';

export interface SupervisorOptions {
  readonly paths: LabPaths;
  readonly config: LabConfig;
  /** Path of the `aura` command. */
  readonly aura: string;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

const heartbeatMs = 60_000;

export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #plan: AddressPlan;
  readonly #labCgroup: string;
  #phase: LabStatus['phase'] = 'starting';
  #message = 'starting';
  #view: ClusterView | undefined;
  #kubelets: Kubelet[] = [];
  #api: SystemProgram | undefined;
  readonly #stops: (() => void)[] = [];

  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#plan = addressPlan(options.config.nodes, options.config.families);
    this.#labCgroup = join(cgroupRoot(), options.paths.cgroup);
  }

  /** Runs until the signal aborts. Throws what cannot be repaired, such as a taken port. */
  async run(): Promise<void> {
    const { paths, log, signal } = this.#options;
    const server = serveStatus(paths.supervisorSocket, () => this.status());
    try {
      try {
        await this.#start();
      } catch (error) {
        if (signal.aborted) return;
        this.#phase = 'failed';
        this.#message = errorText(error);
        log.error('the lab cannot start', { error: this.#message });
        // Time for somebody who waits to read why; then the next process tries again.
        await new Promise((resolve) => setTimeout(resolve, 2000));
        throw error;
      }
      this.#phase = 'ready';
      this.#message = 'running';
      log.info('the lab runs', { nodes: this.#plan.nodes.length, kubeconfig: paths.kubeconfig });
      if (!signal.aborted)
        await new Promise<void>((resolve) => {
          signal.addEventListener('abort', () => resolve(), { once: true });
        });
    } finally {
      for (const stop of this.#stops.reverse()) stop();
      server.close();
    }
  }

  #step(message: string): void {
    this.#message = message;
    this.#options.log.info(message);
  }

  async #start(): Promise<void> {
    const { paths, config, aura, log, signal } = this.#options;
    const plan = this.#plan;
    const kernel = linuxKernel();
    kernel.raiseFileLimit();
    this.#step('looking after the network');
    await ensureNetwork(paths, plan);
    for (const node of plan.nodes) {
      const { cniConf } = nodePaths(paths, node.name);
      const file = join(cniConf, '10-aura-lab.conflist');
      // An agent has its own entry in it: written once.
      if (!existsSync(file)) writeWhole(file, defaultNetworkConfig(node.podCidrs));
    }
    this.#step('starting the API server');
    const main = plan.controlPlane;
    const api = new SystemProgram({
      name: 'apiserver',
      dir: join(paths.home, 'apiserver'),
      cgroup: join(this.#labCgroup, main.name, 'system', 'apiserver'),
      netns: nodePaths(paths, main.name).netns,
      hostname: main.name,
      argv: apiserverArgv(aura, paths, plan),
      env: {},
    });
    this.#api = api;
    makeCgroup(join(this.#labCgroup, main.name, 'system', 'apiserver'));
    api.start();
    this.#stops.push(() => api.release());
    const mainNetns = kernel.openNetns(nodePaths(paths, main.name).netns);
    const relay = new Relay(kernel, mainNetns, { ip: main.ips[0] as string, port: apiPort });
    await relay.start(config.apiPort);
    this.#stops.push(() => relay.stop());

    this.#step('waiting for the API server');
    const client = await this.#connect(signal);
    const view = new ClusterView(client, log.scope('cluster'));
    this.#view = view;
    const proxy = new ServiceProxy(view, paths, plan, log.scope('services'));
    const scheduler = new Scheduler(view, new EventRecorder(client, 'default-scheduler', main.name), log);
    const slices = new EndpointSliceController(view, log);
    const workloads = workloadControllers(view, log);
    scheduler.start();
    slices.start();
    workloads.start();
    view.start(signal);
    this.#stops.push(() => {
      scheduler.stop();
      slices.stop();
      workloads.stop();
      proxy.stop();
    });
    await view.synced();
    proxy.start();
    this.#startKubelets(view, client);
    this.#step('registering nodes');
    const register = (): Promise<unknown> =>
      Promise.all(plan.nodes.map((node) => registerNode(client, plan, node)));
    await register();
    const heartbeat = setInterval(() => {
      register().catch((error: unknown) => log.warn('heartbeat', { error: errorText(error) }));
    }, heartbeatMs);
    this.#stops.push(() => clearInterval(heartbeat));
    this.#step('installing the cluster DNS and the mesh');
    await this.#install(client);
  }

  /** Waits for the kubeconfig that the API server writes, and for its first answer. */
  async #connect(signal: AbortSignal): Promise<KubeClient> {
    const { paths, config } = this.#options;
    for (;;) {
      signal.throwIfAborted();
      try {
        const text = readFileSync(paths.nodeKubeconfig, 'utf8');
        // The same credentials, reached from the host.
        writeFileSync(paths.kubeconfig, hostKubeconfig(text, config.apiPort), { mode: 0o600 });
        const client = KubeClient.fromKubeconfig(paths.kubeconfig, { userAgent: 'aura-lab' });
        await client.request('GET', '/version', undefined, { signal });
        return client;
      } catch (error) {
        const { code } = error as { code?: unknown };
        // Not there yet is no news for the first seconds.
        const expected = code === 'ENOENT' || code === 'ECONNREFUSED' || code === 'ECONNRESET';
        this.#message = `waiting for the API server${expected ? '' : `: ${errorText(error)}`}`;
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
  }

  #startKubelets(view: ClusterView, client: KubeClient): void {
    const { paths, aura, log } = this.#options;
    const kernel = linuxKernel();
    const capacity = machineCapacity();
    this.#kubelets = this.#plan.nodes.map((node) => {
      const places = nodePaths(paths, node.name);
      mkdirSync(join(this.#labCgroup, node.name, 'kubepods', 'besteffort'), { recursive: true });
      const kubelet = new Kubelet({
        paths,
        plan: this.#plan,
        node,
        labCgroup: this.#labCgroup,
        client,
        kernel,
        netns: kernel.openNetns(places.netns),
        plugins: new NetworkPlugins(places),
        events: new EventRecorder(client, 'kubelet', node.name),
        log: log.scope(`kubelet ${node.name}`),
        aura,
        capacity,
        configMap: (namespace, name) => view.configMaps.get(namespace, name),
        secret: (namespace, name) => view.secrets.get(namespace, name),
        serviceAccount: (namespace, name) => view.serviceAccounts.get(namespace, name),
      });
      kubelet.start(view.pods);
      const server = new KubeletServer(kubelet);
      server.start();
      this.#stops.push(() => {
        server.stop();
        kubelet.stop();
      });
      return kubelet;
    });
    const wake =
      (kind: 'configMap' | 'secret') =>
      ({ metadata }: { readonly metadata: { readonly name: string; readonly namespace?: string } }): void => {
        for (const kubelet of this.#kubelets)
          kubelet.wakePodsUsing(kind, metadata.namespace ?? '', metadata.name);
      };
    view.configMaps.on('add', wake('configMap'));
    view.configMaps.on('update', wake('configMap'));
    view.secrets.on('add', wake('secret'));
    view.secrets.on('update', wake('secret'));
  }

  async #install(client: KubeClient): Promise<void> {
    const { config, aura } = this.#options;
    const { mesh } = config;
    const rootCa = mesh.xdsRootCa === undefined ? undefined : readFileSync(mesh.xdsRootCa, 'utf8');
    const manifests = [
      ...apiServiceManifests(this.#plan),
      ...dnsManifests(this.#plan),
      ...(mesh.enabled ? meshManifests(mesh, this.#plan, aura, rootCa) : []),
    ];
    await applyManifests(
      client,
      manifests.map((manifest) => ({ manifest, title: `${manifest.kind} ${manifest.metadata.name}` })),
      labManager,
    );
  }

  status(): LabStatus {
    const { paths, config } = this.#options;
    const view = this.#view;
    const ready = new Set(
      (view?.nodes.list() ?? [])
        .filter((node) =>
          node.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True'),
        )
        .map(({ metadata }) => metadata.name),
    );
    return {
      id: paths.id,
      home: paths.home,
      phase: this.#phase,
      message: this.#message,
      kubeconfig: paths.kubeconfig,
      mesh: config.mesh.enabled,
      families: config.families,
      nodes: this.#plan.nodes.map(({ name, ips, podCidrs, controlPlane }) => ({
        name,
        ips,
        podCidrs,
        controlPlane,
        ready: ready.has(name),
      })),
      components: this.#components(),
      pods: (view?.pods.list() ?? []).map(summary),
    };
  }

  #components(): ComponentStatus[] {
    const view = this.#view;
    const api: ComponentStatus = {
      name: 'apiserver',
      ready: view !== undefined,
      message: this.#api?.running === true ? `running, ${this.#api.restarts} restarts` : 'not running',
    };
    if (view === undefined) return [api];
    const lab = new Set(['kube-system', 'istio-system']);
    const count = (ready: number, wanted: number): string => `${ready}/${wanted} ready`;
    return [
      api,
      ...view.deployments
        .list()
        .filter(({ metadata }) => lab.has(metadata.namespace ?? ''))
        .map((deployment): ComponentStatus => {
          const wanted = deployment.spec.replicas ?? 1;
          const have = deployment.status?.readyReplicas ?? 0;
          const current =
            (deployment.status?.observedGeneration ?? 0) >= (deployment.metadata.generation ?? 0) &&
            (deployment.status?.updatedReplicas ?? 0) >= wanted;
          return {
            name: `Deployment ${deployment.metadata.namespace}/${deployment.metadata.name}`,
            ready: current && have >= wanted,
            message: count(have, wanted),
          };
        }),
      ...view.daemonSets
        .list()
        .filter(({ metadata }) => lab.has(metadata.namespace ?? ''))
        .map((set): ComponentStatus => {
          const wanted = set.status?.desiredNumberScheduled ?? 0;
          const have = set.status?.numberReady ?? 0;
          const current =
            (set.status?.observedGeneration ?? 0) >= (set.metadata.generation ?? 0) &&
            (set.status?.updatedNumberScheduled ?? 0) >= wanted;
          return {
            name: `DaemonSet ${set.metadata.namespace}/${set.metadata.name}`,
            ready: current && wanted > 0 && have >= wanted,
            message: count(have, wanted),
          };
        }),
    ];
  }
}

function summary(pod: Pod): PodSummary {
  return {
    namespace: pod.metadata.namespace ?? '',
    name: pod.metadata.name,
    node: pod.spec.nodeName ?? '',
    phase: pod.metadata.deletionTimestamp === undefined ? (pod.status?.phase ?? 'Pending') : 'Terminating',
    ready: isPodReady(pod),
    restarts: (pod.status?.containerStatuses ?? []).reduce((sum, { restartCount }) => sum + restartCount, 0),
    ips: (pod.status?.podIPs ?? []).map(({ ip }) => ip),
  };
}

/** The admin's kubeconfig with the relay's address. */
export function hostKubeconfig(text: string, port: number): string {
  return text.replace(/^(\s*server:\s*).*$/m, `$1https://127.0.0.1:${port}`);
}

export function apiserverArgv(aura: string, paths: LabPaths, plan: AddressPlan): string[] {
  const ip = plan.controlPlane.ips[0] as string;
  return [
    aura,
    'apiserver',
    '--listen',
    `${ip.includes(':') ? `[${ip}]` : ip}:${apiPort}`,
    '--data',
    paths.apiData,
    '--kubeconfig',
    paths.nodeKubeconfig,
    ...plan.serviceCidrs.flatMap((cidr) => ['--service-cidr', cidr]),
    ...plan.controlPlane.ips.flatMap((name) => ['--name', name]),
  ];
}
