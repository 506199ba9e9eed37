// route: choices. Owns where a connection goes: destination, waypoint or gateway hop, endpoint, address family; what
// a CONNECT or a captured plaintext connection that arrived may reach; and which addresses a name stands for. Gives
// Plans. Imports kit, errors and model. Must not know stores, sockets, certificates, policies or DNS messages.
export * from './http/index.ts';
export * from './inbound.ts';
export { spellingsOf, type Spelling } from './name-spellings.ts';
export * from './name.ts';
export * from './outbound.ts';
export * from './settings.ts';
