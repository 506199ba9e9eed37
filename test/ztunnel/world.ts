// A small mesh for tests of the data path: pods in real network namespaces on one bridge, with the real rules of a
// captured pod, and one set of data workers per node. No control plane: records are put into the stores by hand.
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CertificateAuthority, createCsr, type Certificate } from '#/identity/index.ts';
import { unmapV4, type Ip } from '#/kit/index.ts';
import {
  defaultLoadBalancing,
  emptyLocality,
  policyKey,
  serviceKey,
  workloadIdentity,
  type Identity,
  type Policy,
  type Service,
  type Workload,
} from '#/model/index.ts';
import type { MeshStore } from '#/state/index.ts';
import { createNetns, deleteNetns, linuxKernel, type Netns } from '#/sys/index.ts';
import { parseZtunnelConfig, type ZtunnelConfig } from '../../src/ztunnel/config.ts';
import { MeshNode } from './mesh-node.ts';
import { capture, ip } from './namespaces.ts';
import { Talk } from './talk.ts';

export const kernel = linuxKernel();

export interface PodSpec {
  readonly name: string;
  readonly node: string;
  readonly namespace?: string;
  readonly serviceAccount?: string;
  /** Outside the mesh: no rules, no proxy. */
  readonly plain?: boolean;
  readonly policies?: readonly string[];
  /** Any other field of its record. */
  readonly fields?: Partial<Workload>;
}

export interface Pod {
  readonly spec: PodSpec;
  readonly ip: Ip;
  /** Only in a dual-stack world. */
  readonly ip6: Ip | undefined;
  readonly netns: Netns;
  /** As the nodes know it; see `update`. */
  workload: Workload;
}

export interface WorldOptions {
  /** Pods have IPv6 addresses as well. */
  readonly ipv6?: boolean;
  /** The rules of pods send questions for port 53 to the proxy. */
  readonly dnsCapture?: boolean;
}

export class World implements AsyncDisposable {
  readonly #dir = mkdtempSync(join(tmpdir(), 'aura-world-'));
  readonly #netns: { path: string; netns: Netns }[] = [];
  readonly #servers = new Set<Server>();
  readonly #clients = new Set<Socket>();
  readonly #served = new Set<Socket>();
  readonly #config: Partial<ZtunnelConfig>;
  readonly #ipv6: boolean;
  readonly #dnsCapture: boolean;
  readonly #nodes = new Map<string, MeshNode>();
  readonly #retired: MeshNode[] = [];
  readonly pods = new Map<string, Pod>();
  readonly authority: CertificateAuthority;
  readonly #certificates = new Map<Identity, Promise<Certificate>>();
  readonly #services: Service[] = [];
  readonly #policies = new Map<string, Policy>();
  #switch!: Netns;
  #next = 2;

  private constructor(
    authority: CertificateAuthority,
    config: Partial<ZtunnelConfig>,
    options: WorldOptions,
  ) {
    this.authority = authority;
    this.#config = config;
    this.#ipv6 = options.ipv6 === true;
    this.#dnsCapture = options.dnsCapture === true;
  }

  static async make(config: Partial<ZtunnelConfig> = {}, options: WorldOptions = {}): Promise<World> {
    const authority = await CertificateAuthority.selfSigned({ trustDomain: 'cluster.local' });
    const world = new World(authority, config, options);
    world.#switch = world.#createNetns('switch');
    await ip(
      world.#switch,
      'link add br0 type bridge',
      'link set br0 up',
      'link set lo up',
      'addr add 10.99.0.1/16 dev br0',
      ...(world.#ipv6 ? ['addr add fd99::1/64 dev br0 nodad'] : []),
    );
    return world;
  }

  #createNetns(name: string): Netns {
    const path = join(this.#dir, name);
    const netns = createNetns(path);
    this.#netns.push({ path, netns });
    return netns;
  }

  node(name: string): MeshNode {
    return this.#nodes.get(name) ?? this.#addNode(name);
  }

  /** A proxy that takes the place of the node's: beside it, until the caller ends the one before. Returns that one. */
  async upgrade(name: string): Promise<MeshNode> {
    const before = this.node(name);
    this.#retired.push(before);
    this.#addNode(name);
    for (const pod of this.pods.values())
      if (pod.spec.node === name && pod.spec.plain !== true) await this.start(pod);
    return before;
  }

  #addNode(name: string): MeshNode {
    const node = new MeshNode({
      name,
      config: {
        ...parseZtunnelConfig({ NODE_NAME: name, XDS_ADDRESS: '', ZTUNNEL_WORKER_THREADS: '1' }),
        ...this.#config,
        nodeName: name,
      },
      certificate: (identity) => this.certificate(identity),
    });
    this.#nodes.set(name, node);
    node.store.apply({
      addresses: [...Array.from(this.pods.values(), ({ workload }) => workload), ...this.#services],
      policies: [...this.#policies.values()],
    });
    return node;
  }

  certificate(identity: Identity): Promise<Certificate> {
    const known = this.#certificates.get(identity);
    if (known !== undefined) return known;
    const made = this.issue(identity, this.authority);
    this.#certificates.set(identity, made);
    return made;
  }

  /** What is answered from now on to a node that asks for the identity's certificate. */
  answer(identity: Identity, certificate: Promise<Certificate>): void {
    certificate.catch(() => {});
    this.#certificates.set(identity, certificate);
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
    const ip4 = `10.99.0.${number}` as Ip;
    const ip6 = this.#ipv6 ? (`fd99::${number.toString(16)}` as Ip) : undefined;
    const netns = this.#createNetns(spec.name);
    await ip(
      this.#switch,
      `link add v${number} type veth peer name p${number}`,
      `link set v${number} master br0`,
      `link set v${number} up`,
    );
    await ip(this.#switch, `link set p${number} netns ${join(this.#dir, spec.name)}`);
    await ip(
      netns,
      'link set lo up',
      `link set p${number} name eth0`,
      `addr add ${ip4}/16 dev eth0`,
      'link set eth0 up',
      'route add default via 10.99.0.1',
      ...(ip6 === undefined ? [] : [`addr add ${ip6}/64 dev eth0 nodad`, 'route add default via fd99::1']),
    );
    const workload: Workload = {
      kind: 'workload',
      uid: `Kubernetes//Pod/${namespace}/${spec.name}`,
      name: spec.name,
      namespace,
      addresses: ip6 === undefined ? [ip4] : [ip4, ip6],
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
      ...spec.fields,
    };
    const pod: Pod = { spec, ip: ip4, ip6, netns, workload };
    this.pods.set(spec.name, pod);
    this.node(spec.node);
    this.tell({ addresses: [workload] });
    if (spec.plain !== true) {
      await this.start(pod);
      await capture(netns, { ipv6: this.#ipv6, dnsCapture: this.#dnsCapture });
    }
    return pod;
  }

  /** What the node agent does: hands the pod to its node's proxy. */
  async start({ spec, workload, netns }: Pod): Promise<void> {
    const { namespace, serviceAccount } = workload;
    await this.node(spec.node).workers.start(
      workload.uid,
      { name: spec.name, namespace, serviceAccount },
      netns,
    );
  }

  /** Changes the pod's record on every node. */
  update(pod: Pod, fields: Partial<Workload>): void {
    pod.workload = { ...pod.workload, ...fields };
    this.tell({ addresses: [pod.workload] });
  }

  /** What the control plane would send to every node. */
  tell(batch: Parameters<MeshStore['apply']>[0]): void {
    for (const node of this.#nodes.values()) node.store.apply(batch);
  }

  policies(...policies: Policy[]): void {
    for (const policy of policies) this.#policies.set(policyKey(policy), policy);
    this.tell({ policies });
  }

  dropPolicies(...keys: string[]): void {
    for (const key of keys) this.#policies.delete(key);
    this.tell({ removedPolicies: keys });
  }

  /** Resolves when every node has taken in what it was told. */
  async settled(): Promise<void> {
    await Promise.all(Array.from(this.#nodes.values(), (node) => node.settled()));
  }

  /** Hangs up on behalf of every client, and waits until nothing is open on any node. */
  async quiet(): Promise<void> {
    for (const socket of this.#clients) socket.destroy();
    await Promise.all(Array.from(this.#nodes.values(), (node) => node.quiet()));
  }

  /** Makes a service of the pods: port 80 to their 8080. */
  service(name: string, vip: string, pods: readonly Pod[], fields: Partial<Service> = {}): Service {
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
      ...fields,
    };
    this.#services.push(service);
    this.tell({ addresses: [service] });
    const ports = [{ servicePort: 80, targetPort: 8080 }];
    for (const pod of pods)
      this.update(pod, { services: { ...pod.workload.services, [serviceKey(service)]: ports } });
    return service;
  }

  /** A server of the pod's application. */
  listen(pod: Pod, port: number, onConnection: (socket: Socket) => void): Server {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      this.#served.add(socket);
      socket.once('close', () => this.#served.delete(socket));
      socket.on('error', () => {});
      onConnection(socket);
    });
    const host = this.#ipv6 ? '::' : '0.0.0.0';
    server.listen({ fd: kernel.tcpListener({ netns: pod.netns, host, port }) });
    this.#servers.add(server);
    return server;
  }

  /** Says who it thinks the client is, then echoes. */
  echo(pod: Pod, port = 8080): Server {
    return this.listen(pod, port, (socket) => {
      socket.write(`${pod.spec.name} sees ${unmapV4(socket.remoteAddress ?? '?')}\n`);
      socket.pipe(socket);
    });
  }

  /** A connection that an application in the pod opens. */
  connect(pod: Pod, ip: string, port: number): Socket {
    const socket = kernel.connect({ netns: pod.netns, ip, port });
    this.#clients.add(socket);
    socket.once('close', () => this.#clients.delete(socket));
    return socket;
  }

  /** A connection that is held open, once the echo has greeted. */
  async talk(pod: Pod, ip: string, port = 8080): Promise<Talk> {
    const talk = new Talk(this.connect(pod, ip, port));
    await talk.until(() => talk.received.endsWith('\n') || talk.outcome !== undefined);
    return talk;
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
    for (const socket of [...this.#clients, ...this.#served]) socket.destroy();
    for (const server of this.#servers) server.close();
    await Promise.all([...this.#nodes.values(), ...this.#retired].map((node) => node.workers.close(1)));
    for (const { path, netns } of this.#netns) {
      netns[Symbol.dispose]();
      deleteNetns(path);
    }
    rmSync(this.#dir, { recursive: true });
  }
}
