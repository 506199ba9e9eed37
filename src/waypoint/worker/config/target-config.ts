// Everything that is configured for one target (a service, or a workload), put together once and used for each of its
// requests until something of it changes.
import type { Identity, ServiceKey } from '#/model/index.ts';
import type { CompiledHttpPolicies } from '#/policy/index.ts';
import type { PathNormalization } from '#/http/index.ts';
import type { RequestView } from '#/route/index.ts';
import type { AccessLogs, EffectiveTelemetry, MetricPlan } from '#/telemetry/index.ts';
import type { RequestTracing } from '../../tracing/index.ts';
import type { RequestFilter } from '../requests/request-filter.ts';

/** Sizes that a TrafficPolicy limits, bytes. */
export interface BodyLimits {
  readonly maxRequestBodyBytes: number | undefined;
  readonly maxResponseBodyBytes: number | undefined;
}

export interface TargetConfig {
  readonly service: ServiceKey | undefined;
  /** In the order in which they see a request. */
  readonly filters: readonly RequestFilter[];
  /** Also for connections that do not speak HTTP. */
  readonly policies: CompiledHttpPolicies;
  readonly routing: RequestView;
  readonly limits: BodyLimits;
  readonly telemetry: EffectiveTelemetry;
  readonly accessLogs: AccessLogs;
  readonly metricPlan: MetricPlan;
  readonly tracing: RequestTracing | undefined;
  readonly connectTimeoutMs: number;
  readonly pathNormalization: PathNormalization;
  /** Whether applications are told who their client is (x-forwarded-client-cert). */
  readonly forwardClientIdentity: boolean;
  readonly localIdentity: Identity;
}
