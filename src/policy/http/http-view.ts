// A request, or a connection without HTTP, as the fields of policies see it. Parts of names and bytes of addresses are
// made when a field first asks for them.
import { parseIpBytes, type IpBytes } from '#/kit/index.ts';
import type { AuthenticatedToken, ConnectionFacts, HttpSubject, RequestFacts } from '#/model/index.ts';

const scheme = 'spiffe://';
const noBytes = new Uint8Array(0);

/** Made per decision. */
export class HttpView {
  readonly connection: ConnectionFacts;
  /** Absent for a connection without HTTP. */
  readonly request: RequestFacts | undefined;
  readonly token: AuthenticatedToken | undefined;
  readonly remoteIp: string;
  #principal: string | undefined;
  #parsed = false;
  #trustDomain = '';
  #namespace = '';
  #serviceAccount = '';
  #source: IpBytes | undefined;
  #remote: IpBytes | undefined;
  #destination: IpBytes | undefined;
  #host: string | undefined;

  private constructor(
    connection: ConnectionFacts,
    remoteIp: string,
    request: RequestFacts | undefined,
    token: AuthenticatedToken | undefined,
  ) {
    this.connection = connection;
    this.remoteIp = remoteIp;
    this.request = request;
    this.token = token;
  }

  static ofRequest({ connection, remoteIp, request, token }: HttpSubject): HttpView {
    return new HttpView(connection, remoteIp, request, token);
  }

  static ofConnection(connection: ConnectionFacts): HttpView {
    return new HttpView(connection, connection.source.ip, undefined, undefined);
  }

  /** The identity without `spiffe://`; undefined without one. */
  get principal(): string | undefined {
    const identity = this.connection.identity;
    if (identity === undefined || !identity.startsWith(scheme)) return undefined;
    return (this.#principal ??= identity.slice(scheme.length));
  }

  /** Empty without an identity. */
  get trustDomain(): string {
    this.#parse();
    return this.#trustDomain;
  }

  get namespace(): string {
    this.#parse();
    return this.#namespace;
  }

  get serviceAccount(): string {
    this.#parse();
    return this.#serviceAccount;
  }

  /** No bytes, so within no range, if the address is not one. */
  get sourceBytes(): IpBytes {
    return (this.#source ??= parseIpBytes(this.connection.source.ip) ?? noBytes);
  }

  get remoteBytes(): IpBytes {
    return (this.#remote ??= parseIpBytes(this.remoteIp) ?? noBytes);
  }

  get destinationBytes(): IpBytes {
    return (this.#destination ??= parseIpBytes(this.connection.destination.ip) ?? noBytes);
  }

  /** The authority as it was sent, lower case. */
  get authority(): string {
    return this.request?.authority ?? '';
  }

  /** The authority without its port. */
  get host(): string {
    return (this.#host ??= withoutPort(this.authority));
  }

  // The shape is known from parseIdentity: spiffe://td/ns/NS/sa/SA, no part empty, no slash inside a part.
  #parse(): void {
    if (this.#parsed) return;
    this.#parsed = true;
    const principal = this.principal;
    if (principal === undefined) return;
    const slash = principal.indexOf('/');
    const end = principal.indexOf('/', slash + 4);
    this.#trustDomain = principal.slice(0, slash);
    this.#namespace = principal.slice(slash + 4, end);
    this.#serviceAccount = principal.slice(end + 4);
  }
}

function withoutPort(authority: string): string {
  const colon = authority.lastIndexOf(':');
  if (colon < 0 || authority.endsWith(']')) return authority;
  return authority.slice(0, colon);
}
