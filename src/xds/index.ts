// xds: the incremental aggregated xDS protocol, both ends. Owns streams, nonces, versions, subscriptions,
// back-off, debouncing. May import floors 0–3, identity (channels, call facts) and grpc-js. Must not know
// what a resource means: it handles names, versions and bytes.
export { Debouncer, type DebounceOptions } from './debouncer.ts';
export * from './delta-client.ts';
export * from './delta-server.ts';
export type { Push, PushedResource, Rejection } from './held-resources.ts';
export * from './resource-source.ts';
export * from './resource-table.ts';
export type { ConnectionStatus, TypeStatus } from './server-connection.ts';
