// kube: a small client of the Kubernetes API. Owns connections, credentials, list and watch with all their ways
// to end, and leader election. Objects are plain data. Imports kit and errors. Must not know what a kind means
// to the mesh, nor whether the server is a real cluster or our own.
export * from './client.ts';
export * from './request-options.ts';
export { resourcePath } from './resource-path.ts';
export * from './config.ts';
export * from './equal.ts';
export * from './informer.ts';
export * from './kube-error.ts';
export * from './leader-election.ts';
export * from './objects.ts';
export * from './workload-objects.ts';
export * from './resources.ts';
