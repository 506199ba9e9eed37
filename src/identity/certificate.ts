// A workload's certificate as plain data, and reading certificates.
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { parseIdentity, type Identity } from '#/model/index.ts';
import { uriNames } from './san.ts';

/** Plain data: crosses to a worker as it is. Times are milliseconds since the epoch. */
export interface Certificate {
  readonly identity: Identity;
  /** Leaf and intermediates, without the root. */
  readonly chainPem: string;
  readonly keyPem: string;
  readonly rootsPem: string;
  readonly notBefore: number;
  readonly notAfter: number;
  /** Hexadecimal, upper case. */
  readonly serial: string;
}

export interface CertificateFacts {
  /** The first SPIFFE name; undefined if there is none. */
  readonly identity?: Identity;
  readonly notBefore: number;
  readonly notAfter: number;
  readonly serial: string;
}

/** What the first certificate of a PEM text (or a DER certificate) says. Throws on anything else. */
export function parseCertificate(certificate: string | Uint8Array): CertificateFacts {
  const parsed = new X509Certificate(certificate);
  const identity = identityIn(parsed.raw);
  return {
    ...(identity !== undefined && { identity }),
    notBefore: parsed.validFromDate.getTime(),
    notAfter: parsed.validToDate.getTime(),
    serial: parsed.serialNumber,
  };
}

/** The first name of a DER certificate that is a SPIFFE identity; others are passed over. */
export function identityIn(der: Uint8Array): Identity | undefined {
  for (const name of uriNames(der)) {
    const identity = parseIdentity(name);
    if (identity !== undefined) return identity;
  }
  return undefined;
}

const block = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g;

/** The certificates of a PEM text, each as a PEM text that ends with a line break. */
export function splitPem(pem: string): readonly string[] {
  return (pem.match(block) ?? []).map((text) => `${text}\n`);
}

/**
 * Puts a certificate together from the CA's reply: the leaf, intermediates, and as the last element the roots (one or
 * more). Throws if an element is not PEM, or if the leaf is for another key or another identity.
 */
export function assembleCertificate(
  identity: Identity,
  keyPem: string,
  reply: readonly string[],
): Certificate {
  if (reply.length < 2)
    throw new Error(`the CA answered with ${reply.length} certificates: a leaf and its roots are needed`);
  const parts = reply.map((element, i) => {
    const certificates = splitPem(element);
    if (certificates.length === 0)
      throw new Error(`element ${i} of the CA's answer is not a PEM certificate`);
    return certificates;
  });
  const chain = parts.slice(0, -1).flat();
  const leaf = new X509Certificate(chain[0] as string);
  const found = identityIn(leaf.raw);
  if (found !== identity)
    throw new Error(
      `the CA answered with a certificate for ${found ?? 'no identity'} instead of ${identity}`,
    );
  if (!leaf.checkPrivateKey(createPrivateKey(keyPem)))
    throw new Error("the CA's certificate is for another key");
  const notBefore = leaf.validFromDate.getTime();
  const notAfter = leaf.validToDate.getTime();
  return {
    identity,
    chainPem: chain.join(''),
    keyPem,
    rootsPem: (parts.at(-1) as readonly string[]).join(''),
    notBefore,
    notAfter,
    serial: leaf.serialNumber,
  };
}
