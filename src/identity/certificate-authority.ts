// The mesh's certificate authority: whom it vouches for is the caller's business; what a certificate looks like, and
// for how long it holds, is decided here, as Istio's CA does. A request's own names and usages are ignored.
import { createPublicKey } from 'node:crypto';
import { systemClock, type Clock } from '#/kit/index.ts';
import type { Identity } from '#/model/index.ts';
import { splitPem } from './certificate.ts';
import type { Signer } from './signer.ts';
import type { Pkcs10CertificateRequest } from './x509.ts';

// The X.509 library costs 90 ms and 25 MB: a program that has no authority must not load it with this room.
const load = async () => ({ ...(await import('./signer.ts')), x509: await import('./x509.ts') });

const minute = 60_000;
const day = 24 * 60 * minute;

/** Clocks of nodes differ; a certificate must not be refused because it seems to come from the future. */
const backdate = 2 * minute;

/** A request of this size is no request. */
const maxCsrBytes = 64 * 1024;

/** Why a request was not signed. `csr` and `ttl` are the caller's fault (InvalidArgument), the others the CA's (Internal). */
export class SigningError extends Error {
  readonly kind: 'csr' | 'ttl' | 'not-ready';

  constructor(kind: SigningError['kind'], message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'SigningError';
    this.kind = kind;
  }

  get status(): 'INVALID_ARGUMENT' | 'INTERNAL' {
    return this.kind === 'not-ready' ? 'INTERNAL' : 'INVALID_ARGUMENT';
  }
}

export interface AuthorityOptions {
  /** For requests that name no validity. Default 24 h. */
  readonly defaultTtlSeconds?: number;
  /** Requests for more are refused. Default 90 days. */
  readonly maxTtlSeconds?: number;
  /** Life of a root that we make. Default 10 years. */
  readonly rootTtlSeconds?: number;
  readonly clock?: Clock;
}

/** The files of a CA, as the Secrets `istio-ca-secret` and `cacerts` hold them. */
export interface AuthorityFiles {
  readonly caCertPem: string;
  readonly caKeyPem: string;
  /** Intermediates between leaves and root, the signing certificate first. Empty when the root signs. */
  readonly certChainPem: string;
  /** One root or more. */
  readonly rootCertPem: string;
}

const rootTtl = (3650 * day) / 1000;

export class CertificateAuthority {
  readonly files: AuthorityFiles;
  readonly #signer: Signer;
  readonly #intermediates: readonly string[];
  readonly #options: Required<AuthorityOptions>;

  private constructor(signer: Signer, files: AuthorityFiles, options: AuthorityOptions) {
    this.#signer = signer;
    this.files = files;
    const roots = new Set(splitPem(files.rootCertPem));
    const chain = splitPem(files.certChainPem).filter((certificate) => !roots.has(certificate));
    const own = splitPem(files.caCertPem)[0] as string;
    this.#intermediates = chain.length > 0 || roots.has(own) ? chain : [own];
    this.#options = {
      defaultTtlSeconds: options.defaultTtlSeconds ?? day / 1000,
      maxTtlSeconds: options.maxTtlSeconds ?? (90 * day) / 1000,
      rootTtlSeconds: options.rootTtlSeconds ?? rootTtl,
      clock: options.clock ?? systemClock,
    };
  }

  /** A new root: RSA 2048, organization = trust domain. With `keyPem`, the old key's new certificate. */
  static async selfSigned(
    o: AuthorityOptions & { readonly trustDomain: string; readonly keyPem?: string },
  ): Promise<CertificateAuthority> {
    const now = (o.clock ?? systemClock).now();
    const { Signer } = await load();
    const signer = await Signer.selfSigned({
      organization: o.trustDomain,
      notBefore: now - backdate,
      notAfter: now + (o.rootTtlSeconds ?? rootTtl) * 1000,
      ...(o.keyPem !== undefined && { keyPem: o.keyPem }),
    });
    const files = {
      caCertPem: signer.certificatePem,
      caKeyPem: signer.keyPem,
      certChainPem: '',
      rootCertPem: signer.certificatePem,
    };
    return new CertificateAuthority(signer, files, o);
  }

  /** From files. Throws with the file's role in the text if one of them is wrong. */
  static async fromPem(files: AuthorityFiles, options: AuthorityOptions = {}): Promise<CertificateAuthority> {
    const own = splitPem(files.caCertPem)[0];
    if (own === undefined) throw new Error('ca-cert.pem holds no certificate');
    if (splitPem(files.rootCertPem).length === 0) throw new Error('root-cert.pem holds no certificate');
    const { Signer } = await load();
    return new CertificateAuthority(await Signer.fromPem(own, files.caKeyPem), files, options);
  }

  /** PEM of the roots that peers are to trust. */
  get rootsPem(): string {
    return this.files.rootCertPem;
  }

  get notAfter(): number {
    return this.#signer.notAfter;
  }

  /** True in the last fifth of the signing certificate's life. */
  get dueForRotation(): boolean {
    const { notBefore, notAfter } = this.#signer;
    return this.#options.clock.now() > notAfter - (notAfter - notBefore) / 5;
  }

  /**
   * Signs a request for `identity`. `chain`: the leaf, each intermediate, and as the last element the roots, unsplit.
   * `ttlSeconds` of 0 or less means the default. Throws SigningError.
   */
  async sign(csrPem: string, identity: Identity, ttlSeconds: number): Promise<{ chain: readonly string[] }> {
    const validity = this.#validity(ttlSeconds);
    const request = await verifiedRequest(csrPem);
    const hasCommonName = request.subjectName.getField('CN').length > 0;
    const leaf = await this.#signer.sign({
      publicKey: request.publicKey,
      names: [{ type: 'url', value: identity }],
      // A common name has at most 64 characters (RFC 5280, appendix A); longer ones are left out.
      ...(hasCommonName && identity.length <= 64 && { commonName: identity }),
      ...validity,
    });
    return { chain: [leaf, ...this.#intermediates, this.files.rootCertPem] };
  }

  /** A certificate for the control plane's own servers. */
  async issueServing(o: {
    readonly dnsNames: readonly string[];
    readonly ips?: readonly string[];
    readonly ttlSeconds?: number;
  }): Promise<{ certPem: string; keyPem: string; notAfter: number }> {
    const validity = this.#validity(o.ttlSeconds ?? 0);
    const { x509 } = await load();
    const keys = await crypto.subtle.generateKey(x509.ecdsa, true, ['sign', 'verify']);
    const leaf = await this.#signer.sign({
      publicKey: keys.publicKey,
      names: [
        ...o.dnsNames.map((value) => ({ type: 'dns', value }) as const),
        ...(o.ips ?? []).map((value) => ({ type: 'ip', value }) as const),
      ],
      ...validity,
    });
    return {
      certPem: [leaf, ...this.#intermediates].join(''),
      keyPem: await x509.exportKey(keys.privateKey),
      notAfter: validity.notAfter,
    };
  }

  #validity(ttlSeconds: number): { notBefore: number; notAfter: number } {
    const { defaultTtlSeconds, maxTtlSeconds, clock } = this.#options;
    const ttl = ttlSeconds <= 0 ? defaultTtlSeconds : ttlSeconds;
    if (!(ttl <= maxTtlSeconds))
      throw new SigningError(
        'ttl',
        `requested TTL ${ttl} s is greater than the maximum of ${maxTtlSeconds} s`,
      );
    const now = clock.now();
    if (now >= this.#signer.notAfter)
      throw new SigningError('not-ready', "the CA's own certificate has expired");
    return { notBefore: now - backdate, notAfter: Math.min(now + ttl * 1000, this.#signer.notAfter) };
  }
}

/**
 * For signers that copy what a request asks for: it must ask for `identity` and for nothing else, neither another name
 * nor a subject (an organization is a group to the Kubernetes API). Throws SigningError.
 */
export async function requireExactRequest(csrPem: string, identity: Identity): Promise<void> {
  const request = await verifiedRequest(csrPem);
  const { x509 } = await load();
  if (request.subject !== '')
    throw new SigningError('csr', 'the request has a subject; only its name may be given');
  const [names, ...others] = request.extensions;
  if (!(names instanceof x509.SubjectAlternativeNameExtension) || others.length > 0)
    throw new SigningError('csr', 'the request must have one extension, the subject alternative name');
  const asked = names.names.toJSON();
  if (asked.length !== 1 || asked[0]?.type !== 'url' || asked[0].value !== identity)
    throw new SigningError('csr', `the request must be for ${identity} and for nothing else`);
}

async function verifiedRequest(csrPem: string): Promise<Pkcs10CertificateRequest> {
  if (csrPem.length > maxCsrBytes)
    throw new SigningError('csr', `a request of ${csrPem.length} bytes is too large (limit ${maxCsrBytes})`);
  const { x509 } = await load();
  let request: Pkcs10CertificateRequest;
  let signed: boolean;
  try {
    if (!csrPem.includes('-----BEGIN')) throw new Error('not PEM');
    request = new x509.Pkcs10CertificateRequest(csrPem);
    signed = await request.verify();
  } catch (error) {
    throw new SigningError('csr', 'the certificate request cannot be read', { cause: error });
  }
  if (!signed) throw new SigningError('csr', "the certificate request's signature is wrong");
  requireStrongKey(request);
  return request;
}

function requireStrongKey(request: Pkcs10CertificateRequest): void {
  let bits: number | undefined;
  try {
    const key = createPublicKey({ key: Buffer.from(request.publicKey.rawData), format: 'der', type: 'spki' });
    if (key.asymmetricKeyType !== 'rsa') return;
    bits = key.asymmetricKeyDetails?.modulusLength;
  } catch (error) {
    throw new SigningError('csr', "the certificate request's key cannot be read", { cause: error });
  }
  if (bits === undefined || bits < 2048)
    throw new SigningError('csr', `an RSA key of ${bits} bits is too weak (at least 2048)`);
}
