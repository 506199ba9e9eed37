// What MeshConfig names under extensionProviders, and the mesh's defaults that a waypoint needs.
import type { HeaderValue, Retry } from './route.ts';

export interface ProviderAddress {
  /** A service's hostname (the control plane resolves short names), or any DNS name. */
  readonly hostname: string;
  readonly port: number;
}

export type Provider = { readonly kind: 'provider'; readonly name: string } & (
  | ({ readonly type: 'ext-authz-http'; readonly address: ProviderAddress } & ExtAuthzCommon & {
        readonly pathPrefix: string;
        /** Lower case; exact, or with `*` at one end. */
        readonly includeRequestHeaders: readonly string[];
        readonly additionalHeaders: readonly HeaderValue[];
        readonly headersToUpstreamOnAllow: readonly string[];
        readonly headersToDownstreamOnAllow: readonly string[];
        readonly headersToDownstreamOnDeny: readonly string[];
      })
  | ({ readonly type: 'ext-authz-grpc'; readonly address: ProviderAddress } & ExtAuthzCommon)
  | {
      readonly type: 'opentelemetry';
      readonly address: ProviderAddress;
      /** Set: OTLP over HTTP with this path; absent: over gRPC. */
      readonly httpPath?: string;
      readonly headers: readonly HeaderValue[];
      readonly maxTagLength: number;
    }
  | {
      readonly type: 'zipkin';
      readonly address: ProviderAddress;
      readonly path: string;
      readonly w3c: boolean;
    }
  | {
      readonly type: 'file-access-log';
      readonly path: string;
      /** Text with Envoy's command operators, or a map of names to such texts. Absent: Istio's default text. */
      readonly text?: string;
      readonly labels?: Readonly<Record<string, string>>;
    }
  | { readonly type: 'prometheus' }
);

export interface ExtAuthzCommon {
  readonly timeoutMs: number;
  readonly failOpen: boolean;
  readonly statusOnError: number;
  readonly includeBody?: {
    readonly maxBytes: number;
    readonly allowPartial: boolean;
    readonly packAsBytes: boolean;
  };
  readonly clearRouteCache: boolean;
}

/** Mesh-wide settings of waypoints, one record. */
export interface WaypointMesh {
  readonly kind: 'waypoint-mesh';
  readonly name: 'mesh';
  readonly trustDomain: string;
  readonly trustDomainAliases: readonly string[];
  readonly rootNamespace: string;
  readonly meshId: string;
  readonly defaultRetry?: Retry;
  readonly accessLogFile: string;
  readonly accessLogFormat: string;
  readonly accessLogEncoding: 'TEXT' | 'JSON';
  readonly defaultProviders: {
    readonly accessLogging: readonly string[];
    readonly metrics: readonly string[];
    readonly tracing: readonly string[];
  };
  readonly connectTimeoutMs: number;
  readonly hboneIdleTimeoutMs: number;
  /** How paths are made canonical before anybody looks at them. Default: BASE. */
  readonly pathNormalization?: 'NONE' | 'BASE' | 'MERGE_SLASHES' | 'DECODE_AND_MERGE_SLASHES';
}
