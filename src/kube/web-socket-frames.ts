// Frames of a WebSocket (RFC 6455), the client's side: masked out, plain in. No extensions.

const opcodes = { text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

/** The largest message that is taken: kubelets send pieces of 32 KiB. */
const maxMessage = 4 << 20;

export interface FrameHandlers {
  message(data: Buffer): void;
  ping(body: Buffer): void;
  close(): void;
}

export class WebSocketFrames {
  readonly #handlers: FrameHandlers;
  #pending: Buffer = Buffer.alloc(0);
  #parts: Buffer[] = [];

  constructor(handlers: FrameHandlers) {
    this.#handlers = handlers;
  }

  /** One frame that is a whole message. The mask need not be secret here: TLS is around it. */
  static encode(data: Buffer, kind: keyof typeof opcodes = 'binary'): Buffer {
    const { length } = data;
    const size = length < 126 ? 0 : length < 65_536 ? 2 : 8;
    const frame = Buffer.alloc(2 + size + 4 + length);
    frame[0] = 0x80 | opcodes[kind];
    frame[1] = 0x80 | (size === 0 ? length : size === 2 ? 126 : 127);
    if (size === 2) frame.writeUInt16BE(length, 2);
    else if (size === 8) frame.writeBigUInt64BE(BigInt(length), 2);
    // A mask of zeros leaves the bytes as they are.
    data.copy(frame, 2 + size + 4);
    return frame;
  }

  /** Throws for what is no frame, or too large. */
  read(chunk: Buffer): void {
    this.#pending = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk]);
    for (;;) {
      const buffer = this.#pending;
      if (buffer.length < 2) return;
      const first = buffer[0] as number;
      const short = (buffer[1] as number) & 0x7f;
      const start = short === 126 ? 4 : short === 127 ? 10 : 2;
      if (((buffer[1] as number) & 0x80) !== 0) throw new Error('a masked frame came from the server');
      if (buffer.length < start) return;
      const length =
        short === 126 ? buffer.readUInt16BE(2) : short === 127 ? Number(buffer.readBigUInt64BE(2)) : short;
      if (length > maxMessage) throw new Error(`a frame of ${length} bytes is too large`);
      if (buffer.length < start + length) return;
      const body = buffer.subarray(start, start + length);
      this.#pending = buffer.subarray(start + length);
      this.#frame(first & 0x0f, (first & 0x80) !== 0, body);
    }
  }

  #frame(opcode: number, last: boolean, body: Buffer): void {
    switch (opcode) {
      case 0:
      case opcodes.text:
      case opcodes.binary: {
        this.#parts.push(body);
        if (this.#parts.reduce((sum, part) => sum + part.length, 0) > maxMessage)
          throw new Error('a message is too large');
        if (!last) return;
        const whole = this.#parts.length === 1 ? body : Buffer.concat(this.#parts);
        this.#parts = [];
        this.#handlers.message(whole);
        return;
      }
      case opcodes.ping:
        this.#handlers.ping(body);
        return;
      case opcodes.close:
        this.#handlers.close();
        return;
      case opcodes.pong:
        return;
      default:
        throw new Error(`unknown frame ${opcode}`);
    }
  }
}
