// A way to one endpoint: a tunnel to a workload of the mesh, pinned to its identity, or plain TCP (with TLS where a
// DestinationRule says so) to what is outside of it.
import type { Socket } from 'node:net';
import { connect as connectTlsSocket } from 'node:tls';
import { errorText, MeshError } from '#/errors/index.ts';
import type { ByteChannel } from '#/http/index.ts';
import { connectTls } from '#/identity/index.ts';
import { formatSocketAddress, type SocketAddress } from '#/kit/index.ts';
import type { Identity, OriginationTls } from '#/model/index.ts';
import { connect, hboneClient, type H2Connection, type SessionPool } from '#/tunnel/index.ts';
import type { KeepAlive } from '#/sys/index.ts';
import type { WorkerContext } from '../context.ts';
import { SocketChannel } from '../socket-channel.ts';

/** Where a request or a connection goes in the end. */
export interface EndpointAddress {
  /** The application's address. */
  readonly address: SocketAddress;
  /** Set: by HBONE to this port of the address, which must prove one of the identities. */
  readonly tunnel?: { readonly port: number; readonly identities: readonly Identity[] };
  readonly tls?: OriginationTls & { readonly alpn?: readonly string[] };
  /** Of the socket, where there is no tunnel, which HTTP/2 watches over. */
  readonly keepAlive?: KeepAlive;
}

export interface ChannelFailure {
  /** `timeout`: nobody answered. `refused`: the peer has not looked at it. `identity`: it is not who it should be. */
  readonly kind: 'connect' | 'timeout' | 'refused' | 'identity';
  readonly message: string;
}

export type ChannelOutcome = (channel: ByteChannel | undefined, failure?: ChannelFailure) => void;

/** Attempts after a peer has said that it did not look at the request. */
const attempts = 3;

export class Tunnels {
  readonly #context: WorkerContext;
  readonly pool: SessionPool;

  constructor(context: WorkerContext, pool: SessionPool) {
    this.#context = context;
    this.pool = pool;
  }

  /** Calls `done` once, unless disposed before: what is opened then is closed again. */
  open(endpoint: EndpointAddress, timeoutMs: number, done: ChannelOutcome): Disposable {
    let settled = false;
    const settle = (channel: ByteChannel | undefined, failure?: ChannelFailure): void => {
      if (settled) {
        channel?.reset(0x8);
        return;
      }
      settled = true;
      timer[Symbol.dispose]();
      done(channel, failure);
    };
    const where = formatSocketAddress(endpoint.address.ip, endpoint.address.port);
    const timer = this.#context.clock.after(timeoutMs, () =>
      settle(undefined, { kind: 'timeout', message: `${where}: no answer within ${timeoutMs} ms` }),
    );
    if (endpoint.tunnel === undefined) void this.#plain(endpoint, timeoutMs, settle);
    else this.#tunnel({ endpoint, tunnel: endpoint.tunnel, timeoutMs }, 1, settle);
    return {
      [Symbol.dispose]: () => {
        settled = true;
        timer[Symbol.dispose]();
      },
    };
  }

  #tunnel(way: Way, attempt: number, done: ChannelOutcome): void {
    const { endpoint, tunnel, timeoutMs } = way;
    const { address } = endpoint;
    const authority = formatSocketAddress(address.ip, address.port);
    const hop = { ip: address.ip, port: tunnel.port };
    const key = `${hop.ip}|${hop.port}|${tunnel.identities.join(',')}`;
    const use = (connection: H2Connection): void => {
      connect(connection, authority, [], {
        opened: (stream) => done(stream),
        refused: (status) =>
          done(undefined, {
            kind: 'connect',
            message: `${authority}: the tunnel was refused with ${status}`,
          }),
        failed: (failure) => {
          if (failure.kind === 'refused' && attempt < attempts) this.#tunnel(way, attempt + 1, done);
          else
            done(undefined, {
              kind: failure.kind === 'refused' ? 'refused' : 'connect',
              message: `${authority}: ${failure.message}`,
            });
        },
      });
    };
    const free = this.pool.take(key);
    if (free !== undefined) {
      use(free);
      return;
    }
    void this.#openSession(key, () => this.#session(hop, tunnel.identities, timeoutMs), use, done);
  }

  async #openSession(
    key: string,
    open: () => Promise<H2Connection>,
    use: (connection: H2Connection) => void,
    done: ChannelOutcome,
  ): Promise<void> {
    try {
      await this.pool.checkout(key, open, use);
    } catch (error) {
      done(undefined, {
        kind: error instanceof MeshError && error.code === 'IDENTITY_MISMATCH' ? 'identity' : 'connect',
        message: errorText(error),
      });
    }
  }

  async #session(
    hop: SocketAddress,
    identities: readonly Identity[],
    timeoutMs: number,
  ): Promise<H2Connection> {
    const { certificates, identity, config } = this.#context;
    const { certificate } = certificates.peek(identity) ?? (await certificates.get(identity));
    const raw = await this.#dial(hop, timeoutMs);
    const { socket } = await connectTls(raw, certificate, identities);
    const connection: H2Connection = hboneClient(socket, config.windows, {
      closed: () => this.pool.remove(connection),
    });
    return connection;
  }

  async #plain(endpoint: EndpointAddress, timeoutMs: number, done: ChannelOutcome): Promise<void> {
    let socket: Socket;
    try {
      const raw = await this.#dial(endpoint.address, timeoutMs, endpoint.keepAlive);
      socket = endpoint.tls === undefined ? raw : await originate(raw, endpoint.tls, timeoutMs);
    } catch (error) {
      done(undefined, { kind: 'connect', message: errorText(error) });
      return;
    }
    done(new SocketChannel(socket));
  }

  /** Given up after the time: the kernel alone would go on for two minutes, and whoever comes meanwhile with it. */
  #dial(to: SocketAddress, timeoutMs: number, keepAlive?: KeepAlive): Promise<Socket> {
    return new Promise((resolve, reject) => {
      const socket = this.#context.kernel.connect({
        ip: to.ip,
        port: to.port,
        noDelay: true,
        ...(keepAlive === undefined ? {} : { keepAlive }),
      });
      const timer = setTimeout(
        () => socket.destroy(new Error(`no answer within ${timeoutMs} ms`)),
        timeoutMs,
      );
      socket.once('connect', () => {
        clearTimeout(timer);
        socket.removeAllListeners('error');
        socket.on('error', () => {});
        socket.pause();
        resolve(socket);
      });
      socket.once('error', (error) => {
        clearTimeout(timer);
        reject(new MeshError('CONNECT_FAILED', `${formatSocketAddress(to.ip, to.port)}: ${error.message}`));
      });
    });
  }
}

interface Way {
  readonly endpoint: EndpointAddress;
  readonly tunnel: NonNullable<EndpointAddress['tunnel']>;
  readonly timeoutMs: number;
}

/** TLS as a client of a server outside the mesh. */
function originate(
  raw: Socket,
  tls: NonNullable<EndpointAddress['tls']>,
  timeoutMs: number,
): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const names = tls.subjectAltNames;
    const socket = connectTlsSocket({
      socket: raw,
      minVersion: 'TLSv1.2',
      rejectUnauthorized: !tls.insecureSkipVerify,
      ...(tls.sni === undefined ? {} : { servername: tls.sni }),
      ...(tls.caPem === undefined ? {} : { ca: tls.caPem }),
      ...(tls.certificatePem === undefined ? {} : { cert: tls.certificatePem }),
      ...(tls.keyPem === undefined ? {} : { key: tls.keyPem }),
      ...(tls.alpn === undefined ? {} : { ALPNProtocols: [...tls.alpn] }),
      ...(names.length === 0
        ? {}
        : {
            checkServerIdentity: (_host: string, certificate: { subjectaltname?: string }) => {
              const presented = (certificate.subjectaltname ?? '')
                .split(', ')
                .map((name) => name.slice(name.indexOf(':') + 1));
              return names.some((name) => presented.includes(name))
                ? undefined
                : new Error(
                    `the server's certificate is for ${presented.join(', ')}, not for ${names.join(', ')}`,
                  );
            },
          }),
    });
    const timer = setTimeout(
      () => socket.destroy(new Error(`the handshake is not finished within ${timeoutMs} ms`)),
      timeoutMs,
    );
    socket.once('secureConnect', () => {
      clearTimeout(timer);
      socket.removeAllListeners('error');
      socket.pause();
      resolve(socket);
    });
    socket.once('error', (error) => {
      clearTimeout(timer);
      raw.destroy();
      reject(new MeshError('TLS_FAILED', `tls handshake error: ${error.message}`));
    });
  });
}
