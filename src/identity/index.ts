// identity: keys, certificate requests, the CA and its client, certificates and their renewal, TLS settings of
// the mesh. Owns node:tls and node:crypto. May import floors 0–3 and grpc-js. Must not know pods, routes or
// what is sent over a connection.
export * from './ca-client.ts';
export {
  assembleCertificate,
  parseCertificate,
  splitPem,
  type Certificate,
  type CertificateFacts,
} from './certificate.ts';
export * from './certificate-authority.ts';
export * from './certificate-manager.ts';
export * from './certificate-service.ts';
export {
  callHeaders,
  openChannel,
  rootSource,
  tokenSource,
  type ChannelTarget,
  type ControlChannel,
} from './control-channel.ts';
export * from './csr.ts';
export * from './handshake.ts';
export * from './rpc.ts';
export * from './tls-options.ts';
