// Waits until the body of a request is whole, or longer than somebody wants to see.
import type { RequestBody } from './request-body.ts';

export class BodyCollector {
  readonly #body: RequestBody;
  readonly #maxBytes: number;
  /** What follows an upgrade comes after its answer: nothing is waited for. */
  readonly #none: boolean;
  #done: ((body: Buffer, complete: boolean) => void) | undefined;

  constructor(
    body: RequestBody,
    maxBytes: number,
    none: boolean,
    done: (body: Buffer, complete: boolean) => void,
  ) {
    this.#body = body;
    this.#maxBytes = maxBytes;
    this.#none = none;
    this.#done = done;
  }

  /** After each part. */
  check(): void {
    const done = this.#done;
    if (done === undefined) return;
    const whole = this.#none || this.#body.ended;
    if (!whole && this.#body.bytes <= this.#maxBytes) {
      this.#body.release();
      return;
    }
    this.#done = undefined;
    const { collected } = this.#body;
    const complete = whole && collected.length <= this.#maxBytes;
    done(complete ? collected : collected.subarray(0, this.#maxBytes), complete);
  }

  /** The request is over. */
  close(): void {
    this.#done = undefined;
  }
}
