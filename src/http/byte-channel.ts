// A flow of bytes in both directions, as an HTTP/2 stream of a tunnel is one (tunnel's H2Stream has this shape): what
// codecs speak over. Bytes are pushed; windows are given back with `consumed`.

export interface ByteSink {
  /** Lent for the call. */
  data(chunk: Buffer): void;
  ended(): void;
  /** `write` may be called again after it returned false. */
  writable(): void;
  /** Over. `reason` is absent when both sides ended in order. */
  closed(reason?: { readonly message: string }): void;
}

export interface ByteChannel {
  sink: ByteSink | undefined;
  /** Copies the chunk. False: take no more from the source until `writable`. */
  write(chunk: Buffer): boolean;
  end(): void;
  /** Ends both directions at once. The code is HTTP/2's. */
  reset(code: number): void;
  consumed(bytes: number): void;
}
