// The client of delta xDS: connects, subscribes, hands pushes over, answers, and connects again.
import { callHeaders, openChannel, toMetadata, type ControlChannel } from '#/identity/index.ts';
import { errorText } from '#/errors/index.ts';
import { backoffDelay, systemClock, type Clock, type Logger } from '#/kit/index.ts';
import { decodeDeltaResponse, encodeDeltaRequest, type JsonObject } from '#/wire/index.ts';
import { isHarmless, openStream, readToEnd, type ClientStream, type StreamEnd } from './client-stream.ts';
import { HeldResources, type Push, type Rejection } from './held-resources.ts';

export interface Subscription {
  readonly typeUrl: string;
  /** Nothing is sent until it is asked for by `subscribe`. Default: everything is. */
  readonly onDemand?: boolean;
}

export interface DeltaClientOptions {
  /** `https://host:port`, or `http://host:port` for plain text. */
  readonly address: string;
  /** PEM of the roots, read again at each connect; undefined: those of the system. */
  rootCert(): Uint8Array | undefined;
  /** Read again for each stream. */
  token(): Promise<string | undefined> | string | undefined;
  /** More request headers. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** An extra name that the server's certificate may have. */
  readonly altHostname?: string;
  readonly node: { readonly id: string; readonly metadata: Readonly<JsonObject> };
  /** In the order in which they are to be subscribed. */
  readonly types: readonly (string | Subscription)[];
  readonly log: Logger;
  readonly clock?: Clock;
  readonly random?: () => number;
  /** Default 5 000. */
  readonly connectTimeoutMs?: number;
  /**
   * Takes a push and returns what it refuses: those keep their last good form and are answered with a NACK, the
   * others count as accepted. A throw refuses the whole push.
   */
  onPush(push: Push): readonly Rejection[];
  onState?(state: ClientState, reason?: string): void;
}

export type ClientState = 'connecting' | 'connected' | 'disconnected';

/** Why connections ended: the label `reason` of istio_xds_connection_terminations_total. */
export type TerminationReason = 'ConnectionError' | 'Error' | 'Reconnect' | 'Complete';

export interface ClientStats {
  readonly terminations: Readonly<Record<TerminationReason, number>>;
  /** By type URL. */
  readonly messages: ReadonlyMap<string, { readonly count: number; readonly bytes: number }>;
}

const backoff = { initial: 10, max: 15_000 };

/** A stream that has lived longer than the longest delay has earned a fresh start. */
const provenMs = backoff.max;

const invalidArgument = 3;

export class DeltaClient {
  readonly #options: DeltaClientOptions;
  readonly #clock: Clock;
  /** By type URL, in the order of subscription. */
  readonly #types: ReadonlyMap<string, HeldResources>;
  readonly #unsynced: Set<string>;
  readonly #synced = Promise.withResolvers<void>();
  readonly #terminations = { ConnectionError: 0, Error: 0, Reconnect: 0, Complete: 0 };
  readonly #messages = new Map<string, { count: number; bytes: number }>();
  #state: ClientState = 'disconnected';
  #stream: ClientStream | undefined;
  #started = false;
  /** False after a server has refused our list of versions for its size. */
  #tellVersions = true;

  constructor(options: DeltaClientOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    const types = options.types.map((type) => (typeof type === 'string' ? { typeUrl: type } : type));
    this.#types = new Map(
      types.map(({ typeUrl, onDemand }) => [typeUrl, new HeldResources(typeUrl, onDemand === true)]),
    );
    this.#unsynced = new Set(types.filter(({ onDemand }) => onDemand !== true).map(({ typeUrl }) => typeUrl));
    if (this.#unsynced.size === 0) this.#synced.resolve();
  }

  /** Connects, and again after every loss, until the signal is aborted. Once only. */
  start(signal: AbortSignal): void {
    if (this.#started) throw new Error('the xDS client is started already');
    this.#started = true;
    void this.#run(signal);
  }

  /** Resolves when a push of every type has been accepted in full; on-demand types have nothing to wait for. */
  get synced(): Promise<void> {
    return this.#synced.promise;
  }

  get state(): ClientState {
    return this.#state;
  }

  get stats(): ClientStats {
    return { terminations: { ...this.#terminations }, messages: this.#messages };
  }

  /** On-demand types only: asks for names, on this stream and after each reconnect. */
  subscribe(typeUrl: string, names: Iterable<string>): void {
    const fresh = this.#onDemand(typeUrl).want(names);
    if (fresh.length > 0) this.#send({ typeUrl, resourceNamesSubscribe: [...fresh] });
  }

  unsubscribe(typeUrl: string, names: Iterable<string>): void {
    const gone = this.#onDemand(typeUrl).unwant(names);
    if (gone.length > 0) this.#send({ typeUrl, resourceNamesUnsubscribe: [...gone] });
  }

  #onDemand(typeUrl: string): HeldResources {
    const held = this.#types.get(typeUrl);
    if (held?.onDemand !== true) throw new Error(`${typeUrl} is not subscribed on demand`);
    return held;
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { log, address, random } = this.#options;
    let failures = 0;
    while (!signal.aborted) {
      const from = this.#clock.now();
      this.#enter('connecting');
      const end = await this.#connectOnce(signal);
      this.#count(end);
      this.#enter('disconnected', end.reason);
      if (end.kind === 'complete') return;
      if (end.status === 'RESOURCE_EXHAUSTED') this.#tellVersions = false;
      const delay = isHarmless(end)
        ? backoff.initial
        : backoffDelay(backoff, this.#clock.now() - from > provenMs ? 0 : failures, random);
      failures = isHarmless(end) || this.#clock.now() - from > provenMs ? 0 : failures + 1;
      const level = isHarmless(end) ? 'info' : 'warn';
      log.log(level, 'xds connection ended', { address, reason: end.reason, retry_ms: Math.round(delay) });
      await this.#clock.sleep(delay, signal).catch(() => {});
    }
  }

  async #connectOnce(signal: AbortSignal): Promise<StreamEnd> {
    const { address, altHostname, metadata, log } = this.#options;
    let channel: ControlChannel | undefined;
    try {
      channel = openChannel({
        address,
        rootCert: this.#options.rootCert(),
        ...(altHostname !== undefined && { altHostname }),
      });
      const token = await this.#options.token();
      const { client } = channel;
      const stream = openStream(client, toMetadata(callHeaders(token, metadata)));
      this.#stream = stream;
      const connected = (): void => {
        this.#enter('connected');
        log.info('xds connected', { address });
      };
      const on = { connected, data: (bytes: Buffer) => this.#receive(bytes) };
      const ended = readToEnd(client, stream, on, this.#options.connectTimeoutMs ?? 5_000, signal);
      this.#subscribeAll();
      return await ended;
    } catch (error) {
      if (signal.aborted) return { kind: 'complete', reason: 'stopped' };
      return { kind: 'connect', reason: errorText(error) };
    } finally {
      this.#stream = undefined;
      channel?.close();
    }
  }

  #subscribeAll(): void {
    const { id, metadata } = this.#options.node;
    for (const held of this.#types.values())
      this.#send({ node: { id, metadata: { ...metadata } }, ...held.firstRequest(this.#tellVersions) });
    this.#tellVersions = true;
  }

  #receive(bytes: Buffer): void {
    const response = decodeDeltaResponse(bytes);
    const { typeUrl, nonce } = response;
    const held = this.#types.get(typeUrl);
    const seen =
      held === undefined ? { count: 0, bytes: 0 } : (this.#messages.get(typeUrl) ?? { count: 0, bytes: 0 });
    seen.count++;
    seen.bytes += bytes.length;
    if (held !== undefined) this.#messages.set(typeUrl, seen);
    const { error } =
      held === undefined
        ? { error: `${typeUrl}: this type was not asked for` }
        : held.take(response, (push) => this.#options.onPush(push));
    if (error === undefined) {
      this.#send({ typeUrl, responseNonce: nonce });
      this.#unsynced.delete(typeUrl);
      if (this.#unsynced.size === 0) this.#synced.resolve();
    } else {
      this.#options.log.warn('xds response rejected', { type: typeUrl, error });
      this.#send({ typeUrl, responseNonce: nonce, errorDetail: { code: invalidArgument, message: error } });
    }
  }

  #send(request: Parameters<typeof encodeDeltaRequest>[0]): void {
    this.#stream?.write(encodeDeltaRequest(request));
  }

  #enter(state: ClientState, reason?: string): void {
    if (state === this.#state) return;
    this.#state = state;
    this.#options.onState?.(state, reason);
  }

  #count(end: StreamEnd): void {
    const reasons = {
      connect: 'ConnectionError',
      error: 'Error',
      closed: 'Reconnect',
      complete: 'Complete',
    } as const;
    this.#terminations[reasons[end.kind]]++;
  }
}
