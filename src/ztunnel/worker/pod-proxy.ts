// The proxy of one pod in one worker: its listeners inside the pod's namespace, and what hangs on them.
import { createServer, type Server, type Socket } from 'node:net';
import { errorRegistry } from '#/errors/index.ts';
import { formatSocketAddress } from '#/kit/index.ts';
import { pingIntervalMs, missedPings, type H2Connection } from '#/tunnel/index.ts';
import type { DnsProxy } from './dns/dns-proxy.ts';
import { podDns } from './dns/pod-dns.ts';
import { acceptInbound } from './inbound.ts';
import { acceptOutbound } from './outbound.ts';
import { acceptPlaintext } from './plaintext.ts';
import { cut, endsOf, type PodContext } from './pod-context.ts';

/** As upstream; the kernel queues a few more. */
const backlog = 1024;

interface Listener {
  readonly reporter: 'source' | 'destination';
  readonly scope: string;
  readonly component: string;
  readonly port: number;
  readonly transparent: boolean;
  readonly accept: (socket: Socket) => void;
}

/** Ends the waits of a pod: `closing` when nothing new may begin, `gone` when nothing is left. */
export interface PodEnd {
  readonly closing: AbortController;
  readonly gone: AbortController;
}

export class PodProxy {
  readonly #context: PodContext;
  readonly #end: PodEnd;
  readonly #servers: Server[] = [];
  readonly #sessions = new Set<H2Connection>();
  readonly #dns: DnsProxy | undefined;
  #ticker: NodeJS.Timeout | undefined;

  /** `end` are the controllers behind `context.closing` and `context.gone`. */
  constructor(context: PodContext, end: PodEnd) {
    this.#context = context;
    this.#end = end;
    this.#dns = podDns(context);
  }

  /** Opens the listeners. Throws SystemError, which names the address; `destroy` then closes those that are open. */
  open(): void {
    const { config } = this.#context;
    const transparent = this.#context.route.preserveSource;
    const listeners: Listener[] = [
      {
        reporter: 'destination',
        scope: 'proxy::inbound',
        component: 'inbound',
        port: config.ports.inbound,
        transparent,
        accept: (socket) => acceptInbound(this.#context, socket, this.#sessions),
      },
      {
        reporter: 'destination',
        scope: 'proxy::inbound_passthrough',
        component: 'inbound plaintext',
        port: config.ports.inboundPlaintext,
        transparent,
        accept: (socket) => acceptPlaintext(this.#context, socket),
      },
      {
        reporter: 'source',
        scope: 'proxy::outbound',
        component: 'outbound',
        port: config.ports.outbound,
        transparent,
        accept: (socket) => acceptOutbound(this.#context, socket),
      },
    ];
    for (const listener of listeners) this.#listen(listener);
    this.#dns?.open();
    this.#ticker = setInterval(() => this.#tick(), pingIntervalMs);
    this.#ticker.unref();
  }

  #listen(listener: Listener): void {
    const { config, dialer, ledger, netns, pod, sockets } = this.#context;
    const { reporter } = listener;
    const group = listener.component === 'inbound' ? 'other' : 'client';
    let accepted = 0;
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
    // TCP_NODELAY comes from the listener.
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
      const open = ledger.socketOpened(reporter);
      accepted++;
      sockets.add(socket, group, () => {
        accepted--;
        open[Symbol.dispose]();
      });
      // So that peers that only connect cannot use up the node's memory.
      if (accepted > config.maxConnectionsPerPod) this.#refuse(socket, listener);
      else listener.accept(socket);
    });
    server.on('error', (error) =>
      this.#context.log.error('listener failed', {
        component: listener.component,
        pod: `${pod.namespace}/${pod.name}`,
        error: error.message,
      }),
    );
    server.listen({ fd, backlog });
    this.#servers.push(server);
    const level = this.#context.announces ? 'info' : 'debug';
    this.#context.log.scope(listener.scope).log(level, 'listener established', {
      address: formatSocketAddress(host, listener.port),
      component: listener.component,
      transparent: listener.transparent,
      pod: `${pod.namespace}/${pod.name}`,
    });
  }

  #refuse(socket: Socket, { reporter, component }: Listener): void {
    const ends = endsOf(this.#context, socket, component !== 'inbound');
    if (ends === undefined) return;
    this.#context.ledger.refuse({
      reporter,
      sourceAddress: ends.peer,
      destinationAddress: ends.destination,
      reason: errorRegistry.OVER_LIMIT.text,
    });
    cut(socket);
  }

  #tick(): void {
    this.#context.pool.tick();
    for (const session of this.#sessions) session.checkAlive(missedPings);
  }

  #closeListeners(): void {
    for (const server of this.#servers.splice(0)) server.close();
    clearInterval(this.#ticker);
  }

  /** Takes nothing new; what is open may finish. Resolves when the last byte is out, and every socket closed. */
  async drain(): Promise<void> {
    const { pool, sockets } = this.#context;
    this.#end.closing.abort();
    this.#closeListeners();
    for (const session of this.#sessions) session.session.drain();
    const names = this.#dns?.drain();
    // A client that was accepted before may still need a session.
    await sockets.whenNoClients();
    pool.drain();
    await sockets.whenEmpty();
    await names;
  }

  /** Ends everything at once: the pod is gone, or the drain's time is up. */
  destroy(reason: string): void {
    this.#end.closing.abort();
    this.#end.gone.abort();
    this.#closeListeners();
    this.#dns?.destroy();
    this.#context.live.closeWhere((connection) => connection.pod === this.#context.pod.uid, 'DRAINED');
    this.#context.pool.destroy(reason);
    for (const session of this.#sessions) session.destroy(reason);
    this.#context.sockets.destroyAll();
    this.#context.netns[Symbol.dispose]();
  }

  get uid(): string {
    return this.#context.pod.uid;
  }
}
