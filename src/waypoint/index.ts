// waypoint: the L7 proxy of services and workloads that are bound to it. Owns the termination of HBONE on 15008, HTTP
// and TCP inside it, what filters requests, and the ways to endpoints. Imports everything below floor 5. Must not know
// Kubernetes objects: it is told by xDS only.
//
// The data path runs in worker threads (worker/), apart from control plane, certificates, scrapes and dumps.
export { ConfigError } from '#/program/index.ts';
export { parseWaypointConfig, type WaypointConfig } from './config.ts';
export { startWaypoint, type RunningWaypoint, type WaypointDeps } from './start.ts';
