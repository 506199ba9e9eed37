// telemetry: what is told about connections. Owns the access log's lines, the metric families with their labels and
// their text, and the ledger, which makes of each connection exactly one outcome. Imports kit, errors and model.
// Must not know sockets, threads, servers or where lines are written.
export * from './access-log.ts';
export * from './families.ts';
export * from './ledger.ts';
export * from './metric-set.ts';
export * from './open-metrics.ts';
export * from './traffic-labels.ts';
export * from './traffic-metrics.ts';
