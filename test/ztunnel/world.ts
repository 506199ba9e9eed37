// A small mesh for tests of the data path: pods in real network namespaces on one bridge, with the real rules of a
// captured pod, and one set of data workers per node. No control plane: records are put into the stores by hand.
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { addRouting, captureDefaults, podRules, restoreInput } from '#/capture/index.ts';
import { CertificateAuthority, createCsr, type Certificate } from '#/identity/index.ts';
import { createLogger, systemClock, type Ip } from '#/kit/index.ts';
import {
  defaultLoadBalancing,
  emptyLocality,
  serviceKey,
  workloadIdentity,
  type Identity,
  type Policy,
  type Service,
  type Workload,
} from '#/model/index.ts';
import { MeshStore } from '#/state/index.ts';
import { createNetns, deleteNetns, linuxKernel, runCommand, type Netns } from '#/sys/index.ts';
import { DataWorkers } from '../../src/ztunnel/data-workers.ts';
import { parseZtunnelConfig, type ZtunnelConfig } from '../../src/ztunnel/config.ts';

export const kernel = linuxKernel();

export interface PodSpec {
  readonly name: string;
  readonly node: string;
  readonly namespace?: string;
  readonly serviceAccount?: string;
  /** Outside the mesh: no rules, no proxy. */
  readonly plain?: boolean;
  readonly policies?: readonly string[];
}

export interface Pod {
  readonly spec: PodSpec;
  readonly ip: Ip;
  readonly netns: Netns;
  readonly workload: Workload;
}

export interface Node {
  readonly name: string;
  readonly store: MeshStore;
  readonly workers: DataWorkers;
  /** Access log lines, oldest first. */
  readonly lines: string[];
  /** Lines that hold every one of the texts; waits up to 3 s for the first. */
  find(...texts: string[]): Promise<string[]>;
}

export class World implements AsyncDisposable {
  readonly #dir = mkdtempSync(join(tmpdir(), 'aura-world-'));
  readonly #netns: { path: string; netns: Netns }[] = [];
  readonly #servers = new Set<Server>();
  readonly #sockets = new Set<Socket>();
  readonly #config: Partial<ZtunnelConfig>;
  readonly #nodes = new Map<string, Node>();
  readonly pods = new Map<string, Pod>();
  readonly authority: CertificateAuthority;
  readonly #certificates = new Map<Identity, Promise<Certificate>>();
  readonly #services: Service[] = [];
  #switch!: Netns;
  #next = 2;

  private constructor(authority: CertificateAuthority, config: Partial<ZtunnelConfig>) {
    this.authority = authority;
    this.#config = config;
  }

  static async make(config: Partial<ZtunnelConfig> = {}): Promise<World> {
    const world = new World(await CertificateAuthority.selfSigned({ trustDomain: 'cluster.local' }), config);
    world.#switch = world.#createNetns('switch');
    await world.#ip(
      world.#switch,
      'link add br0 type bridge',
      'link set br0 up',
      'link set lo up',
      'addr add 10.99.0.1/16 dev br0',
    );
    return world;
  }

  #createNetns(name: string): Netns {
    const path = join(this.#dir, name);
    const netns = createNetns(path);
    this.#netns.push({ path, netns });
    return netns;
  }

  async #ip(netns: Netns, ...commands: string[]): Promise<void> {
    const { code, stderr } = await runCommand(['ip', '-batch', '-'], {
      netns,
      input: `${commands.join('\n')}\n`,
    });
    if (code !== 0) throw new Error(`ip failed: ${stderr}`);
  }

  node(name: string): Node {
    const known = this.#nodes.get(name);
    if (known !== undefined) return known;
    const lines: string[] = [];
    const store = new MeshStore({ node: name });
    const config: ZtunnelConfig = {
      ...parseZtunnelConfig({ NODE_NAME: name, XDS_ADDRESS: '', ZTUNNEL_WORKER_THREADS: '1' }),
      ...this.#config,
      nodeName: name,
    };
    const workers: DataWorkers = new DataWorkers({
      config,
      preserveSource: true,
      store,
      log: createLogger(
        { level: 'info', format: 'plain', write: (line) => lines.push(line.trimEnd()) },
        'data',
      ),
      clock: systemClock,
      write: (text) => lines.push(...text.split('\n').filter((line) => line !== '')),
      needCertificate: (identity) => {
        this.certificate(identity).then(
          (certificate) => workers.certificate(certificate),
          (error: unknown) => workers.certificateFailed(identity, String(error)),
        );
      },
    });
    const find = async (...texts: string[]): Promise<string[]> => {
      for (let i = 0; ; i++) {
        const found = lines.filter((line) => texts.every((text) => line.includes(text)));
        if (found.length > 0 || i === 150) return found;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    };
    const node: Node = { name, store, workers, lines, find };
    this.#nodes.set(name, node);
    for (const pod of this.pods.values()) store.apply({ addresses: [pod.workload] });
    store.apply({ addresses: this.#services });
    return node;
  }

  certificate(identity: Identity): Promise<Certificate> {
    const known = this.#certificates.get(identity);
    if (known !== undefined) return known;
    const made = this.issue(identity, this.authority);
    this.#certificates.set(identity, made);
    return made;
  }

  async issue(identity: Identity, authority: CertificateAuthority, ttlSeconds = 3600): Promise<Certificate> {
    const { csrPem, keyPem } = await createCsr(identity);
    const { chain } = await authority.sign(csrPem, identity, ttlSeconds);
    const now = Date.now();
    return {
      identity,
      keyPem,
      chainPem: chain.slice(0, -1).join('\n'),
      rootsPem: chain.at(-1) as string,
      notBefore: now,
      notAfter: now + ttlSeconds * 1000,
      serial: '0',
    };
  }

  async pod(spec: PodSpec): Promise<Pod> {
    const namespace = spec.namespace ?? 'default';
    const number = this.#next++;
    const ip = `10.99.0.${number}` as Ip;
    const netns = this.#createNetns(spec.name);
    await this.#ip(
      this.#switch,
      `link add v${number} type veth peer name p${number}`,
      `link set v${number} master br0`,
      `link set v${number} up`,
    );
    await this.#ip(this.#switch, `link set p${number} netns ${join(this.#dir, spec.name)}`);
    await this.#ip(
      netns,
      'link set lo up',
      `link set p${number} name eth0`,
      `addr add ${ip}/16 dev eth0`,
      'link set eth0 up',
      'route add default via 10.99.0.1',
    );
    const workload: Workload = {
      kind: 'workload',
      uid: `Kubernetes//Pod/${namespace}/${spec.name}`,
      name: spec.name,
      namespace,
      addresses: [ip],
      hostname: '',
      network: '',
      protocol: spec.plain === true ? 'TCP' : 'HBONE',
      networkMode: 'Standard',
      trustDomain: 'cluster.local',
      serviceAccount: spec.serviceAccount ?? spec.name,
      node: spec.node,
      canonicalName: spec.name,
      canonicalRevision: 'v1',
      workloadType: 'pod',
      workloadName: spec.name,
      nativeTunnel: false,
      authorizationPolicies: spec.policies ?? [],
      status: 'Healthy',
      clusterId: 'Kubernetes',
      locality: emptyLocality,
      services: {},
      capacity: 1,
    };
    const pod: Pod = { spec, ip, netns, workload };
    this.pods.set(spec.name, pod);
    this.tell({ addresses: [workload] });
    const node = this.node(spec.node);
    node.store.apply({ addresses: [workload] });
    if (spec.plain !== true) {
      await node.workers.start(
        workload.uid,
        { name: spec.name, namespace, serviceAccount: workload.serviceAccount },
        netns,
      );
      await this.capture(netns);
    }
    return pod;
  }

  /** The rules of a captured pod. */
  async capture(netns: Netns): Promise<void> {
    const settings = { ...captureDefaults, dnsCapture: false, ipv6: false };
    const { code, stderr } = await runCommand(['iptables-restore', '--noflush'], {
      netns,
      input: restoreInput(podRules(settings, 4)),
    });
    if (code !== 0) throw new Error(`iptables-restore failed: ${stderr}`);
    for (const { argv } of addRouting(4)) {
      const done = await runCommand(argv[0] === 'ip' ? argv : ['ip', ...argv], { netns });
      if (done.code !== 0) throw new Error(`${argv.join(' ')}: ${done.stderr}`);
    }
  }

  /** What the control plane would send to every node. */
  tell(batch: Parameters<MeshStore['apply']>[0]): void {
    for (const node of this.#nodes.values()) node.store.apply(batch);
  }

  policies(...policies: Policy[]): void {
    this.tell({ policies });
  }

  /** Makes a service of the pods: port 80 to their 8080. */
  service(name: string, vip: string, ...pods: Pod[]): Service {
    const service: Service = {
      kind: 'service',
      name,
      namespace: 'default',
      hostname: `${name}.default.svc.cluster.local`,
      addresses: [{ network: '', ip: vip as Ip }],
      cidrAddresses: [],
      ports: [{ servicePort: 80, targetPort: 8080, appProtocol: 'UNKNOWN' }],
      subjectAltNames: [],
      ipFamilies: 'AUTOMATIC',
      loadBalancing: defaultLoadBalancing,
      canonical: true,
      visibility: 'PUBLIC',
      ingressUseWaypoint: false,
      weightedWaypoints: [],
    };
    this.#services.push(service);
    const key = serviceKey(service);
    this.tell({
      addresses: [
        service,
        ...pods.map((pod) => ({
          ...pod.workload,
          services: { [key]: [{ servicePort: 80, targetPort: 8080 }] },
        })),
      ],
    });
    return service;
  }

  /** A server of the pod's application. */
  listen(pod: Pod, port: number, onConnection: (socket: Socket) => void): Server {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      this.#sockets.add(socket);
      socket.on('error', () => {});
      onConnection(socket);
    });
    server.listen({ fd: kernel.tcpListener({ netns: pod.netns, host: '0.0.0.0', port }) });
    this.#servers.add(server);
    return server;
  }

  /** Says who it thinks the client is, then echoes. */
  echo(pod: Pod, port = 8080): Server {
    return this.listen(pod, port, (socket) => {
      socket.write(`${pod.spec.name} sees ${socket.remoteAddress}\n`);
      socket.pipe(socket);
    });
  }

  /** A connection that an application in the pod opens. */
  connect(pod: Pod, ip: string, port: number): Socket {
    const socket = kernel.connect({ netns: pod.netns, ip, port });
    this.#sockets.add(socket);
    return socket;
  }

  /** Sends text, ends, and resolves with all that came back; rejects on reset. */
  call(pod: Pod, ip: string, port: number, text = 'hello'): Promise<string> {
    return new Promise((resolve, reject) => {
      const socket = this.connect(pod, ip, port);
      let got = '';
      socket.setEncoding('utf8');
      socket.on('data', (chunk: string) => {
        got += chunk;
      });
      socket.on('end', () => resolve(got));
      socket.on('error', reject);
      socket.setTimeout(8000, () => {
        socket.destroy(new Error(`no end within 8 s; got so far: ${JSON.stringify(got)}`));
      });
      socket.end(text);
    });
  }

  identity(pod: Pod): Identity {
    return workloadIdentity(pod.workload);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    for (const server of this.#servers) server.close();
    await Promise.all([...this.#nodes.values()].map((node) => node.workers.close(1)));
    for (const { path, netns } of this.#netns) {
      netns[Symbol.dispose]();
      deleteNetns(path);
    }
    rmSync(this.#dir, { recursive: true });
  }
}
