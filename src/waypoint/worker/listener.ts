// Port 15008: HBONE from clients. Proves the peer, and hands each CONNECT on.
import { createServer, type Server, type Socket } from 'node:net';
import { errorText } from '#/errors/index.ts';
import { acceptTls } from '#/identity/index.ts';
import { formatSocketAddress, type SocketAddress } from '#/kit/index.ts';
import type { Identity } from '#/model/index.ts';
import { socketFd } from '#/sys/index.ts';
import {
  hboneServer,
  HeldRequest,
  missedPings,
  pingIntervalMs,
  type H2Connection,
  type HeaderList,
} from '#/tunnel/index.ts';
import type { WorkerContext } from './context.ts';

/** A proven peer. */
export interface Peer {
  readonly identity: Identity;
  readonly address: SocketAddress;
  /** Where it connected to: this pod's address and port. */
  readonly local: SocketAddress;
}

/** What the client's request for a tunnel said. */
export interface TunnelRequest {
  readonly held: HeldRequest;
  readonly method: string;
  readonly authority: string;
  readonly header: (name: string) => string | undefined;
  /** Called once if the client goes away before the tunnel is open. */
  onGone: (() => void) | undefined;
}

const backlog = 1024;
/** No host and port are longer; what is, is cut before it can fill the log, and refused for what is left. */
const maxAuthority = 300;

export class Listener {
  readonly #context: WorkerContext;
  readonly #take: (peer: Peer, request: TunnelRequest) => void;
  readonly #sessions = new Set<H2Connection>();
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;
  #ticker: NodeJS.Timeout | undefined;
  /** Connections that were refused because there were too many, or that did not prove who they are. */
  readonly refused = { overLimit: 0, tls: 0 };

  constructor(context: WorkerContext, take: (peer: Peer, request: TunnelRequest) => void) {
    this.#context = context;
    this.#take = take;
  }

  /** Throws SystemError, which names the address. Resolves to the port. */
  open(): number {
    const { config, kernel, log } = this.#context;
    const fd = kernel.tcpListener({
      host: '::',
      port: config.ports.hbone,
      backlog,
      reusePort: true,
      noDelay: true,
    });
    const { port } = kernel.localAddress(fd);
    this.#server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) =>
      this.#accept(socket),
    );
    this.#server.on('error', (error) => log.error('listener failed', { port, error: error.message }));
    this.#server.listen({ fd, backlog });
    this.#ticker = setInterval(() => {
      for (const session of this.#sessions) session.checkAlive(missedPings);
    }, pingIntervalMs);
    this.#ticker.unref();
    return port;
  }

  get connections(): number {
    return this.#sockets.size;
  }

  #accept(socket: Socket): void {
    socket.on('error', () => {});
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    if (this.#sockets.size > this.#context.config.maxConnections) {
      this.refused.overLimit++;
      socket.destroy();
      return;
    }
    const fd = socketFd(socket);
    let address: SocketAddress;
    let local: SocketAddress;
    try {
      if (fd === undefined) throw new Error('it is closed');
      address = this.#context.kernel.peerAddress(fd);
      local = this.#context.kernel.localAddress(fd);
    } catch {
      socket.destroy();
      return;
    }
    void this.#secure(socket, address, local).catch((error: unknown) => {
      this.refused.tls++;
      this.#context.log.scope('access').warn('connection failed', {
        'src.addr': formatSocketAddress(address.ip, address.port),
        'dst.addr': formatSocketAddress(local.ip, local.port),
        direction: 'inbound',
        error: errorText(error),
      });
      socket.destroy();
    });
  }

  async #secure(raw: Socket, address: SocketAddress, local: SocketAddress): Promise<void> {
    const { certificates, identity: own, config } = this.#context;
    const { certificate } = certificates.peek(own) ?? (await certificates.get(own));
    if (raw.destroyed) throw new Error('the client went away');
    const { socket, peer: identity } = await acceptTls(raw, certificate);
    const peer: Peer = { identity, address, local };
    const session: H2Connection = hboneServer(socket, config.windows, {
      request: (stream, headers) => {
        const request = readRequest(new HeldRequest(stream, () => request.onGone?.()), headers);
        this.#take(peer, request);
      },
      closed: () => this.#sessions.delete(session),
    });
    this.#sessions.add(session);
    if (this.#context.closing.aborted) session.session.drain();
  }

  /** Takes no new connections and no new tunnels. Resolves when all sockets are closed. */
  async drain(): Promise<void> {
    this.#server?.close();
    clearInterval(this.#ticker);
    for (const session of this.#sessions) session.session.drain();
    while (this.#sockets.size > 0)
      await Promise.race(
        Array.from(this.#sockets, (socket) => new Promise((done) => socket.once('close', done))),
      );
  }

  destroy(reason: string): void {
    this.#server?.close();
    clearInterval(this.#ticker);
    for (const session of this.#sessions) session.destroy(reason);
    for (const socket of this.#sockets) socket.destroy();
  }
}

function readRequest(held: HeldRequest, headers: HeaderList): TunnelRequest {
  const header = (name: string): string | undefined => headers.find((field) => field[0] === name)?.[1];
  return {
    held,
    method: (header(':method') ?? '').slice(0, 20),
    authority: (header(':authority') ?? '').slice(0, maxAuthority),
    header,
    onGone: undefined,
  };
}
