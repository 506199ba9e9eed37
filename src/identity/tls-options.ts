// TLS between mesh peers: 1.3 only, both sides present a certificate, a peer is its SPIFFE identity and nothing
// else. Host names play no part, so no SNI is sent and Node's check of names is replaced.
import { constants, type X509Certificate } from 'node:crypto';
import {
  createSecureContext,
  type ConnectionOptions,
  type SecureContext,
  type TlsOptions,
  type TLSSocket,
} from 'node:tls';
import { MeshError } from '#/errors/index.ts';
import { identityParts, parseIdentity, type Identity } from '#/model/index.ts';
import { identityIn, type Certificate } from './certificate.ts';
import { uriNames } from './san.ts';

const fixed = {
  minVersion: 'TLSv1.3',
  maxVersion: 'TLSv1.3',
  ciphers: 'TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256',
  // Node keeps no server-side session store unless asked to; without tickets nothing can be resumed, and every
  // connection proves its identity anew.
  secureOptions: constants.SSL_OP_NO_TICKET,
} as const;

const contexts = new WeakMap<Certificate, SecureContext>();

/** Parsing keys and roots costs far more than a connection's other set-up, so it is done once per certificate. */
export function secureContext(certificate: Certificate): SecureContext {
  let context = contexts.get(certificate);
  if (context === undefined) {
    context = createSecureContext({ ...fixed, ...material(certificate) });
    contexts.set(certificate, context);
  }
  return context;
}

const material = (certificate: Certificate) => ({
  cert: certificate.chainPem,
  key: certificate.keyPem,
  ca: certificate.rootsPem,
});

/**
 * Options for `tls.createServer` or `new TLSSocket(…, {isServer: true})`. Trap: such a TLSSocket, made by hand, does
 * not check the client's chain; acceptTls does.
 */
export function tlsServerOptions(certificate: Certificate): TlsOptions & { secureContext: SecureContext } {
  return {
    ...fixed,
    ...material(certificate),
    secureContext: secureContext(certificate),
    requestCert: true,
    rejectUnauthorized: true,
    ALPNProtocols: ['h2'],
  };
}

/** Options for `tls.connect`: the peer must be one of `expected`. Give `socket` or `host` and `port` beside them. */
export function tlsClientOptions(certificate: Certificate, expected: readonly Identity[]): ConnectionOptions {
  return {
    secureContext: secureContext(certificate),
    rejectUnauthorized: true,
    ALPNProtocols: ['h2'],
    servername: '',
    checkServerIdentity: (_host, peer) => identityFault(peer.raw, expected),
  };
}

/** Undefined if one of the certificate's URI names is expected, else what is wrong. */
export function identityFault(der: Uint8Array, expected: readonly Identity[]): MeshError | undefined {
  let names: readonly string[];
  try {
    names = uriNames(der);
  } catch (error) {
    return new MeshError('IDENTITY_MISMATCH', undefined, { cause: error });
  }
  if (names.some((name) => (expected as readonly string[]).includes(name))) return undefined;
  const found = names.find((name) => parseIdentity(name) !== undefined) ?? 'no SPIFFE identity';
  return new MeshError(
    'IDENTITY_MISMATCH',
    `identity verification error: peer did not present the expected SAN (${expected.join(', ')}), got ${found}`,
  );
}

/** The first SPIFFE identity in the peer's certificate. Parses the certificate: call it once per connection. */
export function peerIdentity(socket: TLSSocket): Identity | undefined {
  const certificate: X509Certificate | undefined = socket.getPeerX509Certificate();
  if (certificate === undefined) return undefined;
  try {
    return identityIn(certificate.raw);
  } catch {
    return undefined;
  }
}

/** Throws MeshError unless one of the peer's URI names is in `expected`. For sockets that others have made. */
export function verifyPeerIdentity(socket: TLSSocket, expected: readonly Identity[]): void {
  const der = socket.getPeerX509Certificate()?.raw;
  const fault =
    der === undefined
      ? new MeshError('TLS_FAILED', 'tls handshake error: no certificate')
      : identityFault(der, expected);
  if (fault !== undefined) throw fault;
}

/** The server's rule: a client of another trust domain is a stranger, whoever signed its certificate. */
export function verifyTrustDomain(peer: Identity, own: Identity): void {
  const theirs = identityParts(peer).trustDomain;
  const ours = identityParts(own).trustDomain;
  if (theirs !== ours)
    throw new MeshError(
      'TLS_FAILED',
      `tls handshake error: the peer's trust domain is ${theirs}, not ${ours} (${peer})`,
    );
}
