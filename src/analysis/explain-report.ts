// The shape of an explanation: plain data, for people and for `-o json`.
import type { ProxyState, Difference } from './explain-differences.ts';
import type { PartyReport } from './explain-party.ts';
import type { PolicyReport, UnaskedPolicy } from './explain-policies.ts';
import type { RequestOutcome, RequestReport } from './request-report.ts';
import type { RequestWish } from './request-wish.ts';
import type { Party } from './target.ts';
import type { WaypointPolicy } from './waypoint-policies.ts';

export interface ExplainRequest {
  readonly source: Party;
  readonly destination: Party;
  readonly port: number;
  /** What a waypoint on the way would be asked for; what is not said is assumed. */
  readonly http?: RequestWish;
  /** State of the proxies, if the control plane could be asked. */
  readonly proxies?: readonly ProxyState[];
  /** Why it could not. */
  readonly proxiesUnknown?: string;
}

/** What happens to the connection at one proxy, or where there is none. */
export interface HopReport {
  readonly at: 'client' | 'waypoint' | 'gateway' | 'destination';
  readonly who: string;
  readonly node?: string;
  readonly decision:
    | 'direct'
    | 'passthrough'
    | 'hbone'
    | 'double-hbone'
    | 'deliver'
    | 'terminate'
    | 'uncaptured'
    /** A waypoint answers by itself. */
    | 'respond'
    | 'reject';
  readonly nextHop?: string;
  /** `:authority` of the CONNECT. */
  readonly authority?: string;
  /** Who may answer there. */
  readonly expects?: readonly string[];
  /** Who the client is to this hop; absent for plain text. */
  readonly peerIdentity?: string;
  readonly because: readonly string[];
  readonly code?: string;
  readonly reason?: string;
  /** The policies of layer 4 that are asked here. Absent: none is asked at this hop. */
  readonly policies?: readonly PolicyReport[];
  readonly unasked?: readonly UnaskedPolicy[];
  /** Policies that a waypoint checks for each request. */
  readonly requestPolicies?: readonly WaypointPolicy[];
  /** What a waypoint makes of the request or the connection. */
  readonly request?: RequestReport;
  /** Which of its ways this path takes. */
  readonly outcome?: RequestOutcome;
}

export interface PathReport {
  /** Endpoints for which it is all the same. */
  readonly endpoints: readonly string[];
  readonly verdict: 'allowed' | 'refused';
  readonly code?: string;
  readonly reason: string;
  /** The policy that decided, if one did. */
  readonly by?: string;
  /** Of the requests at a waypoint, 0 to 1. */
  readonly share?: number;
  /** From end to end: all under mutual TLS, none, or in part. */
  readonly security: 'mtls' | 'plain' | 'partly';
  readonly hops: readonly HopReport[];
}

export interface ConnectionExplanation {
  readonly source: PartyReport;
  readonly destination: PartyReport & { readonly port: number };
  /** `depends`: on which endpoint or waypoint it goes to. */
  readonly verdict: 'allowed' | 'refused' | 'depends';
  readonly paths: readonly PathReport[];
  /** Set if nobody on the way looks at the request that is asked about. */
  readonly requestNote?: string;
  /** What would change the verdict. */
  readonly changes: readonly string[];
  /** Where the live connection would differ from this. */
  readonly differences: readonly Difference[];
  /** What was taken for granted because files do not tell it. */
  readonly assumed: readonly string[];
}
