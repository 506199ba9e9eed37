// A body whose length was told has to come: one that stands still for too long ends the request.
import type { RequestBody } from './request-body.ts';

export class BodyWatch {
  readonly #body: RequestBody;
  readonly #timeoutMs: number;
  readonly #late: () => void;
  /** Bytes that were there when it was last looked at. */
  #seen = 0;
  #timer: NodeJS.Timeout | undefined;
  /** The client has not been told to send it. */
  unasked: boolean;

  constructor(body: RequestBody, unasked: boolean, timeoutMs: number, late: () => void) {
    this.#body = body;
    this.unasked = unasked;
    this.#timeoutMs = timeoutMs;
    this.#late = late;
    this.#arm();
  }

  #arm(): void {
    this.#timer = setTimeout(() => {
      if (this.#body.ended) return;
      // Whoever waits for us is not slow.
      const waits = this.#body.held > 0 || this.unasked;
      if (!waits && this.#body.bytes <= this.#seen) {
        this.#late();
        return;
      }
      this.#seen = this.#body.bytes;
      this.#arm();
    }, this.#timeoutMs);
  }

  close(): void {
    clearTimeout(this.#timer);
  }
}
