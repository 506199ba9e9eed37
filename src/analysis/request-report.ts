// The shape of what a waypoint does with a request or a connection: plain data, for people and for `-o json`.
import type { Place } from './document.ts';
import type { UnaskedPolicy } from './explain-policies.ts';
import type { HttpPolicyReport } from './request-policies.ts';
import type { RouteReport } from './request-routes.ts';
import type { AuthenticationReport } from './request-token.ts';
import type { AskedRequest } from './request-wish.ts';

/** One of the ways that a request may go on. */
export interface RequestOutcome {
  readonly kind: 'forward' | 'redirect' | 'respond' | 'refuse';
  /** Of the requests, 0 to 1. */
  readonly share: number;
  /** `demo/reviews.demo.svc.cluster.local port 80 subset v2`; absent: the workload that was addressed. */
  readonly destination?: string;
  readonly status?: number;
  readonly location?: string;
  /** What is done on the way, a phrase each: headers, rewrites, timeout, retries, mirrors, settings. */
  readonly does: readonly string[];
  /** The steps of the plan. */
  readonly because: readonly string[];
}

export interface AppliedObject {
  readonly kind: string;
  /** `ns/name` */
  readonly name: string;
  readonly does: readonly string[];
  readonly place: Place;
}

export interface RequestReport {
  /** `ns/name` of the Gateway. */
  readonly gateway: string;
  /** `tcp`: only what can be told without HTTP. */
  readonly protocol: 'http' | 'tcp';
  readonly protocolBecause: string;
  readonly request?: AskedRequest;
  readonly authentications: readonly AuthenticationReport[];
  /** Of the token that is given. */
  readonly tokenNote?: string;
  /** In the order in which they are asked. */
  readonly policies: readonly HttpPolicyReport[];
  readonly unaskedPolicies: readonly UnaskedPolicy[];
  /** Providers that have to agree. */
  readonly asks: readonly string[];
  /** TrafficPolicies, Extensions, DestinationRules and Telemetry that apply. */
  readonly applied: readonly AppliedObject[];
  readonly verdict: 'allowed' | 'refused';
  readonly code?: string;
  readonly reason: string;
  /** The policy that decided. */
  readonly by?: string;
  /** Those of the service, then those of the waypoint. Where the service has some, the others do not count. */
  readonly routes: readonly RouteReport[];
  readonly faults: readonly string[];
  /** Empty if it is refused. */
  readonly outcomes: readonly RequestOutcome[];
}
