// Lets the host reach the API inside the lab: a listener on 127.0.0.1 whose connections go on from inside a node's
// namespace. The only opening between the two, and only for the user of this machine.
import { createServer, type Server, type Socket } from 'node:net';
import type { Kernel, Netns } from '#/sys/index.ts';

export class Relay {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  constructor(kernel: Kernel, netns: Netns, target: { readonly ip: string; readonly port: number }) {
    this.#server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (client) => {
      const upstream = kernel.connect({ netns, ...target, noDelay: true });
      client.setNoDelay(true);
      for (const [one, other] of [
        [client, upstream],
        [upstream, client],
      ] as const) {
        this.#sockets.add(one);
        one.on('error', () => other.destroy());
        one.on('close', () => {
          this.#sockets.delete(one);
          other.destroySoon();
        });
      }
      upstream.once('connect', () => {
        client.pipe(upstream);
        upstream.pipe(client);
        client.resume();
      });
    });
    this.#server.maxConnections = 1000;
  }

  /** Throws if the port is taken. */
  start(port: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', (error: NodeJS.ErrnoException) =>
        reject(
          error.code === 'EADDRINUSE'
            ? new Error(
                `port 127.0.0.1:${port}, by which kubectl reaches the lab, is taken by another program`,
              )
            : error,
        ),
      );
      this.#server.listen(port, '127.0.0.1', resolve);
    });
  }

  stop(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}

/** A TCP port on 127.0.0.1 that is free now. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}
