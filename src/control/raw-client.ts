// A proxy's side of delta xDS and of certificate requests, bare, for tests and benchmarks: it sends what it is told
// to and keeps what it gets.
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { Client, credentials, Metadata, type ClientDuplexStream, type ServiceError } from '@grpc/grpc-js';
import {
  addressTypeUrl,
  createCertificateMethodPath,
  decodeCertificateResponse,
  decodeDeltaResponse,
  deltaMethodPath,
  encodeCertificateRequest,
  encodeDeltaRequest,
  streamMethodPath,
  type CertificateRequest,
  type DeltaDiscoveryResponse,
} from '#/wire/index.ts';

type Request = Omit<Extract<Parameters<typeof encodeDeltaRequest>[0], { $typeName?: never }>, '$typeName'>;

export interface RawNode {
  readonly id: string;
  readonly metadata?: Readonly<Record<string, string>>;
}

const ztunnelNode: RawNode = {
  id: 'ztunnel~10.0.0.1~ztunnel-1.istio-system~istio-system.svc.cluster.local',
};

const same = (value: Buffer): Buffer => value;

export interface RawClientOptions {
  /** `127.0.0.1:port` */
  readonly address: string;
  /** PEM of the server's roots; absent: plain text. */
  readonly roots?: string;
  /** PEM of a client certificate and its key. */
  readonly identity?: { readonly chain: string; readonly key: string };
  readonly headers?: Readonly<Record<string, string>>;
}

export class RawClient implements Disposable {
  readonly #client: Client;
  readonly #metadata = new Metadata();

  constructor(options: RawClientOptions) {
    const channel =
      options.roots === undefined
        ? credentials.createInsecure()
        : credentials.createSsl(
            Buffer.from(options.roots),
            options.identity === undefined ? null : Buffer.from(options.identity.key),
            options.identity === undefined ? null : Buffer.from(options.identity.chain),
          );
    this.#client = new Client(options.address, channel, {
      'grpc.max_receive_message_length': 256 * 1024 * 1024,
      'grpc.use_local_subchannel_pool': 1,
      // The certificate names the control plane's Service.
      ...(options.roots === undefined ? {} : { 'grpc.ssl_target_name_override': 'istiod.istio-system.svc' }),
    });
    for (const [name, value] of Object.entries(options.headers ?? {})) this.#metadata.set(name, value);
  }

  stream(node: RawNode = ztunnelNode): RawStream {
    return new RawStream(
      this.#client.makeBidiStreamRequest(deltaMethodPath, same, same, this.#metadata),
      node,
    );
  }

  certificate(request: CertificateRequest): Promise<readonly string[]> {
    return new Promise((resolve, reject) => {
      this.#client.makeUnaryRequest(
        createCertificateMethodPath,
        same,
        same,
        Buffer.from(encodeCertificateRequest(request)),
        this.#metadata,
        (error: ServiceError | null, reply?: Buffer) => {
          if (error === null && reply !== undefined) resolve(decodeCertificateResponse(reply));
          else reject(error ?? new Error('no answer'));
        },
      );
    });
  }

  /** A request of state-of-the-world xDS, as istioctl makes it; the bytes of the answer, as text. */
  ask(typeUrl: string, names: readonly string[] = []): Promise<string> {
    const writer = new BinaryWriter();
    for (const name of names) writer.tag(3, WireType.LengthDelimited).string(name);
    writer.tag(4, WireType.LengthDelimited).string(typeUrl);
    // As istioctl does: the time, where a nonce of the server's belongs.
    writer.tag(5, WireType.LengthDelimited).string('2026-01-01 00:00:00 +0000 UTC m=+0.1');
    const call = this.#client.makeBidiStreamRequest(streamMethodPath, same, same, this.#metadata);
    return new Promise((resolve, reject) => {
      call.on('error', reject);
      call.on('data', (data: Buffer) => {
        resolve(data.toString());
        call.cancel();
      });
      call.write(Buffer.from(writer.finish()));
    });
  }

  [Symbol.dispose](): void {
    this.#client.close();
  }
}

export class RawStream {
  /** What the server has sent, in order. */
  readonly responses: DeltaDiscoveryResponse[] = [];
  /** Why the stream has ended. */
  ended: ServiceError | 'end' | undefined;
  readonly #call: ClientDuplexStream<Buffer, Buffer>;
  #node: RawNode | undefined;
  #waiting: (() => void)[] = [];

  constructor(call: ClientDuplexStream<Buffer, Buffer>, node: RawNode) {
    this.#call = call;
    this.#node = node;
    const wake = () => {
      const waiting = this.#waiting;
      this.#waiting = [];
      for (const resolve of waiting) resolve();
    };
    call.on('data', (data: Buffer) => {
      this.responses.push(decodeDeltaResponse(data));
      wake();
    });
    call.on('error', (error: ServiceError) => {
      this.ended = error;
      wake();
    });
    call.on('end', () => {
      this.ended ??= 'end';
      wake();
    });
  }

  send(request: Request): void {
    this.#call.write(
      Buffer.from(encodeDeltaRequest({ ...request, ...(this.#node && { node: this.#node }) })),
    );
    this.#node = undefined;
  }

  /** Asks for all resources of a type; `have` is what an earlier stream left behind. */
  subscribe(typeUrl: string = addressTypeUrl, have: Readonly<Record<string, string>> = {}): void {
    this.send({ typeUrl, initialResourceVersions: { ...have } });
  }

  /** The next response of a type that has not been taken yet, acknowledged. Rejects if the stream ends first. */
  async next(typeUrl: string = addressTypeUrl, timeoutMs = 5000): Promise<DeltaDiscoveryResponse> {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      const at = this.responses.findIndex((response) => response.typeUrl === typeUrl);
      if (at >= 0) {
        const [response] = this.responses.splice(at, 1) as [DeltaDiscoveryResponse];
        this.send({ typeUrl, responseNonce: response.nonce });
        return response;
      }
      if (this.ended !== undefined)
        throw this.ended === 'end' ? new Error('the stream has ended') : this.ended;
      const left = deadline - Date.now();
      if (left <= 0) throw new Error(`no response of ${typeUrl} within ${timeoutMs} ms`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#waiting.push(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
  }

  end(): void {
    this.#call.cancel();
  }
}
