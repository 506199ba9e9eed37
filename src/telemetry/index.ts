// telemetry: what is told about connections. Owns the lines of the access log and of the DNS log, the metric families
// with their labels and their text, and the ledger, which makes of each connection exactly one outcome. Imports kit,
// errors and model. Must not know sockets, threads, servers or where lines are written.
export * from './access-log.ts';
export * from './dns-log.ts';
export * from './families.ts';
export * from './http/index.ts';
export * from './ledger.ts';
export * from './metric-set.ts';
export * from './open-metrics.ts';
export * from './traffic-labels.ts';
export * from './traffic-metrics.ts';
