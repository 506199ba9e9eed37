// identity: keys, certificate requests, the CA and its client, certificates and their renewal, TLS settings of
// the mesh. Owns node:tls and node:crypto. May import floors 0–3 and grpc-js. Must not know pods, routes or
// what is sent over a connection.
export { parseCertificate, splitPem, type Certificate, type CertificateFacts } from './certificate.ts';
export * from './certificate-authority.ts';
export * from './csr.ts';
export * from './handshake.ts';
export * from './rpc.ts';
export * from './tls-options.ts';
