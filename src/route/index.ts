// route: choices. Owns where a connection goes: destination, waypoint or gateway hop, endpoint, address family; and
// what a CONNECT or a captured plaintext connection that arrived may reach. Gives Plans. Imports kit, errors and
// model. Must not know stores, sockets, certificates or policies.
export * from './inbound.ts';
export * from './outbound.ts';
export * from './settings.ts';
