// The first bytes of a channel, kept until somebody knows what they are. Bounded by the channel's window, since
// nothing is given back while they are held; given back when the channel goes, since the window is also that of its
// neighbours on the connection.
import type { ByteChannel, ByteSink } from '#/http/index.ts';

export interface EarlyHandlers {
  /** More bytes came, or the sender ended. Call `handOver` when it is clear who takes them. */
  more(early: Buffer, ended: boolean): void;
  gone(reason?: { readonly message: string }): void;
}

export class EarlyBytes implements ByteSink {
  readonly channel: ByteChannel;
  readonly #handlers: EarlyHandlers;
  /** Grows by doubling: a client that sends single bytes must not make us copy all of them each time. */
  #memory: Buffer = Buffer.alloc(0);
  #length = 0;
  #ended = false;
  /** Whoever still gives us bytes means the next sink. */
  #handedOver = false;

  constructor(channel: ByteChannel, handlers: EarlyHandlers) {
    this.channel = channel;
    this.#handlers = handlers;
    channel.sink = this;
  }

  data(chunk: Buffer): void {
    if (this.#handedOver) {
      this.channel.sink?.data(chunk);
      return;
    }
    const length = this.#length + chunk.length;
    if (length > this.#memory.length) {
      const larger = Buffer.allocUnsafe(Math.max(length, 2 * this.#memory.length));
      this.#memory.copy(larger, 0, 0, this.#length);
      this.#memory = larger;
    }
    chunk.copy(this.#memory, this.#length);
    this.#length = length;
    this.#handlers.more(this.#memory.subarray(0, length), this.#ended);
  }

  ended(): void {
    if (this.#handedOver) {
      this.channel.sink?.ended();
      return;
    }
    this.#ended = true;
    this.#handlers.more(this.#memory.subarray(0, this.#length), true);
  }

  writable(): void {
    if (this.#handedOver && this.channel.sink !== this) this.channel.sink?.writable();
  }

  closed(reason?: { readonly message: string }): void {
    if (this.#handedOver) {
      if (this.channel.sink !== this) this.channel.sink?.closed(reason);
      return;
    }
    const held = this.#length;
    this.#length = 0;
    this.#memory = Buffer.alloc(0);
    if (held > 0) this.channel.consumed(held);
    this.#handlers.gone(reason);
  }

  /** `take` gives the channel its next sink, which is then told what came early. */
  handOver(take: () => void): void {
    this.#handedOver = true;
    take();
    const { sink } = this.channel;
    const bytes = this.#memory.subarray(0, this.#length);
    this.#memory = Buffer.alloc(0);
    this.#length = 0;
    if (sink === undefined || sink === this) {
      if (bytes.length > 0) this.channel.consumed(bytes.length);
      return;
    }
    if (bytes.length > 0) sink.data(bytes);
    if (this.#ended) this.channel.sink?.ended();
  }
}
