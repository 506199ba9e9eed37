// A response that filters look at on its way to the client: each in turn may hold its head back, change it, and look at
// the body. What waits keeps its window, so that the destination waits as well.
import type { HeaderMap, ResponseHead } from '#/http/index.ts';
import { BodyPipe, type BodyAsk } from './body-pipe.ts';

export interface ResponseTap {
  /**
   * Calls `resume` once, now or later, with the head that goes on; or fails the request. With a body: that goes on
   * instead of what follows.
   */
  head?(head: ResponseHead, ended: boolean, resume: (head: ResponseHead, body?: Buffer) => void): void;
  /** The body, chunk by chunk. Not for an upgrade. */
  readonly streamed?: BodyAsk;
  /** The whole body, before the head goes on. Not for an upgrade. */
  readonly buffered?: {
    readonly maxBytes: number;
    ask(head: ResponseHead, body: Buffer, resume: (head: ResponseHead, body: Buffer) => void): void;
    /** Nothing more is done with the response; the tap fails the request. */
    tooLarge(): void;
  };
}

export interface ResponseSink {
  head(head: ResponseHead, ended: boolean): void;
  data(chunk: Buffer, owed: number): void;
  end(trailers: HeaderMap | undefined): void;
}

export class ResponseRelay implements ResponseSink {
  readonly #first: ResponseSink;
  readonly #stages: Stage[] = [];
  readonly #consumed: (bytes: number) => void;
  /** Window that was not given back yet. */
  #held = 0;

  /** The tap that came last sees the response first. `bodies`: false for an upgrade. `consumed` gives window back. */
  constructor(
    taps: readonly ResponseTap[],
    out: ResponseSink,
    bodies: boolean,
    consumed: (bytes: number) => void,
  ) {
    this.#consumed = consumed;
    let sink: ResponseSink = {
      head: (head, ended) => out.head(head, ended),
      data: (chunk, owed) => {
        this.#held -= owed;
        out.data(chunk, owed);
      },
      end: (trailers) => out.end(trailers),
    };
    for (const tap of taps) {
      const stage = new Stage(tap, sink, bodies, (bytes) => {
        this.#held -= bytes;
        consumed(bytes);
      });
      this.#stages.push(stage);
      sink = stage;
    }
    this.#first = sink;
  }

  head(head: ResponseHead, ended: boolean): void {
    this.#first.head(head, ended);
  }

  /** The chunk is lent for the call. */
  data(chunk: Buffer, owed: number): void {
    this.#held += owed;
    this.#first.data(chunk, owed);
  }

  end(trailers: HeaderMap | undefined): void {
    this.#first.end(trailers);
  }

  /** Nothing goes on any more, whatever taps say later. */
  close(): void {
    for (const stage of this.#stages) stage.close();
    const held = this.#held;
    this.#held = 0;
    if (held > 0) this.#consumed(held);
  }
}

/**
 * `waiting`: for the head; `collecting`: the body; `asking`: about the body; `open`: parts go on as they come;
 * `replaced`: what comes is thrown away.
 */
type StageState = 'waiting' | 'collecting' | 'asking' | 'open' | 'replaced' | 'closed';

class Stage implements ResponseSink {
  readonly #tap: ResponseTap;
  readonly #next: ResponseSink;
  readonly #bodies: boolean;
  readonly #consumed: (bytes: number) => void;
  #state: StageState = 'waiting';
  #queue: { readonly chunk: Buffer; readonly owed: number }[] = [];
  #collected = 0;
  #pipe: BodyPipe | undefined;
  #head: ResponseHead | undefined;
  #ended = false;
  #trailers: HeaderMap | undefined;

  constructor(tap: ResponseTap, next: ResponseSink, bodies: boolean, consumed: (bytes: number) => void) {
    this.#tap = tap;
    this.#next = next;
    this.#bodies = bodies;
    this.#consumed = consumed;
  }

  head(head: ResponseHead, ended: boolean): void {
    const opened = (changed: ResponseHead, body?: Buffer): void => {
      if (this.#state !== 'waiting' || this.#head !== undefined) return;
      if (body === undefined || !this.#bodies) this.#opened(changed, ended);
      else this.#replace(changed, body, ended);
    };
    if (this.#tap.head === undefined) opened(head);
    else this.#tap.head(head, ended, opened);
  }

  #opened(head: ResponseHead, ended: boolean): void {
    this.#head = head;
    const { buffered, streamed } = this.#tap;
    if (ended || !this.#bodies) this.#go(head, ended);
    else if (buffered !== undefined) {
      this.#state = 'collecting';
      const early = this.#queue;
      this.#queue = [];
      for (const { chunk, owed } of early) this.data(chunk, owed);
      this.#checkCollected();
    } else {
      if (streamed !== undefined)
        this.#pipe = new BodyPipe(streamed, {
          data: (chunk, owed) => this.#next.data(chunk, owed),
          end: () => this.#next.end(this.#trailers),
        });
      this.#go(streamed === undefined ? head : { ...head, contentLength: undefined }, false);
    }
  }

  #replace(head: ResponseHead, body: Buffer, ended: boolean): void {
    this.#state = 'replaced';
    this.#head = head;
    const whole = this.#ended || ended;
    const early = this.#queue;
    this.#queue = [];
    for (const { owed } of early) this.#consumed(owed);
    this.#next.head({ ...head, contentLength: body.length }, whole && body.length === 0);
    if (body.length > 0) this.#next.data(body, 0);
    if (whole && body.length > 0) this.#next.end(undefined);
  }

  #go(head: ResponseHead, ended: boolean): void {
    this.#state = 'open';
    this.#next.head(head, ended);
    const early = this.#queue;
    this.#queue = [];
    for (const { chunk, owed } of early) this.data(chunk, owed);
    if (this.#ended) this.end(this.#trailers);
  }

  data(chunk: Buffer, owed: number): void {
    switch (this.#state) {
      case 'waiting':
        this.#queue.push({ chunk: Buffer.from(chunk), owed });
        return;
      case 'collecting':
        this.#collected += chunk.length;
        this.#queue.push({ chunk: Buffer.from(chunk), owed: 0 });
        this.#consumed(owed);
        if (this.#collected > (this.#tap.buffered?.maxBytes ?? 0)) {
          this.close();
          this.#tap.buffered?.tooLarge();
        }
        return;
      case 'open':
        if (this.#pipe === undefined) this.#next.data(chunk, owed);
        else this.#pipe.push(chunk, owed);
        return;
      case 'asking':
      case 'replaced':
      case 'closed':
        this.#consumed(owed);
    }
  }

  end(trailers: HeaderMap | undefined): void {
    this.#ended = true;
    this.#trailers = trailers;
    if (this.#state === 'collecting') this.#checkCollected();
    else if (this.#state === 'replaced') this.#next.end(undefined);
    else if (this.#state === 'open')
      if (this.#pipe === undefined) this.#next.end(trailers);
      else this.#pipe.end();
  }

  #checkCollected(): void {
    const { buffered } = this.#tap;
    if (!this.#ended || this.#state !== 'collecting' || buffered === undefined) return;
    const body = Buffer.concat(this.#queue.map(({ chunk }) => chunk));
    this.#state = 'asking';
    this.#queue = [];
    buffered.ask(this.#head as ResponseHead, body, (head, changed) => {
      if (this.#state !== 'asking') return;
      this.#state = 'open';
      this.#next.head({ ...head, contentLength: changed.length }, false);
      if (changed.length > 0) this.#next.data(changed, 0);
      this.#next.end(this.#trailers);
    });
  }

  close(): void {
    this.#state = 'closed';
    this.#queue = [];
    this.#pipe?.close();
  }
}
