// ztunnel: the node proxy. Owns the pods' listeners, the carrying out of plans, live connections, and the program's
// own servers. Imports everything below floor 5. Must not know Kubernetes objects or how the rules of a pod are made:
// it is told by xDS and ZDS only.
//
// The data path runs in worker threads (worker/), apart from control plane, certificates, scrapes and dumps.
export { ConfigError } from '#/program/index.ts';
export { parseZtunnelConfig, type ZtunnelConfig } from './config.ts';
export { startZtunnel, type RunningZtunnel, type ZtunnelDeps } from './start.ts';
