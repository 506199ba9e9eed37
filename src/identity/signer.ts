// A signing key with its certificate, and the shapes of what it signs. The rules of who may have what are in
// certificate-authority.ts.
import {
  createPrivateKey,
  createPublicKey,
  X509Certificate as NodeCertificate,
  type KeyObject,
} from 'node:crypto';
import * as x509 from './x509.ts';

/** Go, like most others, keeps serial numbers positive; 128 random bits make a clash unthinkable. */
function serialNumber(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[0] = ((bytes[0] as number) & 0x7f) | 0x40;
  return Buffer.from(bytes).toString('hex');
}

const curves: Readonly<Record<string, { namedCurve: string; hash: string }>> = {
  prime256v1: { namedCurve: 'P-256', hash: 'SHA-256' },
  secp384r1: { namedCurve: 'P-384', hash: 'SHA-384' },
  secp521r1: { namedCurve: 'P-521', hash: 'SHA-512' },
};

function algorithmOf(key: KeyObject) {
  if (key.asymmetricKeyType === 'rsa') return { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' };
  const curve = curves[key.asymmetricKeyDetails?.namedCurve ?? ''];
  if (key.asymmetricKeyType === 'ec' && curve !== undefined) return { name: 'ECDSA', ...curve };
  throw new Error(
    `a signing key of type ${key.asymmetricKeyType} is not supported: use RSA, P-256, P-384 or P-521`,
  );
}

type Extensions = NonNullable<Parameters<typeof x509.X509CertificateGenerator.create>[0]['extensions']>;

export interface Leaf {
  readonly publicKey: x509.Pkcs10CertificateRequest['publicKey'] | CryptoKey;
  readonly commonName?: string;
  readonly names: readonly { readonly type: 'url' | 'dns' | 'ip'; readonly value: string }[];
  readonly notBefore: number;
  readonly notAfter: number;
}

export class Signer {
  readonly certificatePem: string;
  readonly keyPem: string;
  readonly notBefore: number;
  readonly notAfter: number;
  readonly #certificate: x509.X509Certificate;
  readonly #key: CryptoKey;
  readonly #algorithm: ReturnType<typeof algorithmOf>;

  private constructor(
    certificatePem: string,
    keyPem: string,
    key: CryptoKey,
    algorithm: ReturnType<typeof algorithmOf>,
  ) {
    this.certificatePem = certificatePem;
    this.keyPem = keyPem;
    this.#certificate = new x509.X509Certificate(certificatePem);
    this.notBefore = this.#certificate.notBefore.getTime();
    this.notAfter = this.#certificate.notAfter.getTime();
    this.#key = key;
    this.#algorithm = algorithm;
  }

  /** Any PEM form of the key. Throws if the two do not belong together or the certificate is no CA's. */
  static async fromPem(certificatePem: string, keyPem: string): Promise<Signer> {
    const key = createPrivateKey(keyPem);
    const certificate = new NodeCertificate(certificatePem);
    if (!certificate.checkPrivateKey(key))
      throw new Error('the signing key does not belong to the CA certificate');
    if (!certificate.ca) throw new Error('the certificate to sign with is not a CA certificate');
    const algorithm = algorithmOf(key);
    const pkcs8 = key.export({ type: 'pkcs8', format: 'der' });
    const imported = await crypto.subtle.importKey('pkcs8', pkcs8, algorithm, false, ['sign']);
    return new Signer(certificatePem, keyPem, imported, algorithm);
  }

  /** A root that has signed itself. With `keyPem` the key is kept, so that what it signed before stays valid. */
  static async selfSigned(o: {
    organization: string;
    notBefore: number;
    notAfter: number;
    keyPem?: string;
  }): Promise<Signer> {
    const keyPem = o.keyPem ?? (await newRsaKey());
    const key = createPrivateKey(keyPem);
    const algorithm = algorithmOf(key);
    const privateKey = await crypto.subtle.importKey(
      'pkcs8',
      key.export({ type: 'pkcs8', format: 'der' }),
      algorithm,
      false,
      ['sign'],
    );
    const publicKey = await publicHalf(key, algorithm);
    const name = [{ O: [o.organization] }];
    const certificate = await x509.X509CertificateGenerator.create({
      serialNumber: serialNumber(),
      subject: name,
      issuer: name,
      notBefore: new Date(o.notBefore),
      notAfter: new Date(o.notAfter),
      publicKey,
      signingKey: privateKey,
      signingAlgorithm: algorithm,
      extensions: [
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
        new x509.BasicConstraintsExtension(true, undefined, true),
        await x509.SubjectKeyIdentifierExtension.create(publicKey),
      ],
    });
    return new Signer(`${certificate.toString('pem')}\n`, keyPem, privateKey, algorithm);
  }

  /** A server-and-client certificate as PEM: exactly the usages, names and times given, nothing of a request's own. */
  async sign(leaf: Leaf): Promise<string> {
    const extensions: Extensions = [
      new x509.KeyUsagesExtension(
        x509.KeyUsageFlags.digitalSignature | x509.KeyUsageFlags.keyEncipherment,
        true,
      ),
      new x509.ExtendedKeyUsageExtension([
        x509.ExtendedKeyUsage.serverAuth,
        x509.ExtendedKeyUsage.clientAuth,
      ]),
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.SubjectAlternativeNameExtension([...leaf.names], true),
    ];
    const own = this.#certificate.getExtension(x509.SubjectKeyIdentifierExtension);
    if (own !== null) extensions.push(new x509.AuthorityKeyIdentifierExtension(own.keyId));
    const certificate = await x509.X509CertificateGenerator.create({
      serialNumber: serialNumber(),
      ...(leaf.commonName !== undefined && { subject: [{ CN: [leaf.commonName] }] }),
      issuer: this.#certificate.subjectName,
      notBefore: new Date(leaf.notBefore),
      notAfter: new Date(leaf.notAfter),
      publicKey: leaf.publicKey,
      signingKey: this.#key,
      signingAlgorithm: this.#algorithm,
      extensions,
    });
    return `${certificate.toString('pem')}\n`;
  }
}

async function newRsaKey(): Promise<string> {
  const { privateKey } = await crypto.subtle.generateKey(x509.rsa, true, ['sign', 'verify']);
  return x509.exportKey(privateKey);
}

async function publicHalf(key: KeyObject, algorithm: ReturnType<typeof algorithmOf>): Promise<CryptoKey> {
  const spki = createPublicKey(key).export({ type: 'spki', format: 'der' });
  return crypto.subtle.importKey('spki', spki, algorithm, true, ['verify']);
}
