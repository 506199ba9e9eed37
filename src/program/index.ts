// program: what each proxy program has around its data path. Owns the reading of settings, the log on its way out, the
// program's own HTTP servers, readiness, and the certificates that a data worker holds. Imports floors 0-3 and identity.
// Must not know pods, routes or what the program is for.
export { LineBatch } from './line-batch.ts';
export { LogOutput } from './log-output.ts';
export { preciseTime } from './precise-time.ts';
export { Readiness } from './readiness.ts';
export { startAdmin, startMetrics, startReadiness, type AdminActions, type Listening } from './servers.ts';
export * from './settings.ts';
export { WorkerCertificates, type Credentials } from './worker-certificates.ts';
