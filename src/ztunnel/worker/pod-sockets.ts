// Every socket of one pod that this worker holds: those that its listeners accepted and those that were dialled in
// its namespace. So that a pod that is gone leaves none behind, and a drain knows when the last byte is out: the
// account of a connection is closed when its last byte is taken, which is before a slow reader has it.
import type { Socket } from 'node:net';
import { resetSocket } from '#/sys/index.ts';

/** Clients of the pod's own applications and of plaintext, or all that only serves them: sessions, dialled sockets. */
export type SocketGroup = 'client' | 'other';

export class PodSockets {
  readonly #clients = new Set<Socket>();
  readonly #others = new Set<Socket>();
  readonly #waiting: { readonly done: () => boolean; readonly resolve: () => void }[] = [];

  get size(): number {
    return this.#clients.size + this.#others.size;
  }

  /** Held until it is closed; `closed` is called then. */
  add(socket: Socket, group: SocketGroup, closed?: () => void): void {
    const set = group === 'client' ? this.#clients : this.#others;
    set.add(socket);
    socket.once('close', () => {
      set.delete(socket);
      closed?.();
      if (this.#waiting.length > 0) this.#settle();
    });
  }

  /** Resolves when no client is left. */
  whenNoClients(): Promise<void> {
    return this.#when(() => this.#clients.size === 0);
  }

  whenEmpty(): Promise<void> {
    return this.#when(() => this.size === 0);
  }

  destroyAll(): void {
    for (const socket of [...this.#others, ...this.#clients]) {
      if (socket.destroyed) continue;
      socket.on('error', () => {});
      if (this.#clients.has(socket)) resetSocket(socket);
      else socket.destroy();
    }
  }

  #when(done: () => boolean): Promise<void> {
    if (done()) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push({ done, resolve }));
  }

  #settle(): void {
    const due = this.#waiting.filter(({ done }) => done());
    for (const waiter of due) {
      this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
      waiter.resolve();
    }
  }
}
