// One client's stream on the server: requests in, pushes out. At most one message is being written and at most one
// response per type is unanswered; all that happens meanwhile waits in the log, merged by name.
import { Metadata } from '@grpc/grpc-js';
import { RpcError } from '#/identity/index.ts';
import type { Clock, Logger } from '#/kit/index.ts';
import { decodeDeltaRequest, WireError, type DeltaDiscoveryRequest, type Node } from '#/wire/index.ts';
import { resetCall, type DeltaCall } from './server-stream.ts';
import { SubscriptionState } from './subscription-state.ts';
import type { Batch, TypeFeed } from './type-feed.ts';
import type { WriteBudget } from './write-budget.ts';

export interface TypeStatus {
  readonly typeUrl: string;
  readonly wildcard: boolean;
  /** Names asked for on demand. */
  readonly subscribed: number;
  /** `synced`: all that is known was acknowledged. `stale`: something is under way or waiting. */
  readonly state: 'synced' | 'stale' | 'rejected' | 'never-sent';
  readonly sentNonce?: string;
  readonly ackedNonce?: string;
  /** Text of the last NACK, until a later response is accepted. */
  readonly error?: string;
  readonly lastSentMs?: number;
  readonly lastAckedMs?: number;
  readonly nacks: number;
}

export interface ConnectionStatus {
  readonly id: number;
  /** Empty until the first request has come. */
  readonly nodeId: string;
  /** What the client's node says of itself. */
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly peer: string;
  readonly connectedMs: number;
  readonly types: readonly TypeStatus[];
}

/** What a connection needs of its server. */
export interface ConnectionHost {
  /** In push order. */
  readonly feeds: ReadonlyMap<string, TypeFeed>;
  readonly budget: WriteBudget;
  readonly writeTimeoutMs: number;
  readonly clock: Clock;
  readonly log: Logger;
  implicitGroups(typeUrl: string, node: Node): readonly string[];
  onSent(typeUrl: string, batch: Batch): void;
  onNack(connection: ServerConnection, typeUrl: string, error: string): void;
}

/** What a request subscribes to. */
export interface AskedNames {
  readonly subscribe: readonly string[];
  /** By `*`, or by not naming anything. */
  readonly wildcard: boolean;
}

/** Both throw RpcError to end the stream. */
export interface ConnectionChecks {
  node(node: Node): void;
  names(typeUrl: string, names: AskedNames): void;
}

interface Served {
  readonly subscription: SubscriptionState;
  /** The response that is not answered yet. */
  unanswered?: string;
  sentNonce?: string;
  ackedNonce?: string;
  error?: string;
  lastSentMs?: number;
  lastAckedMs?: number;
  nacks: number;
}

export class ServerConnection {
  readonly id: number;
  readonly peer: string;
  readonly connectedMs: number;
  readonly #call: DeltaCall;
  readonly #host: ConnectionHost;
  readonly #checks: ConnectionChecks;
  readonly #types = new Map<string, Served>();
  readonly #retry = (): void => this.pump();
  #node: Node | undefined;
  #write: { held: Disposable; timer: Disposable } | undefined;
  #ended = false;

  constructor(id: number, call: DeltaCall, host: ConnectionHost, checks: ConnectionChecks) {
    this.id = id;
    this.peer = call.getPeer();
    this.connectedMs = host.clock.now();
    this.#call = call;
    this.#host = host;
    this.#checks = checks;
  }

  /** Starts to read. `closed` is called once, whatever ends the stream. */
  open(closed: () => void): void {
    const call = this.#call;
    const close = (): void => {
      if (this.#cleanUp()) closed();
    };
    call.on('cancelled', close);
    call.on('close', close);
    call.on('error', close);
    call.on('end', () => {
      call.end();
      close();
    });
    // Some clients hand out a stream only after its headers.
    call.sendMetadata(new Metadata());
    call.on('data', (bytes: Buffer) => {
      if (this.#ended) return;
      try {
        this.#request(decodeDeltaRequest(bytes));
      } catch (error) {
        this.end(error);
      }
    });
  }

  /** Ends the stream: with the status of an RpcError, InvalidArgument for bytes that are no request, else Internal. */
  end(error: unknown): void {
    if (this.#ended) return;
    let reason: RpcError;
    if (error instanceof RpcError) reason = error;
    else if (error instanceof WireError) reason = new RpcError('INVALID_ARGUMENT', error.message);
    else {
      this.#host.log.error('xds stream failed', {
        node: this.#node?.id,
        peer: this.peer,
        error: String(error),
      });
      reason = new RpcError('INTERNAL', 'internal error');
    }
    this.#host.log.debug('xds stream ended', {
      node: this.#node?.id,
      peer: this.peer,
      reason: reason.message,
    });
    const writing = this.#write !== undefined;
    this.#call.emit('error', { code: reason.code, details: reason.message });
    // The status would wait behind a message that may never be read.
    if (writing) resetCall(this.#call);
  }

  /** The place in a type's log that this connection still needs; undefined if it does not take the type. */
  place(typeUrl: string): number | undefined {
    return this.#types.get(typeUrl)?.subscription.place;
  }

  /** Sends what is owed, as far as the client's answers allow; goes on by itself after each write and answer. */
  pump(): void {
    if (this.#ended || this.#write !== undefined) return;
    try {
      for (const typeUrl of this.#host.feeds.keys()) {
        const served = this.#types.get(typeUrl);
        if (served === undefined || !served.subscription.owed) continue;
        // Later types wait, so that no policy overtakes the workloads that it was made for.
        if (served.unanswered !== undefined) return;
        if (!this.#host.budget.hasRoom(this.#retry)) return;
        const batch = served.subscription.next();
        if (batch === 'behind') throw new RpcError('UNAVAILABLE', 'too far behind, connect again');
        if (batch === 'nothing') continue;
        this.#send(typeUrl, served, batch);
        return;
      }
    } catch (error) {
      this.end(error);
    }
  }

  status(): ConnectionStatus {
    return {
      id: this.id,
      nodeId: this.#node?.id ?? '',
      metadata: this.#node?.metadata ?? {},
      peer: this.peer,
      connectedMs: this.connectedMs,
      types: [...this.#types].map(([typeUrl, { subscription, unanswered, ...rest }]) => ({
        typeUrl,
        wildcard: subscription.wildcard,
        subscribed: subscription.subscribed,
        state: stateOf(rest, unanswered !== undefined || subscription.owed),
        ...rest,
      })),
    };
  }

  get nodeId(): string {
    return this.#node?.id ?? '';
  }

  #request(request: DeltaDiscoveryRequest): void {
    const node = this.#identified(request);
    const { typeUrl } = request;
    const feed = this.#host.feeds.get(typeUrl);
    if (feed === undefined) {
      this.#host.log.debug('xds type is not served', { node: node.id, type: typeUrl });
      return;
    }
    const served = this.#types.get(typeUrl);
    this.#checks.names(typeUrl, askedNames(request, served === undefined));
    if (served === undefined) {
      // An answer to what an earlier stream has sent says nothing here; its subscriptions count.
      const subscription = new SubscriptionState(feed, request, this.#host.implicitGroups(typeUrl, node));
      this.#types.set(typeUrl, { subscription, nacks: 0 });
    } else {
      this.#answer(typeUrl, served, request);
      served.subscription.change(request);
    }
    this.pump();
  }

  #identified(request: DeltaDiscoveryRequest): Node {
    if (this.#node !== undefined) return this.#node;
    if (request.node === undefined || request.node.id === '')
      throw new RpcError('INVALID_ARGUMENT', 'the first request of a stream must name its node');
    this.#checks.node(request.node);
    this.#node = request.node;
    this.#host.log.debug('xds client connected', { node: this.#node.id, peer: this.peer });
    return this.#node;
  }

  #answer(typeUrl: string, served: Served, request: DeltaDiscoveryRequest): void {
    // Empty: a change of subscription only. Another: an answer that is late, or to nothing we have sent.
    if (request.responseNonce === '' || request.responseNonce !== served.unanswered) return;
    delete served.unanswered;
    if (request.errorDetail === undefined) {
      served.ackedNonce = request.responseNonce;
      served.lastAckedMs = this.#host.clock.now();
      delete served.error;
      return;
    }
    served.nacks++;
    served.error = request.errorDetail.message;
    this.#host.log.warn('xds response rejected', { node: this.nodeId, type: typeUrl, error: served.error });
    this.#host.onNack(this, typeUrl, served.error);
  }

  #send(typeUrl: string, served: Served, batch: Batch): void {
    const { budget, clock, writeTimeoutMs } = this.#host;
    const { bytes, nonce } = batch;
    const write = {
      held: budget.take(bytes.length),
      timer: clock.after(writeTimeoutMs, () => {
        this.#host.log.warn('xds client does not read, cut off', { node: this.nodeId, peer: this.peer });
        this.end(new RpcError('DEADLINE_EXCEEDED', `a push was not read within ${writeTimeoutMs} ms`));
      }),
    };
    this.#write = write;
    served.unanswered = nonce;
    served.sentNonce = nonce;
    served.lastSentMs = clock.now();
    this.#host.onSent(typeUrl, batch);
    this.#call.write(bytes, () => {
      if (this.#write !== write) return;
      this.#write = undefined;
      write.timer[Symbol.dispose]();
      write.held[Symbol.dispose]();
      this.pump();
    });
  }

  #cleanUp(): boolean {
    if (this.#ended) return false;
    this.#ended = true;
    this.#host.budget.forget(this.#retry);
    this.#write?.timer[Symbol.dispose]();
    this.#write?.held[Symbol.dispose]();
    this.#write = undefined;
    return true;
  }
}

/** As SubscriptionState understands them. */
function askedNames(request: DeltaDiscoveryRequest, first: boolean): AskedNames {
  const asked = request.resourceNamesSubscribe;
  const all = asked.includes('*');
  const wildcard = first
    ? (asked.length === 0 || all) && !request.resourceNamesUnsubscribe.includes('*')
    : all;
  return { subscribe: asked.filter((name) => name !== '*'), wildcard };
}

function stateOf(served: Pick<TypeStatus, 'error' | 'sentNonce'>, waiting: boolean): TypeStatus['state'] {
  if (served.error !== undefined) return 'rejected';
  if (served.sentNonce === undefined) return 'never-sent';
  return waiting ? 'stale' : 'synced';
}
