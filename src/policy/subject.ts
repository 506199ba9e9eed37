// The connection as policies see it. The parts of the identity and the bytes of the addresses are made when a
// policy first asks for them: most policies ask for one of the two.
import { parseIpBytes, type Ip, type IpBytes } from '#/kit/index.ts';
import type { Identity } from '#/model/index.ts';

export interface PolicyConnection {
  readonly sourceIp: Ip;
  readonly destinationIp: Ip;
  /** The port that the application listens on, never 15008. */
  readonly destinationPort: number;
  /** From the TLS handshake. Absent for plaintext. */
  readonly identity?: Identity | undefined;
}

const scheme = 'spiffe://';
const noBytes = new Uint8Array(0);

/** Made per decision; compiled policies read it. */
export class Subject {
  readonly connection: PolicyConnection;
  readonly port: number;
  #principal: string | undefined;
  #parsed = false;
  #namespace = '';
  #serviceAccount = '';
  #sourceBytes: IpBytes | undefined;
  #destinationBytes: IpBytes | undefined;

  constructor(connection: PolicyConnection) {
    this.connection = connection;
    this.port = connection.destinationPort;
  }

  /** The identity without `spiffe://`; undefined for plaintext and for anything that is not SPIFFE. */
  get principal(): string | undefined {
    const identity = this.connection.identity;
    if (identity === undefined || !identity.startsWith(scheme)) return undefined;
    return (this.#principal ??= identity.slice(scheme.length));
  }

  /** Empty for plaintext. */
  get namespace(): string {
    this.#parse();
    return this.#namespace;
  }

  /** Empty for plaintext. */
  get serviceAccount(): string {
    this.#parse();
    return this.#serviceAccount;
  }

  /** No bytes, so within no range, if the address is not one. */
  get sourceBytes(): IpBytes {
    return (this.#sourceBytes ??= parseIpBytes(this.connection.sourceIp) ?? noBytes);
  }

  get destinationBytes(): IpBytes {
    return (this.#destinationBytes ??= parseIpBytes(this.connection.destinationIp) ?? noBytes);
  }

  // The shape is known from parseIdentity: spiffe://td/ns/NS/sa/SA, no part empty, no slash inside a part.
  #parse(): void {
    if (this.#parsed) return;
    this.#parsed = true;
    const principal = this.principal;
    if (principal === undefined) return;
    const start = principal.indexOf('/') + 4;
    const end = principal.indexOf('/', start);
    this.#namespace = principal.slice(start, end);
    this.#serviceAccount = principal.slice(end + 4);
  }
}
