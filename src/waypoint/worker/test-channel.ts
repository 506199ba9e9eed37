// For tests: a byte channel whose other end is the test.
import type { ByteChannel, ByteSink } from '#/http/index.ts';

export class TestChannel implements ByteChannel {
  sink: ByteSink | undefined;
  /** latin1 */
  written = '';
  ends = 0;
  readonly resets: number[] = [];
  /** Window given back, and bytes that came: equal once nobody holds any. */
  credited = 0;
  sent = 0;
  /** What `write` says. */
  takes = true;

  write(chunk: Buffer): boolean {
    this.written += chunk.toString('latin1');
    return this.takes;
  }
  end(): void {
    this.ends++;
  }
  /** Tells its sink, as a stream of a tunnel does. */
  reset(code: number): void {
    this.resets.push(code);
    this.close('reset here');
  }
  consumed(bytes: number): void {
    this.credited += bytes;
  }

  /** The other end sends; the memory is overwritten, since it is lent. */
  send(text: string): void {
    const chunk = Buffer.from(text, 'latin1');
    this.sent += chunk.length;
    this.sink?.data(chunk);
    chunk.fill(0x21);
  }
  sendEnd(): void {
    this.sink?.ended();
  }
  close(message?: string): void {
    const { sink } = this;
    this.sink = undefined;
    sink?.closed(message === undefined ? undefined : { message });
  }
  drained(): void {
    this.takes = true;
    this.sink?.writable();
  }
}

export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
