// A finished span as plain data: what workers hand to whoever exports.

export interface FinishedSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string | undefined;
  readonly state: string | undefined;
  readonly name: string;
  /** Milliseconds since the epoch, with a fraction. */
  readonly startedAt: number;
  readonly durationMs: number;
  readonly error: boolean;
  readonly tags: Readonly<Record<string, string>>;
}

/** Who reports: attributes of the OTLP resource, and the name of Zipkin's local endpoint. */
export interface SpanReporter {
  /** As upstream: `<canonical service>.<namespace>`. */
  readonly serviceName: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly ip?: string;
}

/** Sends spans away. Loads what it needs with the first batch. */
export interface SpanExporter {
  /** Rejects if the batch did not arrive within the exporter's own time limit. */
  export(batch: readonly FinishedSpan[]): Promise<void>;
  close(): Promise<void>;
}
