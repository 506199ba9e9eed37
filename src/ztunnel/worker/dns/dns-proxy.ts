// The DNS proxy of one pod in one worker: its sockets on the pod's loopback, where the pod's rules send every
// question for port 53.
import type { Socket as UdpSocket } from 'node:dgram';
import { createServer, type Server, type Socket } from 'node:net';
import { formatSocketAddress, isV6, type Clock, type Logger } from '#/kit/index.ts';
import { SystemError, type Kernel, type Netns } from '#/sys/index.ts';
import { datagramSocket } from './exchange.ts';
import type { NameService } from './name-service.ts';
import { DnsTcpClient } from './tcp-client.ts';

export interface DnsProxyOptions {
  readonly kernel: Kernel;
  readonly netns: Netns;
  /** Loopback addresses. IPv6 is left out where the namespace has none. */
  readonly hosts: readonly string[];
  readonly port: number;
  readonly mark: number;
  readonly reusePort: boolean;
  readonly service: NameService;
  /** Fails what the service is having asked. */
  readonly forwarder: Disposable;
  /** `namespace/name`. */
  readonly pod: string;
  readonly log: Logger;
  readonly clock: Clock;
}

const backlog = 128;
/** Connections of one pod. */
const clientLimit = 256;
/** How long a drain waits for what was asked before. */
const drainMs = 5000;

export class DnsProxy {
  readonly #options: DnsProxyOptions;
  readonly #udp = new Set<UdpSocket>();
  readonly #servers: Server[] = [];
  readonly #clients = new Map<Socket, DnsTcpClient>();
  #closed = false;

  constructor(options: DnsProxyOptions) {
    this.#options = options;
  }

  /** Throws SystemError, which names the address; `destroy` then closes what is open. */
  open(): void {
    const { hosts, port, pod, log } = this.#options;
    for (const host of hosts) {
      try {
        this.#openUdp(host);
        this.#openTcp(host);
      } catch (error) {
        if (isV6(host) && error instanceof SystemError && noV6.has(error.code)) continue;
        throw error;
      }
      const address = formatSocketAddress(host, port);
      log.info('listener established', { address, component: 'dns', pod });
    }
  }

  #openUdp(host: string): void {
    const { kernel, netns, port, mark, reusePort, service, log, pod } = this.#options;
    const fd = kernel.udpSocket({ netns, host, port, mark, reusePort });
    const socket = datagramSocket(kernel, fd, isV6(host));
    this.#udp.add(socket);
    socket.on('error', (error) =>
      log.error('listener failed', { component: 'dns', pod, error: error.message }),
    );
    socket.on('message', (message, peer) => {
      void service.answer(message, 'udp').then((reply) => {
        // A client that is gone is told nothing.
        if (reply !== undefined && this.#udp.has(socket))
          socket.send(reply, peer.port, peer.address, () => {});
      });
    });
  }

  #openTcp(host: string): void {
    const { kernel, netns, port, mark, reusePort, service, log, pod } = this.#options;
    const fd = kernel.tcpListener({ netns, host, port, mark, reusePort, backlog, noDelay: true });
    const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
      const client = new DnsTcpClient(socket, (message) => service.answer(message, 'tcp'));
      this.#clients.set(socket, client);
      socket.once('close', () => this.#clients.delete(socket));
    });
    server.maxConnections = clientLimit;
    server.on('error', (error) =>
      log.error('listener failed', { component: 'dns', pod, error: error.message }),
    );
    server.listen({ fd, backlog });
    this.#servers.push(server);
  }

  /** Takes no new connections, answers what was asked, then closes. */
  async drain(): Promise<void> {
    if (this.#closed) return;
    this.#closeServers();
    for (const client of this.#clients.values()) client.end();
    // Datagrams go on being answered meanwhile: a question in a socket that closes would be lost, and cost its
    // client the seconds until it asks again.
    const { clock } = this.#options;
    const until = clock.now() + drainMs;
    while (!this.#closed && this.#busy && clock.now() < until) await clock.sleep(20);
    this.destroy();
  }

  get #busy(): boolean {
    return this.#options.service.pending > 0 || this.#clients.size > 0;
  }

  #closeServers(): void {
    for (const server of this.#servers.splice(0)) server.close();
  }

  destroy(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#closeServers();
    for (const socket of this.#udp) socket.close();
    this.#udp.clear();
    this.#options.forwarder[Symbol.dispose]();
    for (const socket of this.#clients.keys()) socket.destroy();
  }
}

/** Where the loopback interface has no `::1`, or the kernel no IPv6. */
const noV6: ReadonlySet<string> = new Set(['EADDRNOTAVAIL', 'EAFNOSUPPORT']);
