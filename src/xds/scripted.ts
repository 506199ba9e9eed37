// Peers for tests that do what they are told, right or wrong: the other end of a delta stream, over real sockets.
import { connect, type ClientHttp2Session } from 'node:http2';
import {
  Client,
  credentials,
  Server,
  ServerCredentials,
  type ClientDuplexStream,
  type ServerDuplexStream,
} from '@grpc/grpc-js';
import { toMetadata } from '#/identity/index.ts';
import {
  decodeDeltaRequest,
  decodeDeltaResponse,
  deltaMethodPath,
  encodeDeltaRequest,
  encodeRemovals,
  encodeResourceEntry,
  encodeResponseHead,
  type DeltaDiscoveryRequest,
  type DeltaDiscoveryResponse,
} from '#/wire/index.ts';

type Request = Parameters<typeof encodeDeltaRequest>[0];

const raw = (bytes: Buffer): Buffer => bytes;

/** A queue to await: what comes before anyone asks is kept. */
class Inbox<T> {
  readonly #items: T[] = [];
  readonly #waiting: ((item: T) => void)[] = [];

  put(item: T): void {
    const waiting = this.#waiting.shift();
    if (waiting === undefined) this.#items.push(item);
    else waiting(item);
  }

  next(): Promise<T> {
    const item = this.#items.shift();
    if (item !== undefined) return Promise.resolve(item);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  get size(): number {
    return this.#items.length;
  }
}

/** A client that sends what it is given and answers nothing by itself. */
export class ScriptedClient implements Disposable {
  readonly #client: Client;
  readonly stream: ClientDuplexStream<Buffer, Buffer>;
  readonly responses = new Inbox<DeltaDiscoveryResponse>();
  /** How the stream ended: code and text. */
  readonly ended: Promise<{ code: number; details: string }>;

  constructor(port: number, options: { headers?: Record<string, string> } = {}) {
    this.#client = new Client(`127.0.0.1:${port}`, credentials.createInsecure(), {
      'grpc.use_local_subchannel_pool': 1,
      'grpc.max_receive_message_length': -1,
    });
    const metadata = toMetadata(options.headers ?? {});
    this.stream = this.#client.makeBidiStreamRequest(deltaMethodPath, raw, raw, metadata);
    this.stream.on('error', () => {});
    this.ended = new Promise((resolve) => this.stream.on('status', resolve));
    this.stream.on('data', (bytes: Buffer) => this.responses.put(decodeDeltaResponse(bytes)));
  }

  send(request: Request): void {
    this.stream.write(Buffer.from(encodeDeltaRequest(request)));
  }

  /** The first request of a type. */
  open(typeUrl: string, more: Omit<Request, '$typeName'> = {}): void {
    this.send({ typeUrl, node: { id: 'node-1' }, ...more });
  }

  ack(response: DeltaDiscoveryResponse, error?: string): void {
    this.send({
      typeUrl: response.typeUrl,
      responseNonce: response.nonce,
      ...(error !== undefined && { errorDetail: { code: 3, message: error } }),
    });
  }

  [Symbol.dispose](): void {
    this.stream.cancel();
    this.#client.close();
  }
}

/** A client that sends one request and never reads a byte of the answer, below gRPC, which always reads some. */
export class DeafClient implements Disposable {
  readonly #session: ClientHttp2Session;
  /** The code that the stream was reset with. */
  readonly closed: Promise<number>;

  constructor(port: number, request: Request) {
    this.#session = connect(`http://127.0.0.1:${port}`);
    this.#session.on('error', () => {});
    const stream = this.#session.request({
      ':method': 'POST',
      ':path': deltaMethodPath,
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    stream.on('error', () => {});
    stream.pause();
    this.closed = new Promise((resolve) => stream.on('close', () => resolve(stream.rstCode)));
    const message = encodeDeltaRequest(request);
    const frame = Buffer.alloc(5);
    frame.writeUInt32BE(message.length, 1);
    stream.write(Buffer.concat([frame, message]));
  }

  [Symbol.dispose](): void {
    this.#session.destroy();
  }
}

export interface ScriptedStream {
  readonly header: (name: string) => string | undefined;
  /** The next request of the client. */
  next(): Promise<DeltaDiscoveryRequest>;
  readonly pending: number;
  respond(o: {
    typeUrl: string;
    nonce: string;
    resources?: readonly { name: string; version?: string; bytes?: Uint8Array; typeUrl?: string }[];
    removed?: readonly string[];
  }): void;
  write(bytes: Uint8Array): void;
  fail(code: number, details: string): void;
  end(): void;
  readonly cancelled: Promise<void>;
}

/** A server that hands out its streams and does nothing by itself. */
export class ScriptedServer implements Disposable {
  readonly #server = new Server();
  readonly streams = new Inbox<ScriptedStream>();

  constructor() {
    this.#server.addService(
      {
        delta: {
          path: deltaMethodPath,
          requestStream: true,
          responseStream: true,
          requestSerialize: raw,
          requestDeserialize: raw,
          responseSerialize: raw,
          responseDeserialize: raw,
        },
      },
      { delta: (call: ServerDuplexStream<Buffer, Buffer>) => this.streams.put(scripted(call)) },
    );
  }

  listen(server = ServerCredentials.createInsecure(), port = 0): Promise<number> {
    return bind(this.#server, server, port);
  }

  [Symbol.dispose](): void {
    this.#server.forceShutdown();
  }
}

export function bind(
  server: Server,
  security = ServerCredentials.createInsecure(),
  port = 0,
): Promise<number> {
  return new Promise((resolve, reject) =>
    server.bindAsync(`127.0.0.1:${port}`, security, (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    ),
  );
}

function scripted(call: ServerDuplexStream<Buffer, Buffer>): ScriptedStream {
  const requests = new Inbox<DeltaDiscoveryRequest>();
  call.on('data', (bytes: Buffer) => requests.put(decodeDeltaRequest(bytes)));
  call.on('error', () => {});
  return {
    header: (name) => call.metadata.get(name)[0]?.toString(),
    next: () => requests.next(),
    get pending() {
      return requests.size;
    },
    respond({ typeUrl, nonce, resources = [], removed = [] }) {
      const entries = resources.map((resource) =>
        encodeResourceEntry({
          name: resource.name,
          version: resource.version ?? '1',
          typeUrl: resource.typeUrl ?? typeUrl,
          resource: resource.bytes ?? Buffer.from(resource.name),
        }),
      );
      const head = encodeResponseHead({ systemVersion: '1', typeUrl, nonce });
      call.write(Buffer.concat([head, ...entries, encodeRemovals(removed)]));
    },
    write: (bytes) => call.write(Buffer.from(bytes)),
    fail: (code, details) => call.emit('error', { code, details }),
    end: () => call.end(),
    cancelled: new Promise((resolve) => call.on('cancelled', () => resolve())),
  };
}
