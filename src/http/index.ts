// http: HTTP/1.1 and HTTP/2 messages on byte channels, strict (RFC 9110, 9112, 9113). Owns parsing, framing, header
// checks, path canonicalisation and protocol detection. Imports kit, model and tunnel (its HTTP/2 machine). Must not
// know routes, policies, identities or sockets.
export * from './byte-channel.ts';
export * from './exchange.ts';
export * from './header-map.ts';
export * from './canonical-authority.ts';
export * from './canonical-path.ts';
export * from './header-rules.ts';
export * from './sniff.ts';
export { h1Client, type H1ClientOptions } from './h1/client-connection.ts';
export { h1Server, type H1ServerOptions } from './h1/server-connection.ts';
export * from './limits.ts';
export { h2Client } from './h2/client.ts';
export type { H2Options } from './h2/options.ts';
export { h2Server } from './h2/server.ts';
