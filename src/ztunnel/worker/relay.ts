// One connection that bytes flow through: joins a splice, its place among the live connections and its account,
// and sees to it that whatever ends first gives the outcome.
import { errorRegistry, MeshError, type ErrorCode } from '#/errors/index.ts';
import type { LedgerEntry } from '#/telemetry/index.ts';
import type { SpliceResult } from '#/tunnel/index.ts';
import type { LiveConnection, LiveConnections } from './live-connections.ts';

/** Either splice. `fromSocket` counts bytes of the socket that was named first. */
interface Copy {
  readonly fromSocket: number;
  readonly toSocket: number;
  abort(): void;
}

export type RelayFacts = Omit<LiveConnection, 'close' | 'account'>;

export class Relay implements LiveConnection {
  readonly pod: string;
  readonly direction: 'inbound' | 'outbound';
  readonly source: RelayFacts['source'];
  readonly originalDestination: RelayFacts['originalDestination'];
  readonly actualDestination: RelayFacts['actualDestination'];
  readonly protocol: RelayFacts['protocol'];
  readonly stillAllowed?: () => boolean;
  readonly entry: LedgerEntry;
  readonly #registration: Disposable;
  /** True if the splice's socket is the client's, false if it is the server's. */
  readonly #socketIsClient: boolean;
  #copy: Copy | undefined;
  #onClose: ((code: ErrorCode) => void) | undefined;
  #toServer = 0;
  #toClient = 0;
  ended = false;

  constructor(facts: RelayFacts, entry: LedgerEntry, live: LiveConnections, socketIsClient: boolean) {
    this.pod = facts.pod;
    this.direction = facts.direction;
    this.source = facts.source;
    this.originalDestination = facts.originalDestination;
    this.actualDestination = facts.actualDestination;
    this.protocol = facts.protocol;
    if (facts.stillAllowed !== undefined) this.stillAllowed = facts.stillAllowed;
    this.entry = entry;
    this.#socketIsClient = socketIsClient;
    this.#registration = live.add(this);
  }

  /** What to undo if the connection is closed before bytes flow. */
  onClose(undo: (code: ErrorCode) => void): void {
    this.#onClose = undo;
  }

  /** Bytes flow from now on. Pass `done` to the splice. */
  started(copy: Copy): void {
    this.#copy = copy;
    this.#onClose = undefined;
  }

  readonly done = (result: SpliceResult): void => {
    this.#count(result.fromSocket, result.toSocket);
    this.#end(() => {
      if (result.failure === undefined) this.entry.complete();
      else this.entry.fail(new MeshError('PEER_RESET', result.failure.message));
    });
  };

  /** The connection has failed before bytes flowed. */
  fail(error: MeshError): void {
    this.#end(() => this.entry.fail(error));
  }

  close(code: ErrorCode): void {
    this.account();
    this.#end(() => this.entry.fail({ code, reason: errorRegistry[code].text }));
    this.#onClose?.(code);
    this.#onClose = undefined;
    this.#copy?.abort();
  }

  account(): void {
    if (this.#copy !== undefined && !this.ended) this.#count(this.#copy.fromSocket, this.#copy.toSocket);
  }

  #count(fromSocket: number, toSocket: number): void {
    const toServer = this.#socketIsClient ? fromSocket : toSocket;
    const toClient = this.#socketIsClient ? toSocket : fromSocket;
    if (this.ended) return;
    this.entry.addToServer(toServer - this.#toServer);
    this.entry.addToClient(toClient - this.#toClient);
    this.#toServer = toServer;
    this.#toClient = toClient;
  }

  #end(outcome: () => void): void {
    if (this.ended) return;
    outcome();
    this.ended = true;
    this.#registration[Symbol.dispose]();
  }
}
