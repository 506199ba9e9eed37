// Certificate requests. The X.509 library is loaded at the first use: it takes some 90 ms and 25 MB, and programs
// that only check certificates need none of it.
import type { Identity } from '#/model/index.ts';

export interface KeyAndRequest {
  readonly csrPem: string;
  /** PKCS #8. */
  readonly keyPem: string;
}

/** A new P-256 key and a request signed with it (SHA-256): empty subject, one critical URI name. */
export async function createCsr(identity: Identity): Promise<KeyAndRequest> {
  const x509 = await import('./x509.ts');
  const keys = await crypto.subtle.generateKey(x509.ecdsa, true, ['sign', 'verify']);
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    keys,
    signingAlgorithm: x509.ecdsa,
    extensions: [new x509.SubjectAlternativeNameExtension([{ type: 'url', value: identity }], true)],
  });
  return { csrPem: `${request.toString('pem')}\n`, keyPem: await x509.exportKey(keys.privateKey) };
}
