// model: the nouns of the mesh as frozen plain data, so that they cross to a worker as they are.
// Imports kit and the names of errors. Must not know bytes, files, sockets or Kubernetes.
export * from './baggage.ts';
export * from './http/index.ts';
export * from './identity.ts';
export * from './mesh-view.ts';
export * from './name-plan.ts';
export * from './plan.ts';
export * from './policy.ts';
export * from './service.ts';
export * from './workload.ts';
