// How requests reach a service: the DestinationRule as the waypoint applies it, with defaults left out.
import type { Locality, ServiceKey } from '../workload.ts';

export type Balancing =
  | { readonly kind: 'least-request' | 'random' | 'round-robin' | 'passthrough' }
  | ({
      readonly kind: 'hash';
      readonly ring: 'ring-hash' | 'maglev';
      readonly minimumRingSize: number;
    } & HashBy);

export interface HashBy {
  readonly by:
    | { readonly kind: 'header' | 'query'; readonly name: string }
    | {
        readonly kind: 'cookie';
        readonly name: string;
        readonly path?: string;
        /** Absent: a cookie that is missing is not made. 0: a session cookie. */
        readonly ttlSeconds?: number;
        readonly attributes?: readonly { readonly name: string; readonly value?: string }[];
      }
    | { readonly kind: 'source-ip' };
}

export interface LocalityBalancing {
  readonly enabled: boolean;
  /** Share of traffic by locality of the client (`region/zone/subzone`, `*` at the end). */
  readonly distribute?: readonly {
    readonly from: string;
    readonly to: readonly { readonly locality: string; readonly weight: number }[];
  }[];
  readonly failover?: readonly { readonly from: string; readonly to: string }[];
  /** Workload labels in order of preference; compared as far as the control plane tells labels. */
  readonly failoverPriority?: readonly string[];
}

/** Counts and milliseconds; absent: no limit, or the default of the waypoint. */
export interface ConnectionLimits {
  readonly maxConnections?: number;
  readonly connectTimeoutMs?: number;
  readonly tcpKeepalive?: {
    readonly probes?: number;
    readonly timeMs?: number;
    readonly intervalMs?: number;
  };
  readonly maxConnectionDurationMs?: number;
  readonly tcpIdleTimeoutMs?: number;
  readonly maxPendingRequests?: number;
  readonly maxRequests?: number;
  readonly maxRequestsPerConnection?: number;
  readonly maxRetries?: number;
  readonly idleTimeoutMs?: number;
  readonly upgradeToHttp2?: 'DEFAULT' | 'DO_NOT_UPGRADE' | 'UPGRADE';
  readonly useClientProtocol?: boolean;
  readonly maxConcurrentStreams?: number;
  readonly http2Keepalive?: { readonly intervalMs: number; readonly timeoutMs: number };
}

export interface OutlierDetection {
  /** Of 5xx answers and failures; 0: off. */
  readonly consecutive5xx?: number;
  /** Of 502, 503, 504; 0: off. */
  readonly consecutiveGatewayErrors?: number;
  readonly splitLocalOriginErrors?: boolean;
  readonly consecutiveLocalOriginFailures?: number;
  /** Statuses that count as errors instead of 5xx. */
  readonly errorCodes?: readonly number[];
  readonly intervalMs: number;
  readonly baseEjectionMs: number;
  /** 0 to 100. */
  readonly maxEjectionPercent: number;
  readonly minHealthPercent: number;
}

export interface OriginationTls {
  readonly mode: 'SIMPLE' | 'MUTUAL';
  readonly sni?: string;
  readonly subjectAltNames: readonly string[];
  /** PEM, already read by the control plane from the Secret or ConfigMap. Absent: the system's roots. */
  readonly caPem?: string;
  readonly certificatePem?: string;
  readonly keyPem?: string;
  readonly insecureSkipVerify: boolean;
}

export interface TrafficSettings {
  readonly balancing?: Balancing;
  readonly locality?: LocalityBalancing;
  readonly warmup?: {
    readonly durationMs: number;
    readonly minimumPercent: number;
    readonly aggression: number;
  };
  readonly limits?: ConnectionLimits;
  readonly outliers?: OutlierDetection;
  readonly tls?: OriginationTls;
  /** PROXY protocol toward the endpoint. */
  readonly proxyProtocol?: 'V1' | 'V2';
  readonly retryBudget?: { readonly percent: number; readonly minRetryConcurrency: number };
}

export interface Subset {
  readonly name: string;
  /** Replace those of the service field by field. */
  readonly settings?: TrafficSettings;
  /** Replace the subset's own field by field for the port. */
  readonly ports?: readonly { readonly port: number; readonly settings: TrafficSettings }[];
}

export interface DestinationPolicy {
  readonly kind: 'destination-policy';
  /** `<ns>/<name>` of the DestinationRule and the service's key. */
  readonly name: string;
  readonly service: ServiceKey;
  readonly settings: TrafficSettings;
  /** Replace `settings` field by field for the port. */
  readonly ports: readonly { readonly port: number; readonly settings: TrafficSettings }[];
  readonly subsets: readonly Subset[];
}

/** The endpoints of a subset, since the records of workloads carry no labels. */
export interface SubsetMembers {
  readonly kind: 'subset-members';
  /** `<service key>/<subset>`. */
  readonly name: string;
  readonly service: ServiceKey;
  readonly subset: string;
  /** Sorted. */
  readonly workloads: readonly string[];
}

export const localityText = ({ region, zone, subzone }: Locality): string => `${region}/${zone}/${subzone}`;
