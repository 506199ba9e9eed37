// The connections that one worker carries: shown in /config_dump, judged again when policy changes, ended when the
// pod is gone or the drain's time is up. A connection is registered before its first verdict, so that a policy
// that arrives in between cannot be missed.
import type { ErrorCode } from '#/errors/index.ts';
import { formatSocketAddress, type SocketAddress } from '#/kit/index.ts';
import type { ConnectionReport } from '../messages.ts';

export interface LiveConnection {
  readonly pod: string;
  readonly direction: 'inbound' | 'outbound';
  readonly source: SocketAddress;
  /** Outbound: the address that the client asked for. Inbound: the hostname of the service that was meant. */
  readonly originalDestination: SocketAddress | string | undefined;
  readonly actualDestination: SocketAddress;
  readonly protocol: ConnectionReport['protocol'];
  /** Whether policy still lets it be. Absent for outbound: only the destination judges. */
  readonly stillAllowed?: () => boolean;
  /** Ends it at once. */
  close(code: ErrorCode): void;
  /** Moves the bytes counted so far to the account. */
  account(): void;
}

/** Connections that are judged again in one turn of the event loop: about a millisecond. */
export const judgedPerTurn = 256;

export class LiveConnections {
  readonly #all = new Set<LiveConnection>();
  readonly #perPod = new Map<string, number>();
  /** Those that the last change of policy has not been held against yet. */
  #unjudged = new Set<LiveConnection>();
  #scheduled = false;
  readonly #nextTurn: (run: () => void) => void;

  /** `nextTurn`: runs what it is given after others have had their turn. */
  constructor(nextTurn: (run: () => void) => void = setImmediate) {
    this.#nextTurn = nextTurn;
  }

  get size(): number {
    return this.#all.size;
  }

  countOf(pod: string): number {
    return this.#perPod.get(pod) ?? 0;
  }

  /** Dispose when the connection has ended. */
  add(connection: LiveConnection): Disposable {
    this.#all.add(connection);
    this.#perPod.set(connection.pod, this.countOf(connection.pod) + 1);
    return {
      [Symbol.dispose]: () => {
        if (!this.#all.delete(connection)) return;
        this.#unjudged.delete(connection);
        const left = this.countOf(connection.pod) - 1;
        if (left === 0) this.#perPod.delete(connection.pod);
        else this.#perPod.set(connection.pod, left);
      },
    };
  }

  /**
   * After a change of policy, or of which policies a workload lists. A worker may carry tens of thousands of
   * connections, so the rest of a long list is judged in later turns; whoever connects meanwhile is judged by its own
   * first verdict. Each is judged by the policies of its turn. A change in between starts the list anew, with those first
   * that have waited, so that changes without a pause leave nobody out.
   */
  judgeAgain(): void {
    this.#unjudged = this.#unjudged.union(this.#all);
    if (!this.#scheduled) this.#judge();
  }

  #judge(): void {
    let left = judgedPerTurn;
    for (const connection of this.#unjudged) {
      if (left-- === 0) {
        this.#scheduled = true;
        this.#nextTurn(() => {
          this.#scheduled = false;
          this.#judge();
        });
        return;
      }
      this.#unjudged.delete(connection);
      if (connection.stillAllowed?.() === false) connection.close('POLICY_CHANGED');
    }
  }

  closeWhere(test: (connection: LiveConnection) => boolean, code: ErrorCode): void {
    for (const connection of this.#all) if (test(connection)) connection.close(code);
  }

  account(): void {
    for (const connection of this.#all) connection.account();
  }

  report(): ConnectionReport[] {
    const text = ({ ip, port }: SocketAddress): string => formatSocketAddress(ip, port);
    return Array.from(this.#all, (connection) => ({
      pod: connection.pod,
      direction: connection.direction,
      src: text(connection.source),
      originalDst:
        typeof connection.originalDestination === 'object'
          ? text(connection.originalDestination)
          : (connection.originalDestination ?? null),
      actualDst: text(connection.actualDestination),
      protocol: connection.protocol,
    }));
  }
}
