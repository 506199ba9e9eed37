// For tests: bytes that count up, so that any that is lost, doubled or moved is seen; and a writer that listens.
import type { H2Stream, StreamSink } from './stream.ts';

const period = 256;
const longest = 64 * 1024;
const counting = Buffer.from(Array.from({ length: longest + period }, (_, i) => i % period));

/** `length` ≤ 64 KiB bytes as they stand from place `at` on. A view: not to be changed. */
export function patternAt(at: number, length: number): Buffer {
  return counting.subarray(at % period, (at % period) + length);
}

/** Counts bytes and checks their values. */
export class PatternCheck {
  at = 0;

  take(chunk: Uint8Array): void {
    for (let from = 0; from < chunk.length; from += longest) {
      const part = chunk.subarray(from, from + longest);
      if (!patternAt(this.at, part.length).equals(part)) throw new Error(`wrong bytes after ${this.at}`);
      this.at += part.length;
    }
  }
}

/** Writes `total` bytes of the pattern as the stream takes them, then ends it. Takes `writable` of the sink. */
export function pump(stream: H2Stream, sink: StreamSink, total: number, chunk = longest): void {
  let sent = 0;
  const more = (): void => {
    while (sent < total) {
      const part = patternAt(sent, Math.min(chunk, total - sent));
      sent += part.length;
      if (!stream.write(part)) return;
    }
    stream.end();
  };
  sink.writable = more;
  more();
}
