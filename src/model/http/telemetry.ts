// The Telemetry API as a waypoint applies it. Several that apply are merged: mesh < namespace < service or waypoint.
import type { Attachment } from './attachment.ts';

export type LogMode = 'CLIENT_AND_SERVER' | 'CLIENT' | 'SERVER';

export interface TagOverride {
  readonly tag: string;
  readonly operation: 'UPSERT' | 'REMOVE';
  /** CEL over request, response, source, destination; for UPSERT. */
  readonly value?: string;
}

export interface MetricOverride {
  /** Istio's enum, e.g. REQUEST_COUNT, or ALL_METRICS; or a custom metric's name. */
  readonly metric: string;
  readonly mode: LogMode;
  readonly disabled?: boolean;
  readonly tags: readonly TagOverride[];
}

export type CustomTag =
  | { readonly tag: string; readonly kind: 'literal'; readonly value: string }
  | {
      readonly tag: string;
      readonly kind: 'environment' | 'header';
      readonly name: string;
      readonly fallback?: string;
    }
  | { readonly tag: string; readonly kind: 'formatter'; readonly format: string };

export interface Telemetry extends Attachment {
  readonly kind: 'telemetry';
  /** `ns/name`. */
  readonly name: string;
  readonly accessLogs: readonly {
    readonly providers: readonly string[];
    readonly mode: LogMode;
    /** CEL. */
    readonly filter?: string;
    readonly disabled?: boolean;
  }[];
  readonly metrics: readonly {
    readonly providers: readonly string[];
    readonly overrides: readonly MetricOverride[];
    readonly reportingIntervalMs?: number;
  }[];
  readonly tracing: readonly {
    readonly providers: readonly string[];
    readonly mode: LogMode;
    /** 0 to 100. */
    readonly samplingPercent?: number;
    readonly disableSpanReporting?: boolean;
    readonly disableContextPropagation?: boolean;
    readonly useRequestIdForSampling?: boolean;
    readonly istioTags?: boolean;
    readonly customTags: readonly CustomTag[];
  }[];
}
