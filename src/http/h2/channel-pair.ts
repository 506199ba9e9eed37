// For tests: the two ends of a ByteChannel in memory, with a window each way, and what is said on an exchange.
import type { ByteChannel, ByteSink } from '../byte-channel.ts';
import type {
  ClientHandlers,
  ExchangeFailure,
  RequestHead,
  ResponseHead,
  ResponseReceiver,
  ServerExchange,
  ServerHandlers,
} from '../exchange.ts';
import { HeaderMap } from '../header-map.ts';

export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

export async function until(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 20_000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`still not so: ${condition}`);
    await turn();
  }
}

export async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await turn();
}

export class MemoryChannel implements ByteChannel {
  sink: ByteSink | undefined;
  peer: MemoryChannel | undefined;
  readonly #window: number;
  #queue: Buffer[] = [];
  #unread = 0;
  #ending = false;
  #ended = false;
  #told = false;
  #full = false;
  #planned = false;
  writes = 0;
  /** Delivered to the sink and not yet consumed by it. */
  get unread(): number {
    return this.#unread;
  }

  constructor(window: number) {
    this.#window = window;
  }

  write(chunk: Buffer): boolean {
    const { peer } = this;
    if (peer === undefined || this.#told) return true;
    this.writes++;
    peer.#queue.push(Buffer.from(chunk));
    peer.#unread += chunk.length;
    peer.#plan();
    this.#full = peer.#unread >= peer.#window;
    return !this.#full;
  }

  end(): void {
    if (this.peer === undefined) return;
    this.#ended = this.peer.#ending = true;
    this.peer.#plan();
  }

  reset(code: number): void {
    this.#close({ message: 'the channel was reset here' });
    const { peer } = this;
    if (peer !== undefined) peer.#close({ message: `the channel was reset: ${code}` });
  }

  #close(reason?: { readonly message: string }): void {
    if (this.#told) return;
    this.#told = true;
    this.#queue = [];
    this.sink?.closed(reason);
  }

  consumed(bytes: number): void {
    this.#unread -= bytes;
    const { peer } = this;
    if (peer === undefined || !peer.#full || this.#unread > this.#window / 2) return;
    peer.#full = false;
    peer.sink?.writable();
  }

  #plan(): void {
    if (this.#planned) return;
    this.#planned = true;
    setImmediate(() => this.#deliver());
  }

  #deliver(): void {
    this.#planned = false;
    const chunks = this.#queue;
    this.#queue = [];
    for (const chunk of chunks) {
      if (this.#told) return;
      this.sink?.data(chunk);
      // The chunk was lent.
      chunk.fill(0x58);
    }
    if (!this.#ending || this.#told) return;
    this.#ending = false;
    this.sink?.ended();
    if (!this.#ended) return;
    this.#close();
    const { peer } = this;
    if (peer !== undefined) peer.#close();
  }
}

export function channelPair(window = 256 * 1024): [client: MemoryChannel, server: MemoryChannel] {
  const client = new MemoryChannel(window);
  const server = new MemoryChannel(window);
  client.peer = server;
  server.peer = client;
  return [client, server];
}

export function requestHead(fields: Partial<RequestHead> = {}): RequestHead {
  return {
    version: '2',
    method: 'GET',
    scheme: 'http',
    authority: 'shop.test',
    path: '/',
    query: undefined,
    headers: new HeaderMap(),
    upgrade: undefined,
    contentLength: 0,
    expectsContinue: false,
    ...fields,
  };
}

/** Writes down what one side is told, and gives the window back unless it holds. */
export class RecordingReceiver implements ResponseReceiver {
  readonly events: string[] = [];
  readonly chunks: Buffer[] = [];
  readonly heads: ResponseHead[] = [];
  failure: ExchangeFailure | undefined;
  over = false;
  held = 0;
  hold = false;
  consume: ((bytes: number) => void) | undefined;
  onData: ((chunk: Buffer) => void) | undefined;
  onEnd: ((trailers: HeaderMap | undefined) => void) | undefined;
  onWritable: (() => void) | undefined;

  inform(status: number, headers: HeaderMap): void {
    this.events.push(`inform ${status} ${headers.flat.join('=')}`);
  }

  head(head: ResponseHead, ended: boolean): void {
    this.heads.push(head);
    this.over = ended;
    this.events.push(`head ${head.status}${ended ? ' ended' : ''}`);
  }

  data(chunk: Buffer): void {
    this.chunks.push(Buffer.from(chunk));
    this.onData?.(chunk);
    if (this.hold) this.held += chunk.length;
    else this.consume?.(chunk.length);
  }

  end(trailers?: HeaderMap): void {
    this.over = true;
    this.events.push(trailers === undefined ? 'end' : `end ${trailers.flat.join(' ')}`);
    this.onEnd?.(trailers);
  }

  failed(failure: ExchangeFailure): void {
    this.over = true;
    this.failure = failure;
    this.events.push(`failed ${failure.kind}`);
  }

  writable(): void {
    this.onWritable?.();
  }

  release(): void {
    this.hold = false;
    this.consume?.(this.held);
    this.held = 0;
  }

  get text(): string {
    return Buffer.concat(this.chunks).toString('latin1');
  }
}

export class RecordingServer implements ServerHandlers {
  readonly exchanges: ServerExchange[] = [];
  readonly receivers: RecordingReceiver[] = [];
  readonly refusals: { status: number | undefined; reason: string; line: string | undefined }[] = [];
  closedCount = 0;
  hold = false;
  onRequest: ((exchange: ServerExchange, receiver: RecordingReceiver) => void) | undefined;

  request(exchange: ServerExchange): void {
    const receiver = new RecordingReceiver();
    receiver.hold = this.hold;
    receiver.consume = (bytes) => exchange.consumed(bytes);
    exchange.receiver = receiver;
    this.exchanges.push(exchange);
    this.receivers.push(receiver);
    this.onRequest?.(exchange, receiver);
  }

  refused(refusal: (typeof this.refusals)[number]): void {
    this.refusals.push(refusal);
  }

  closed(): void {
    this.closedCount++;
  }
}

export class RecordingClient implements ClientHandlers {
  availableCount = 0;
  readonly closings: (ExchangeFailure | undefined)[] = [];

  available(): void {
    this.availableCount++;
  }

  closed(failure?: ExchangeFailure): void {
    this.closings.push(failure);
  }
}

/** Answers with the request's body and trailers, with the back-pressure of the way back. */
export function echo(exchange: ServerExchange, receiver: RecordingReceiver): void {
  exchange.respond(
    { status: 200, headers: new HeaderMap(['x-path', exchange.request.path]), contentLength: undefined },
    exchange.requestEnded,
  );
  let owed = 0;
  receiver.consume = undefined;
  const pay = (): void => {
    const bytes = owed;
    owed = 0;
    exchange.consumed(bytes);
  };
  receiver.onData = (chunk) => {
    receiver.chunks.length = 0;
    owed += chunk.length;
    if (exchange.write(chunk)) pay();
  };
  receiver.onWritable = pay;
  receiver.onEnd = (trailers) => exchange.end(trailers);
}
