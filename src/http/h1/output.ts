// What a connection writes, gathered until the end of the turn: a head and a small body go out in one write, and so
// do the answers to pipelined requests.
import { atEndOfTurn, type TurnTask } from '#/tunnel/index.ts';
import type { ByteChannel } from '../byte-channel.ts';

const slabBytes = 16_384;
/** Chunks from this size on are not copied here. */
const directBytes = 8192;
/** Slabs that wait for the next turn, for all connections of this thread. */
const maxFree = 32;
const free: Buffer[] = [];

export class Output implements TurnTask {
  readonly #channel: ByteChannel;
  readonly #afterTurn: () => void;
  readonly #schedule: (task: TurnTask) => void;
  #slab: Buffer | undefined;
  #used = 0;
  #asked = false;
  #ending = false;
  #over = false;
  /** The channel has said to wait. */
  blocked = false;
  /** Writes to the channel so far. */
  sends = 0;

  /** @param afterTurn called at the end of a turn in which `wake`, or a write, asked for it */
  constructor(channel: ByteChannel, afterTurn: () => void, schedule: (task: TurnTask) => void = atEndOfTurn) {
    this.#channel = channel;
    this.#schedule = schedule;
    this.#afterTurn = afterTurn;
  }

  /** latin1 */
  text(text: string): void {
    if (this.#over || this.#ending) return;
    if (text.length > slabBytes - this.#used) this.#flush();
    if (text.length > slabBytes) {
      this.#send(Buffer.from(text, 'latin1'));
      return;
    }
    this.#slab ??= free.pop() ?? Buffer.allocUnsafeSlow(slabBytes);
    this.#used += this.#slab.write(text, this.#used, 'latin1');
    this.wake();
  }

  /** Lent for the call. */
  chunk(chunk: Buffer): void {
    if (this.#over || this.#ending) return;
    if (chunk.length >= directBytes || chunk.length > slabBytes - this.#used) this.#flush();
    if (chunk.length >= directBytes) {
      this.#send(chunk);
      return;
    }
    this.#slab ??= free.pop() ?? Buffer.allocUnsafeSlow(slabBytes);
    this.#used += chunk.copy(this.#slab, this.#used);
    this.wake();
  }

  /** Ends the direction after what was written. */
  end(): void {
    this.#ending = true;
    this.wake();
  }

  /** The channel is gone. */
  close(): void {
    this.#over = true;
    this.#release();
  }

  wake(): void {
    if (this.#asked) return;
    this.#asked = true;
    this.#schedule(this);
  }

  endOfTurn(): void {
    this.#asked = false;
    this.#flush();
    if (this.#ending && !this.#over) {
      this.#over = true;
      this.#channel.end();
    }
    this.#afterTurn();
  }

  #flush(): void {
    if (this.#used === 0 || this.#slab === undefined) return;
    const bytes = this.#slab.subarray(0, this.#used);
    this.#used = 0;
    this.#send(bytes);
    this.#release();
  }

  #send(bytes: Buffer): void {
    this.sends++;
    if (!this.#over && !this.#channel.write(bytes)) this.blocked = true;
  }

  #release(): void {
    if (this.#slab !== undefined && free.length < maxFree) free.push(this.#slab);
    this.#slab = undefined;
    this.#used = 0;
  }
}
