// Spans of requests: begun and finished beside the request, sent to a collector behind a queue with a limit. Part of
// waypoint. Spans are plain data, so that workers may leave the sending to the main thread.
export * from './provider-exporter.ts';
export * from './request-tracing.ts';
export * from './span.ts';
export * from './span-queue.ts';
export type { ProxyFacts } from './span-tags.ts';
