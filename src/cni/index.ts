// cni: the node agent, and the CNI plugin that asks it to set up a pod before the pod starts. Owns which pods of the
// node belong to the mesh, their redirection rules, the ZDS server that hands their namespaces to ztunnel, the
// exemption of the host's probes, and the entry in the runtime's CNI configuration.
// May import every lower room; node:http for its sockets and ports, node:fs for /proc and its files. Must not know
// where traffic goes: that is ztunnel's. `plugin/` is a program of its own and imports almost nothing.
export * from './config.ts';
export { startCniAgent, type CniAgent, type CniAgentDeps } from './agent.ts';
export { defaultSelectors, eligibility, type Eligibility } from './selection.ts';
