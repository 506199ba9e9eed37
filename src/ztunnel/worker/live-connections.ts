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

export class LiveConnections {
  readonly #all = new Set<LiveConnection>();
  readonly #perPod = new Map<string, number>();

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
        const left = this.countOf(connection.pod) - 1;
        if (left === 0) this.#perPod.delete(connection.pod);
        else this.#perPod.set(connection.pod, left);
      },
    };
  }

  /** After a change of policy, or of which policies a workload lists. */
  judgeAgain(): void {
    for (const connection of this.#all) {
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
