// For tests: a scripted ztunnel on a real ZDS socket.
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { SeqpacketConnection, type Kernel, type Netns } from '#/sys/index.ts';
import { decodeWorkloadRequest, encodeAck, encodeHello, type WorkloadRequest } from '#/wire/index.ts';

/** One end of a ZDS connection that does what a test says. */
export class Ztunnel {
  readonly #kernel: Kernel;
  readonly socket: SeqpacketConnection;
  readonly heard: { request: WorkloadRequest; netns: Netns | undefined }[] = [];

  static async connect(
    t: TestContext,
    on: { readonly kernel: Kernel; readonly path: string },
    hello = encodeHello(),
  ): Promise<Ztunnel> {
    const ztunnel = new Ztunnel(on.kernel, await SeqpacketConnection.connect(on.path));
    t.after(() => ztunnel.close());
    await ztunnel.socket.send(hello);
    return ztunnel;
  }

  constructor(kernel: Kernel, socket: SeqpacketConnection) {
    this.#kernel = kernel;
    this.socket = socket;
  }

  /** The next request; undefined when the agent has closed. */
  async next(): Promise<WorkloadRequest | undefined> {
    const datagram = await this.socket.receive();
    if (datagram === undefined) return undefined;
    const request = decodeWorkloadRequest(datagram.bytes);
    assert.equal(datagram.fds.length, request.kind === 'add' ? 1 : 0);
    const fd = datagram.fds[0];
    this.heard.push({ request, netns: fd === undefined ? undefined : this.#kernel.adoptNetns(fd) });
    return request;
  }

  async ack(error?: string): Promise<void> {
    await this.socket.send(encodeAck(error));
  }

  async take(error?: string): Promise<WorkloadRequest | undefined> {
    const request = await this.next();
    if (request !== undefined) await this.ack(error);
    return request;
  }

  /** Acknowledges all until SnapshotSent, and gives what was heard. */
  async snapshot(): Promise<string[]> {
    const seen: string[] = [];
    for (;;) {
      const request = await this.take();
      assert.ok(request !== undefined, 'the agent closed during the snapshot');
      if (request.kind === 'snapshot-sent') return seen;
      seen.push(`${request.kind} ${request.uid}`);
    }
  }

  close(): void {
    for (const { netns } of this.heard) netns?.[Symbol.dispose]();
    this.socket.close();
  }
}
