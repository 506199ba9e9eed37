// Spans by Zipkin's API: JSON, version 2.
import type { FinishedSpan, SpanExporter, SpanReporter } from './span.ts';

export interface ZipkinOptions {
  /** `host:port`, IPv6 in brackets. */
  readonly endpoint: string;
  /** Empty: `/api/v2/spans`. */
  readonly path: string;
  readonly reporter: SpanReporter;
  /** For one batch. Default 10 000. */
  readonly timeoutMs?: number;
}

const micros = (ms: number): number => Math.floor(ms * 1000);

export function zipkinSpan(span: FinishedSpan, { serviceName, ip }: SpanReporter): object {
  return {
    traceId: span.traceId,
    id: span.spanId,
    ...(span.parentSpanId !== undefined && { parentId: span.parentSpanId }),
    name: span.name,
    kind: 'SERVER',
    timestamp: micros(span.startedAt),
    // Zipkin takes 0 as unknown.
    duration: Math.max(1, micros(span.durationMs)),
    localEndpoint: {
      serviceName,
      ...(ip !== undefined && (ip.includes(':') ? { ipv6: ip } : { ipv4: ip })),
    },
    tags: span.tags,
  };
}

export function zipkinExporter({
  endpoint,
  path,
  reporter,
  timeoutMs = 10_000,
}: ZipkinOptions): SpanExporter {
  const url = `http://${endpoint}${path === '' ? '/api/v2/spans' : path.startsWith('/') ? path : `/${path}`}`;
  const closing = new AbortController();
  return {
    export: async (batch) => {
      const answer = await fetch(url, {
        method: 'POST',
        redirect: 'error',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(batch.map((span) => zipkinSpan(span, reporter))),
        signal: AbortSignal.any([closing.signal, AbortSignal.timeout(timeoutMs)]),
      });
      await answer.body?.cancel();
      if (!answer.ok) throw new Error(`${url} answered ${answer.status} to ${batch.length} spans`);
    },
    close: () => {
      closing.abort();
      return Promise.resolve();
    },
  };
}
