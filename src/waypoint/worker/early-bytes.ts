// The first bytes of a channel, kept until somebody knows what they are. Bounded by the channel's window, since
// nothing is given back while they are held.
import type { ByteChannel, ByteSink } from '#/http/index.ts';

export interface EarlyHandlers {
  /** More bytes came, or the sender ended. Call `handOver` when it is clear who takes them. */
  more(early: Buffer, ended: boolean): void;
  gone(reason?: { readonly message: string }): void;
}

export class EarlyBytes implements ByteSink {
  readonly channel: ByteChannel;
  readonly #handlers: EarlyHandlers;
  #bytes: Buffer = Buffer.alloc(0);
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
    this.#bytes = this.#bytes.length === 0 ? Buffer.from(chunk) : Buffer.concat([this.#bytes, chunk]);
    this.#handlers.more(this.#bytes, this.#ended);
  }

  ended(): void {
    if (this.#handedOver) {
      this.channel.sink?.ended();
      return;
    }
    this.#ended = true;
    this.#handlers.more(this.#bytes, true);
  }

  writable(): void {}

  closed(reason?: { readonly message: string }): void {
    this.#handlers.gone(reason);
  }

  /** `take` gives the channel its next sink, which is then told what came early. */
  handOver(take: () => void): void {
    this.#handedOver = true;
    take();
    const { sink } = this.channel;
    const bytes = this.#bytes;
    this.#bytes = Buffer.alloc(0);
    if (sink === undefined || sink === this) return;
    if (bytes.length > 0) sink.data(bytes);
    if (this.#ended) this.channel.sink?.ended();
  }
}
