// What is told about requests: records, access log, metrics, trace context and the Telemetry API. Part of telemetry,
// exported through its door. Pure: no sockets, no files, no clocks of its own.
export * from './access-filter.ts';
export * from './access-logs.ts';
export * from './cel-program.ts';
export * from './default-formats.ts';
export * from './effective-telemetry.ts';
export * from './exchange-record.ts';
export * from './forwarded.ts';
export * from './grpc-status.ts';
export * from './http-families.ts';
export * from './http-metrics.ts';
export * from './log-format.ts';
export * from './metric-plan.ts';
export * from './request-ids.ts';
export * from './response-flags.ts';
export * from './trace-context.ts';
export * from './trace-sampling.ts';
export type { LogSurroundings } from './log-operators.ts';
