// The client of istio.v1.auth.IstioCertificateService.
import type { Identity } from '#/model/index.ts';
import {
  createCertificateMethodPath,
  decodeCertificateResponse,
  encodeCertificateRequest,
} from '#/wire/index.ts';
import { callHeaders, openChannel, type ControlChannel } from './control-channel.ts';
import { isServiceError, RpcError, statusName, toMetadata } from './rpc.ts';

export interface CaClientOptions {
  /** `https://host:port`, or `http://host:port` for plain text. */
  readonly address: string;
  /** Read before every call; when it has changed, the connection is made anew. */
  rootCert(): Uint8Array | undefined;
  /** Read before every call. */
  token(): Promise<string | undefined> | string | undefined;
  readonly clusterId: string;
  /** More request headers. */
  readonly metadata?: Readonly<Record<string, string>>;
  readonly altHostname?: string;
  /** For one call, connecting included. Default 10 000 ms. */
  readonly deadlineMs?: number;
}

// A channel whose host has fallen silent would keep every later call waiting as well: it is dropped.
const deadlineExceeded = 4;

export class CaClient implements Disposable {
  readonly #options: CaClientOptions;
  #channel: { open: ControlChannel; root: Uint8Array | undefined } | undefined;

  constructor(options: CaClientOptions) {
    this.#options = options;
  }

  /** PEM texts: the leaf, each intermediate, and last the roots. Rejects with RpcError or with what a source threw. */
  async createCertificate(
    csrPem: string,
    ttlSeconds: number,
    impersonate?: Identity,
  ): Promise<readonly string[]> {
    const { token, clusterId, metadata, deadlineMs = 10_000 } = this.#options;
    const headers = callHeaders(await token(), { clusterid: clusterId, ...metadata });
    const request = encodeCertificateRequest({
      csr: csrPem,
      ttlSeconds,
      ...(impersonate !== undefined && { impersonatedIdentity: impersonate }),
    });
    const { client } = this.#connect();
    return new Promise((resolve, reject) => {
      client.makeUnaryRequest(
        createCertificateMethodPath,
        (bytes: Uint8Array) => Buffer.from(bytes),
        decodeCertificateResponse,
        request,
        toMetadata(headers),
        { deadline: Date.now() + deadlineMs },
        (error, chain) => {
          if (error === null && chain !== undefined) resolve(chain);
          else {
            if (error?.code === deadlineExceeded) this[Symbol.dispose]();
            reject(this.#named(error));
          }
        },
      );
    });
  }

  [Symbol.dispose](): void {
    this.#channel?.open.close();
    this.#channel = undefined;
  }

  #named(error: unknown): Error {
    const where = `certificate authority ${this.#options.address}`;
    if (!isServiceError(error)) return new Error(`${where}: no answer`, { cause: error });
    const name = statusName(error.code);
    return new RpcError(name, `${where}: ${name}: ${error.details}`);
  }

  #connect(): ControlChannel {
    const { address, altHostname } = this.#options;
    const root = this.#options.rootCert();
    const current = this.#channel;
    if (current !== undefined && sameBytes(current.root, root)) return current.open;
    current?.open.close();
    const open = openChannel({
      address,
      rootCert: root,
      ...(altHostname !== undefined && { altHostname }),
    });
    this.#channel = { open, root };
    return open;
  }
}

function sameBytes(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  return a === b || (a !== undefined && b !== undefined && Buffer.compare(a, b) === 0);
}
