// For tests: a channel whose other side is a script, and one over a stream of node.
import type { Duplex } from 'node:stream';
import type { ByteChannel, ByteSink } from '../byte-channel.ts';

export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Writes down what is done to it. */
export class ScriptedChannel implements ByteChannel {
  sink: ByteSink | undefined;
  /** What has been written, latin1. */
  written = '';
  writes = 0;
  ends = 0;
  readonly resets: number[] = [];
  credited = 0;
  sent = 0;
  /** Answers of `write`. */
  takes = true;

  write(chunk: Buffer): boolean {
    this.written += chunk.toString('latin1');
    this.writes++;
    return this.takes;
  }

  end(): void {
    this.ends++;
  }

  /** Tells the sink, as a stream of a tunnel does. */
  reset(code: number): void {
    this.resets.push(code);
    this.sink?.closed({ message: 'the stream was reset here' });
  }

  consumed(bytes: number): void {
    this.credited += bytes;
  }

  /** The other side sends; the memory is overwritten afterwards, since it is lent. */
  send(text: string | Buffer): void {
    const bytes = Buffer.from(text as string, 'latin1');
    this.sent += bytes.length;
    this.sink?.data(bytes);
    bytes.fill(0x58);
  }

  /** What has been written since the last call. */
  take(): string {
    const { written } = this;
    this.written = '';
    return written;
  }
}

/** A channel over a stream. */
export function streamChannel(stream: Duplex): ByteChannel {
  let unread = 0;
  const channel: ByteChannel = {
    sink: undefined,
    write: (chunk) => stream.write(Buffer.from(chunk)),
    end: () => stream.end(),
    reset: () => stream.destroy(),
    consumed: (bytes) => {
      unread -= bytes;
      if (unread <= 65_536 && stream.isPaused()) stream.resume();
    },
  };
  stream.on('data', (chunk: Buffer) => {
    unread += chunk.length;
    if (unread > 65_536) stream.pause();
    channel.sink?.data(chunk);
  });
  stream.on('end', () => channel.sink?.ended());
  stream.on('drain', () => channel.sink?.writable());
  let problem: Error | undefined;
  stream.on('error', (error) => (problem = error));
  stream.on('close', () =>
    channel.sink?.closed(problem ?? (stream.readableEnded ? undefined : new Error('closed'))),
  );
  return channel;
}
