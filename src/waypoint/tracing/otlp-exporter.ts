// Spans by OTLP, over gRPC or HTTP (protobuf), with OpenTelemetry's own exporters. They are loaded with the first
// batch: a waypoint that does not trace does not pay for them.
import type { OTLPTraceExporter as GrpcExporter } from '@opentelemetry/exporter-trace-otlp-grpc';
import type { OTLPTraceExporter as HttpExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import type { HeaderValue } from '#/model/index.ts';
import type { FinishedSpan, SpanExporter, SpanReporter } from './span.ts';

export interface OtlpOptions {
  /** `host:port`, IPv6 in brackets. */
  readonly endpoint: string;
  /** Set: over HTTP with this path. */
  readonly httpPath?: string | undefined;
  readonly headers: readonly HeaderValue[];
  readonly reporter: SpanReporter;
  /** For one batch, the exporter's own attempts included. Default 10 000. */
  readonly timeoutMs?: number;
}

type Exporter = GrpcExporter | HttpExporter;
type OtlpSpan = Parameters<Exporter['export']>[0][number];
type Resource = OtlpSpan['resource'];
type Time = OtlpSpan['startTime'];

// Of the API's enumerations, which would have to be loaded for them.
const serverKind = 1;
const statusUnset = 0;
const statusError = 2;
const sampledFlag = 1;

// Spans are grouped by this object, not by what it says.
const scope: OtlpSpan['instrumentationScope'] = { name: 'aura' };

function timeOf(ms: number): Time {
  const seconds = Math.floor(ms / 1000);
  // Microseconds are what the clock gives; more digits would be noise.
  return [seconds, Math.floor((ms - seconds * 1000) * 1000) * 1000];
}

function resourceOf({ serviceName, attributes }: SpanReporter): Resource {
  const resource: Resource = {
    attributes: { 'service.name': serviceName, ...attributes },
    merge: () => resource,
    getRawAttributes: () => Object.entries(resource.attributes),
  };
  return resource;
}

function stateOf(text: string): NonNullable<ReturnType<OtlpSpan['spanContext']>['traceState']> {
  const state = { set: () => state, unset: () => state, get: () => undefined, serialize: () => text };
  return state;
}

function otlpSpan(span: FinishedSpan, resource: Resource): OtlpSpan {
  const context = {
    traceId: span.traceId,
    spanId: span.spanId,
    traceFlags: sampledFlag,
    ...(span.state !== undefined && { traceState: stateOf(span.state) }),
  };
  return {
    name: span.name,
    kind: serverKind,
    spanContext: () => context,
    ...(span.parentSpanId !== undefined && {
      parentSpanContext: {
        traceId: span.traceId,
        spanId: span.parentSpanId,
        traceFlags: sampledFlag,
        isRemote: true,
      },
    }),
    startTime: timeOf(span.startedAt),
    endTime: timeOf(span.startedAt + span.durationMs),
    duration: timeOf(span.durationMs),
    status: { code: span.error ? statusError : statusUnset },
    attributes: span.tags,
    links: [],
    events: [],
    ended: true,
    resource,
    instrumentationScope: scope,
    droppedAttributesCount: 0,
    droppedEventsCount: 0,
    droppedLinksCount: 0,
  };
}

async function load({ endpoint, httpPath, headers, timeoutMs = 10_000 }: OtlpOptions): Promise<Exporter> {
  const common = { timeoutMillis: timeoutMs, concurrencyLimit: 2 };
  if (httpPath !== undefined) {
    const { OTLPTraceExporter } = await import('@opentelemetry/exporter-trace-otlp-proto');
    return new OTLPTraceExporter({
      ...common,
      url: `http://${endpoint}${httpPath.startsWith('/') ? '' : '/'}${httpPath}`,
      headers: Object.fromEntries(headers.map(({ name, value }) => [name.toLowerCase(), value])),
    });
  }
  const [{ OTLPTraceExporter }, { credentials, Metadata }] = await Promise.all([
    import('@opentelemetry/exporter-trace-otlp-grpc'),
    import('@grpc/grpc-js'),
  ]);
  const metadata = new Metadata();
  for (const { name, value } of headers) metadata.set(name, value);
  return new OTLPTraceExporter({
    ...common,
    url: `http://${endpoint}`,
    credentials: credentials.createInsecure(),
    metadata,
  });
}

/** The collector is reached in plaintext, as upstream reaches it unless it is in the mesh. */
export function otlpExporter(options: OtlpOptions): SpanExporter {
  const resource = resourceOf(options.reporter);
  let loaded: Promise<Exporter> | undefined;
  return {
    export: async (batch) => {
      loaded ??= load(options);
      const exporter = await loaded;
      const spans = batch.map((span) => otlpSpan(span, resource));
      await new Promise<void>((resolve, reject) => {
        exporter.export(spans, ({ code, error }) => {
          if (code === 0) resolve();
          else reject(error ?? new Error(`the collector at ${options.endpoint} did not take the spans`));
        });
      });
    },
    close: async () => {
      if (loaded !== undefined) await (await loaded).shutdown();
    },
  };
}
