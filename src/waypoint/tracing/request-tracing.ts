// Tracing of the requests to one target: the context that comes in and goes on, the decision, and the span at the end.
import type { HeaderChange, HeaderView, Provider } from '#/model/index.ts';
import {
  continueTrace,
  decideSampling,
  longTraceId,
  readTrace,
  traceHeaders,
  type EffectiveTracing,
  type HttpExchangeRecord,
  type LogSurroundings,
  type OutgoingTrace,
  type TraceFormat,
  type TraceIdSource,
} from '#/telemetry/index.ts';
import type { FinishedSpan } from './span.ts';
import { compileTags, isError, type ProxyFacts } from './span-tags.ts';

export interface RequestTracing {
  readonly provider: string;
  /** For each request, before it is routed. `headers`: what to change toward the upstream. */
  begin(
    headers: HeaderView,
    requestId: string | undefined,
  ): { readonly trace: OutgoingTrace; readonly headers: HeaderChange | undefined };
  /** Undefined: not sampled, or spans are not reported. */
  finish(record: HttpExchangeRecord, trace: OutgoingTrace): FinishedSpan | undefined;
  readonly problems: readonly string[];
}

export interface RequestTracingOptions {
  readonly ids: TraceIdSource;
  readonly proxy: ProxyFacts;
  /** In [0, 1). Default: Math.random. */
  readonly random?: () => number;
  readonly around?: LogSurroundings;
}

type TracingProvider = Extract<Provider, { type: 'opentelemetry' | 'zipkin' }>;

/** Envoy's default for the path in `http.url`. */
const defaultTagLength = 256;

/** As upstream: OpenTelemetry speaks W3C; Zipkin B3, and W3C beside it if asked. */
function formatsOf(provider: TracingProvider): Record<'read' | 'write', readonly TraceFormat[]> {
  if (provider.type === 'opentelemetry') return { read: ['w3c'], write: ['w3c'] };
  const more: readonly TraceFormat[] = provider.w3c ? ['w3c'] : [];
  return { read: ['b3-single', 'b3', ...more], write: ['b3', ...more] };
}

/** Upstream names spans after the service and port that were asked for. */
function spanName({ service, downstreamLocalAddress, authority }: HttpExchangeRecord): string {
  if (service !== undefined) return `${service.hostname}:${downstreamLocalAddress.port}/*`;
  return authority === '' ? 'ingress' : `${authority}/*`;
}

/** `problem`: the provider is not known or does not take spans. Compiled once per change of configuration. */
export function compileRequestTracing(
  tracing: EffectiveTracing,
  provider: Provider | undefined,
  options: RequestTracingOptions,
): RequestTracing | { readonly problem: string } {
  if (provider === undefined)
    return {
      problem: `tracing provider "${tracing.provider}" is not known: define it under extensionProviders of MeshConfig`,
    };
  if (provider.type !== 'opentelemetry' && provider.type !== 'zipkin')
    return { problem: `provider "${provider.name}" of type ${provider.type} does not take spans` };
  const { ids, proxy, around = {}, random = Math.random } = options;
  const formats = formatsOf(provider);
  const maxTagLength =
    provider.type === 'opentelemetry' && provider.maxTagLength > 0 ? provider.maxTagLength : defaultTagLength;
  const { tagsOf, problems } = compileTags({ tracing, proxy, maxTagLength, around });
  return {
    provider: provider.name,
    problems,
    begin: (headers, requestId) => {
      const incoming = readTrace(headers, formats.read);
      const sampled = decideSampling({
        incoming,
        percent: tracing.samplingPercent,
        requestId,
        byRequestId: tracing.byRequestId,
        random,
      });
      const trace = continueTrace(incoming, sampled, ids);
      return {
        trace,
        headers: tracing.propagate ? traceHeaders(trace, formats.write, formats.read) : undefined,
      };
    },
    finish: (record, trace) => {
      if (!trace.sampled || !tracing.reportSpans) return undefined;
      return {
        traceId: longTraceId(trace.traceId),
        spanId: trace.spanId,
        parentSpanId: trace.parentSpanId,
        state: trace.state,
        name: spanName(record),
        startedAt: record.startedAt,
        durationMs: record.durationMs,
        error: isError(record),
        tags: tagsOf(record),
      };
    },
  };
}
