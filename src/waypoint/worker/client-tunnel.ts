// One CONNECT of a client: finds out what it is for, and what is spoken in it, and gives it to HTTP or to TCP.
import { sniff, type ByteChannel } from '#/http/index.ts';
import { formatSocketAddress } from '#/kit/index.ts';
import { errorText } from '#/errors/index.ts';
import { serviceKey, type ConnectionFacts } from '#/model/index.ts';
import { h2Error } from '#/tunnel/index.ts';
import { bindingWaitMs, BindingChanges } from './binding-changes.ts';
import { changed, lookUp, type WorkerContext } from './context.ts';
import { EarlyBytes } from './early-bytes.ts';
import { ClientConnectionContext, type HttpEngine } from './requests/client-connection.ts';
import type { Peer, TunnelRequest } from './listener.ts';
import { resolveTarget, type Target } from './resolve-target.ts';
import type { TcpRelays } from './tcp-relay.ts';

/** Rounds of look-ups before a target counts as unknown. */
const rounds = 4;
/** First bytes that may be needed to tell a protocol: a TLS greeting is the longest. */
const maxFirstBytes = 17 * 1024;

export class ClientTunnels {
  readonly #context: WorkerContext;
  readonly #engine: HttpEngine;
  readonly #tcp: TcpRelays;
  readonly #bindings: BindingChanges;
  readonly #connections = new Set<ClientConnectionContext>();
  /** The control plane has told all that it has: before, a policy could be missing. */
  configured = false;

  constructor(context: WorkerContext, engine: HttpEngine, tcp: TcpRelays) {
    this.#bindings = new BindingChanges(context.clock);
    this.#context = context;
    this.#engine = engine;
    this.#tcp = tcp;
  }

  get open(): number {
    return this.#connections.size;
  }

  /** Never throws. */
  accept(peer: Peer, request: TunnelRequest): void {
    void this.#accept(peer, request).catch((error: unknown) => {
      this.#refuse(peer, request, 503, errorText(error));
    });
  }

  async #accept(peer: Peer, request: TunnelRequest): Promise<void> {
    if (request.method !== 'CONNECT') {
      this.#refuse(peer, request, 404, `expected method CONNECT, got ${request.method}`);
      return;
    }
    if (!this.configured) {
      this.#refuse(peer, request, 503, 'the control plane has not told yet what applies here');
      return;
    }
    const { self, view } = this.#context;
    let found = resolveTarget(request.authority, peer.address.ip, self, view);
    for (let round = 0; round < rounds && found.kind === 'needs'; round++) {
      await lookUp(this.#context, found.keys);
      found = resolveTarget(request.authority, peer.address.ip, self, view);
    }
    if (found.kind === 'unbound' && !this.#bindings.lately(found.target)) {
      await changed(this.#context, bindingWaitMs, () => {
        found = resolveTarget(request.authority, peer.address.ip, self, view);
        return found.kind !== 'unbound';
      });
    }
    if (request.held.stream.gone) return;
    if (found.kind === 'needs') this.#refuse(peer, request, 503, 'the control plane does not answer');
    else if (found.kind === 'refuse') this.#refuse(peer, request, found.status, found.reason);
    else if (found.kind === 'target') {
      this.#bindings.bound(found);
      this.#serve(peer, request, found);
    } else if (this.#bindings.lately(found.target)) this.#serve(peer, request, found.target);
    else this.#refuse(peer, request, 404, found.reason);
  }

  #refuse(peer: Peer, request: TunnelRequest, status: number, reason: string): void {
    this.#context.log.scope('access').warn('connection failed', {
      'src.addr': formatSocketAddress(peer.address.ip, peer.address.port),
      'src.identity': peer.identity,
      'dst.addr': formatSocketAddress(peer.local.ip, peer.local.port),
      'dst.hbone_addr': request.authority,
      direction: 'inbound',
      error: reason,
    });
    request.held.refuse(status);
  }

  #serve(peer: Peer, request: TunnelRequest, target: Target): void {
    const facts = (sni: string | undefined): ConnectionFacts => ({
      identity: peer.identity,
      source: peer.address,
      destination: target.destination,
      service: target.service === undefined ? undefined : serviceKey(target.service),
      workload: target.workload?.uid,
      sni,
    });
    const { protocol } = target;
    if (protocol === 'TCP') {
      this.#tcp.accept(request, target, facts(undefined));
      return;
    }
    request.held.open([], () => {
      const channel = request.held.stream as ByteChannel;
      this.#detect(channel, target, facts);
      // The stream's sink is what looks at its first bytes.
      return request.held.stream.sink as NonNullable<typeof request.held.stream.sink>;
    });
  }

  /**
   * Looks at the first bytes; who says nothing for a while on a port of no declared protocol waits for the server.
   * Where HTTP is declared, silence is an idle connection, and a beginning that stops a slow head.
   */
  #detect(channel: ByteChannel, target: Target, facts: (sni: string | undefined) => ConnectionFacts): void {
    const declared = target.protocol !== 'UNKNOWN' && target.protocol !== 'TLS';
    const { clock, config } = this.#context;
    let decided = false;
    let begun = false;
    let timer = declared
      ? clock.after(config.http.idleTimeoutMs, () => {
          decided = true;
          channel.reset(h2Error.noError);
        })
      : clock.after(config.detectMs, () => decide('tcp', undefined));
    const early = new EarlyBytes(channel, {
      more: (bytes, ended) => {
        const found = sniff(bytes);
        if (found.kind === 'need-more' && !ended && bytes.length < maxFirstBytes) {
          if (!declared || begun) return;
          begun = true;
          timer[Symbol.dispose]();
          timer = clock.after(config.http.headTimeoutMs, () => decide('http1', undefined));
          return;
        }
        decide(found.kind === 'need-more' ? 'tcp' : found.kind, found.kind === 'tls' ? found.sni : undefined);
      },
      gone: () => {
        decided = true;
        timer[Symbol.dispose]();
      },
    });
    const decide = (kind: 'http1' | 'http2' | 'tls' | 'tcp', sni: string | undefined): void => {
      if (decided) return;
      decided = true;
      timer[Symbol.dispose]();
      early.handOver(() => {
        if (kind === 'http1' || kind === 'http2') this.#http(channel, kind, target, facts(sni));
        // What is declared as HTTP and is none gets HTTP's answer to that.
        else if (declared) this.#http(channel, 'http1', target, facts(sni));
        else this.#tcp.join(channel, target, facts(sni));
      });
    };
  }

  #http(channel: ByteChannel, version: 'http1' | 'http2', target: Target, facts: ConnectionFacts): void {
    const connection = new ClientConnectionContext(this.#engine, target, facts);
    this.#connections.add(connection);
    connection.serve(channel, version, () => this.#connections.delete(connection));
  }

  drain(): void {
    for (const connection of this.#connections) connection.drain();
  }
}
