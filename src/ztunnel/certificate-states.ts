// The certificates as /config_dump shows them.
import { parseCertificate, splitPem, type CertificateManager } from '#/identity/index.ts';
import type { CertificateDump, CertificateState } from './config-dump.ts';

export function certificateStates(manager: CertificateManager): readonly CertificateState[] {
  return manager.snapshot().map(({ identity, state, certificate }) => ({
    identity,
    state,
    chain: certificate === undefined ? [] : splitPem(certificate.chainPem).map(dump),
    roots: certificate === undefined ? [] : splitPem(certificate.rootsPem).map(dump),
  }));
}

function dump(pem: string): CertificateDump {
  const { serial, notBefore, notAfter } = parseCertificate(pem);
  return {
    pem: Buffer.from(pem).toString('base64'),
    serialNumber: BigInt(`0x${serial}`).toString(),
    validFrom: wholeSeconds(notBefore),
    expirationTime: wholeSeconds(notAfter),
  };
}

const wholeSeconds = (ms: number): string => new Date(ms).toISOString().replace(/\.[0-9]+Z$/, 'Z');
