// apiserver: a Kubernetes API of our own, for where there is no cluster. Owns the store (node:sqlite), its kinds and
// their rules, credentials, and the few controllers that an API without kube-controller-manager needs. May import
// floors 0-4. Must not know the mesh: for it, Istio's kinds are custom resources like any other.
export { defaultDefinitions } from './crd/default-definitions.ts';
export { startApiserver, type Apiserver, type ApiserverConfig, type ApiserverDeps } from './server.ts';
export { nodeStatusAccess, type KubeletAddress, type PodAccess } from './verbs/pod-access.ts';
