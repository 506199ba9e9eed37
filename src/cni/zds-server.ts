// The node agent's end of ZDS: ztunnel connects, is told of every pod of the mesh on this node and handed its network
// namespace, and from then on of every change. During an upgrade two ztunnels are connected: the newest gets the new
// pods, all hear of the ones that went.
import { errorText } from '#/errors/index.ts';
import type { Clock, Logger } from '#/kit/index.ts';
import { SeqpacketServer, type Kernel, type Netns, type SeqpacketConnection } from '#/sys/index.ts';
import { zdsMaxBytes, type PodInfo } from '#/wire/index.ts';
import { ZdsConnection, ZdsError } from './zds-connection.ts';

export interface ZdsPod {
  readonly uid: string;
  readonly info: PodInfo;
  /** Absent while the pod is being set up, or its namespace is not found: ztunnel keeps what it has for it. */
  readonly netns?: Netns | undefined;
}

export interface ZdsServerOptions {
  readonly path: string;
  readonly kernel: Kernel;
  readonly clock: Clock;
  readonly log: Logger;
  /** Every pod that a ztunnel should know at this moment. */
  readonly snapshot: () => readonly ZdsPod[];
  readonly onConnected?: (ztunnels: number) => void;
}

const connectionsPerSecond = 5;
const maxConnections = 32;

export class ZdsServer {
  readonly #options: ZdsServerOptions;
  readonly #log: Logger;
  /** Those that have greeted, oldest first. */
  readonly #ztunnels: { connection: ZdsConnection; known: Set<string> }[] = [];
  #server: SeqpacketServer | undefined;
  #accepted: number[] = [];
  #lastId = 0;

  constructor(options: ZdsServerOptions) {
    this.#options = options;
    this.#log = options.log.scope('zds');
  }

  /** Throws if another process listens at the path. */
  listen(): void {
    this.#server = new SeqpacketServer(this.#options.path, {
      onConnection: (socket) => this.#pace(socket),
      onRefused: (error) => this.#log.warn(errorText(error)),
      maxDatagram: zdsMaxBytes,
      mode: 0o600,
      maxConnections,
    });
    this.#log.info('waiting for ztunnel', { path: this.#options.path });
  }

  get connected(): number {
    return this.#ztunnels.length;
  }

  /** Hands a pod to the newest ztunnel. Resolves when it has acknowledged; rejects with ZdsError. */
  async add(pod: ZdsPod & { readonly netns: Netns }): Promise<void> {
    const newest = this.#ztunnels.at(-1);
    if (newest === undefined)
      throw new ZdsError('no-ztunnel', `no ztunnel is connected at ${this.#options.path}`);
    await this.#send(newest, pod);
  }

  /** Tells every ztunnel that a pod is gone. Resolves when all have answered or gone; says what was refused. */
  async del(uid: string): Promise<void> {
    await Promise.all(
      this.#ztunnels.map(async ({ connection, known }) => {
        known.delete(uid);
        try {
          await connection.request({ kind: 'del', uid });
        } catch (error) {
          this.#log.warn('ztunnel did not remove a pod', { uid, error: errorText(error) });
          // It must not go on with a pod that is gone: when it is back, the snapshot tells it.
          if (!(error instanceof ZdsError) || error.kind !== 'refused')
            connection.close(`it was not told that ${uid} is gone`);
        }
      }),
    );
  }

  close(): void {
    for (const { connection } of this.#ztunnels) connection.close('the agent is shutting down');
    this.#server?.close();
  }

  async #send(
    ztunnel: { connection: ZdsConnection; known: Set<string> },
    { uid, info, netns }: ZdsPod & { readonly netns: Netns },
  ): Promise<void> {
    this.#log.info('sending pod to ztunnel', {
      pod: `${info.namespace}/${info.name}`,
      uid,
      serviceAccount: info.serviceAccount,
      connection: ztunnel.connection.id,
    });
    // Its own fd: the pod may go, and its handle be closed, while this waits in the queue.
    const own = this.#options.kernel.duplicateNetns(netns);
    await ztunnel.connection.request({ kind: 'add', uid, info }, own);
    ztunnel.known.add(uid);
  }

  /** A client that connects in a loop must not keep the agent busy: the sixth within a second waits. */
  #pace(socket: SeqpacketConnection): void {
    const now = this.#options.clock.now();
    this.#accepted = this.#accepted.filter((time) => now - time < 1000);
    const turn = Math.max(now, (this.#accepted.at(-connectionsPerSecond) ?? -Infinity) + 1000);
    this.#accepted.push(turn);
    if (turn === now) void this.#serve(socket);
    else this.#options.clock.after(turn - now, () => void this.#serve(socket));
  }

  async #serve(socket: SeqpacketConnection): Promise<void> {
    if (socket.closed) return;
    const connection = new ZdsConnection(++this.#lastId, socket, {
      clock: this.#options.clock,
      log: this.#log,
      closeFd: (fd) => this.#options.kernel.close(fd),
    });
    try {
      await connection.greet();
    } catch {
      return; // said by the connection
    }
    const ztunnel = { connection, known: new Set<string>() };
    // From here on changes queue behind the snapshot, so none is missed and none overtakes it.
    this.#ztunnels.push(ztunnel);
    void connection.closed.then(() => this.#lost(ztunnel));
    this.#options.onConnected?.(this.connected);
    try {
      await this.#sendSnapshot(ztunnel);
    } catch (error) {
      connection.close(`snapshot: ${errorText(error)}`);
    }
  }

  async #sendSnapshot(ztunnel: { connection: ZdsConnection; known: Set<string> }): Promise<void> {
    const pods = this.#options.snapshot();
    const { connection } = ztunnel;
    this.#log.info('ztunnel connected, sending it the pods of this node', {
      connection: connection.id,
      pods: pods.length,
    });
    // Handles of our own, all taken now: a pod that goes meanwhile is still added, and then removed.
    const handles = pods.map(({ netns }) =>
      netns === undefined ? undefined : this.#options.kernel.duplicateNetns(netns),
    );
    let next = 0;
    try {
      while (next < pods.length) {
        const { uid, info } = pods[next] as ZdsPod;
        const netns = handles[next];
        next++;
        try {
          await (netns === undefined
            ? connection.request({ kind: 'keep', uid }, undefined, 'snapshot')
            : connection.request({ kind: 'add', uid, info }, netns, 'snapshot'));
          ztunnel.known.add(uid);
        } catch (error) {
          // It could not start this pod's proxy, and tries again by itself; the others go on.
          if (!(error instanceof ZdsError) || error.kind !== 'refused') throw error;
          this.#log.warn('ztunnel refused a pod of the snapshot', { uid, error: error.message });
        }
      }
      await connection.request({ kind: 'snapshot-sent' }, undefined, 'snapshot');
    } finally {
      for (const netns of handles.slice(next)) netns?.[Symbol.dispose]();
      connection.snapshotDone();
    }
    this.#log.info('ztunnel has the pods of this node', { connection: connection.id, pods: pods.length });
  }

  /** The previous ztunnel takes over again: it is told of the pods that only the newest was told of. */
  #lost(ztunnel: { connection: ZdsConnection }): void {
    const at = this.#ztunnels.findIndex((other) => other === ztunnel);
    if (at < 0) return;
    const wasNewest = at === this.#ztunnels.length - 1;
    this.#ztunnels.splice(at, 1);
    this.#options.onConnected?.(this.connected);
    const previous = this.#ztunnels.at(-1);
    if (!wasNewest || previous === undefined) return;
    for (const { uid, info, netns } of this.#options.snapshot()) {
      if (netns === undefined || previous.known.has(uid)) continue;
      this.#send(previous, { uid, info, netns }).catch((error) => {
        this.#log.warn('the previous ztunnel did not take a pod', { uid, error: errorText(error) });
      });
    }
  }
}
