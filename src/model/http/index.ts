// The nouns of L7: what a waypoint is told, and what it knows of a request. Part of model, exported through its door.
export * from './attachment.ts';
export * from './destination-policy.ts';
export * from './extension.ts';
export * from './grpc-status.ts';
export * from './provider.ts';
export * from './request.ts';
export * from './resource.ts';
export * from './route.ts';
export * from './security.ts';
export * from './telemetry.ts';
export * from './traffic-policy.ts';
