// The proxy of one pod in one worker: three listeners inside the pod's namespace, and what hangs on them.
import { createServer, type Server, type Socket } from 'node:net';
import { formatSocketAddress } from '#/kit/index.ts';
import { pingIntervalMs, missedPings, type H2Connection } from '#/tunnel/index.ts';
import { acceptInbound } from './inbound.ts';
import { acceptOutbound } from './outbound.ts';
import { acceptPlaintext } from './plaintext.ts';
import type { PodContext } from './pod-context.ts';

/** As upstream; the kernel queues a few more. */
const backlog = 1024;

interface Listener {
  readonly scope: string;
  readonly component: string;
  readonly port: number;
  readonly transparent: boolean;
  readonly accept: (socket: Socket) => void;
}

export class PodProxy {
  readonly #context: PodContext;
  readonly #abort: AbortController;
  readonly #servers: Server[] = [];
  readonly #sessions = new Set<H2Connection>();
  #ticker: NodeJS.Timeout | undefined;

  /** `abort` is the controller behind `context.closing`. */
  constructor(context: PodContext, abort: AbortController) {
    this.#context = context;
    this.#abort = abort;
  }

  /** Opens all listeners or none. Throws SystemError, which names the address. */
  open(): void {
    const { config } = this.#context;
    const transparent = this.#context.route.preserveSource;
    const reporter =
      (accept: (socket: Socket) => void, who: 'source' | 'destination') => (socket: Socket) => {
        const open = this.#context.ledger.socketOpened(who);
        socket.once('close', () => open[Symbol.dispose]());
        accept(socket);
      };
    const listeners: Listener[] = [
      {
        scope: 'proxy::inbound',
        component: 'inbound',
        port: config.ports.inbound,
        transparent,
        accept: reporter((socket) => acceptInbound(this.#context, socket, this.#sessions), 'destination'),
      },
      {
        scope: 'proxy::inbound_passthrough',
        component: 'inbound plaintext',
        port: config.ports.inboundPlaintext,
        transparent,
        accept: reporter((socket) => acceptPlaintext(this.#context, socket), 'destination'),
      },
      {
        scope: 'proxy::outbound',
        component: 'outbound',
        port: config.ports.outbound,
        transparent,
        accept: reporter((socket) => acceptOutbound(this.#context, socket), 'source'),
      },
    ];
    try {
      for (const listener of listeners) this.#listen(listener);
    } catch (error) {
      this.#closeListeners();
      throw error;
    }
    this.#ticker = setInterval(() => this.#tick(), pingIntervalMs);
    this.#ticker.unref();
  }

  #listen(listener: Listener): void {
    const { config, dialer, netns, pod } = this.#context;
    const host = config.ipv6 ? '::' : '0.0.0.0';
    const fd = dialer.kernel.tcpListener({
      netns,
      host,
      port: listener.port,
      backlog,
      mark: config.packetMark,
      reusePort: config.reusePort,
      transparent: listener.transparent,
      noDelay: true,
      // HTTP/2 PINGs watch over tunnels.
      ...(listener.component === 'inbound' ? {} : { keepAlive: config.keepAlive }),
    });
    const server = createServer(
      { allowHalfOpen: true, pauseOnConnect: true, noDelay: true },
      listener.accept,
    );
    server.on('error', (error) =>
      this.#context.log.error('listener failed', {
        component: listener.component,
        pod: `${pod.namespace}/${pod.name}`,
        error: error.message,
      }),
    );
    server.listen({ fd, backlog });
    this.#servers.push(server);
    this.#context.log.scope(listener.scope).info('listener established', {
      address: formatSocketAddress(host, listener.port),
      component: listener.component,
      transparent: listener.transparent,
      pod: `${pod.namespace}/${pod.name}`,
    });
  }

  #tick(): void {
    this.#context.pool.tick();
    for (const session of this.#sessions) session.checkAlive(missedPings);
  }

  #closeListeners(): void {
    for (const server of this.#servers.splice(0)) server.close();
    clearInterval(this.#ticker);
  }

  /** Takes nothing new; what is open may finish. */
  drain(): void {
    this.#abort.abort();
    this.#closeListeners();
    this.#context.pool.drain();
    for (const session of this.#sessions) session.session.drain();
  }

  /** Ends everything at once: the pod is gone, or the drain's time is up. */
  destroy(reason: string): void {
    this.#abort.abort();
    this.#closeListeners();
    this.#context.live.closeWhere((connection) => connection.pod === this.#context.pod.uid, 'DRAINED');
    this.#context.pool.destroy(reason);
    for (const session of this.#sessions) session.destroy(reason);
    this.#context.netns[Symbol.dispose]();
  }

  get uid(): string {
    return this.#context.pod.uid;
  }
}
