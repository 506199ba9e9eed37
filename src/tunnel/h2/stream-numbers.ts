// The numbers of a session's streams (RFC 9113, 5.1.1): odd ones are the client's, and each side counts upwards.
import { maxStreamId } from './frames.ts';

export class StreamNumbers {
  readonly #client: boolean;
  /** The next stream that we open: it goes up to 2^31−1 and no further. */
  next: number;
  /** The highest stream that the peer has opened, and the highest that was looked at: they part after our GOAWAY. */
  lastPeer = 0;
  lastTaken = 0;

  constructor(client: boolean) {
    this.#client = client;
    this.next = client ? 1 : 2;
  }

  get usedUp(): boolean {
    return this.next > maxStreamId;
  }

  /** One that was never opened is idle. */
  isIdle(id: number): boolean {
    const own = (id & 1) === (this.#client ? 1 : 0);
    return own ? id >= this.next : id > this.lastPeer;
  }
}
