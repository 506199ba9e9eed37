// What becomes of a request: the rules of HTTPRoute, GRPCRoute and VirtualService in one form, and TCP and TLS routes.
// One record per route object; it names the services (or the waypoint) that it is for, so that a change of one route
// is one small message.
import type { ServiceKey } from '../workload.ts';

/** What a route is attached to. */
export type RouteParent =
  | {
      readonly kind: 'service';
      readonly service: ServiceKey;
      /** Absent: every port. */ readonly port?: number;
    }
  | {
      readonly kind: 'waypoint';
      /** `ns/name` of the Gateway. */ readonly gateway: string;
      readonly port?: number;
    };

/** Absent fields do not restrict; the fields of a match AND, the matches of a rule OR. */
export interface HttpMatch {
  readonly path?: TextMatch | PathPrefix;
  readonly method?: TextMatch;
  readonly scheme?: TextMatch;
  readonly authority?: TextMatch;
  readonly headers?: readonly NamedMatch[];
  /** The request must not match any of them. */
  readonly withoutHeaders?: readonly NamedMatch[];
  readonly query?: readonly NamedMatch[];
  /** VirtualService: the path is compared without regard to case. */
  readonly ignorePathCase?: boolean;
  readonly port?: number;
}

export type TextMatch =
  | { readonly kind: 'exact' | 'prefix' | 'suffix'; readonly value: string }
  /** RE2 syntax, over the whole text. */
  | { readonly kind: 'regex'; readonly value: string }
  | { readonly kind: 'presence' };

/** Gateway API's PathPrefix: by whole path elements; `/a` matches `/a` and `/a/b`, not `/ab`. */
export interface PathPrefix {
  readonly kind: 'elements';
  readonly value: string;
}

export interface NamedMatch {
  /** Header names in lower case; query parameters as they are. */
  readonly name: string;
  readonly match: TextMatch;
}

export interface HeaderChange {
  readonly set?: readonly HeaderValue[];
  readonly add?: readonly HeaderValue[];
  /** Lower case. */
  readonly remove?: readonly string[];
}

export interface HeaderValue {
  readonly name: string;
  readonly value: string;
}

/** One destination of traffic: a service and port, or a subset of it. */
export interface Destination {
  readonly service: ServiceKey;
  readonly port: number;
  /** A subset of a DestinationRule. */
  readonly subset?: string;
}

export interface WeightedDestination {
  /** Absent: the reference is broken; its share of requests gets 500. */
  readonly destination?: Destination;
  /** Why there is no destination, for the log. */
  readonly broken?: string;
  readonly weight: number;
  readonly requestHeaders?: HeaderChange;
  readonly responseHeaders?: HeaderChange;
  readonly mirrors?: readonly Mirror[];
  readonly rewrite?: Rewrite;
}

export interface Mirror {
  readonly destination: Destination;
  /** 0 to 1. */
  readonly fraction: number;
}

export type PathRewrite =
  | { readonly kind: 'full'; readonly value: string }
  /** Replaces what the match's prefix matched. */
  | { readonly kind: 'prefix'; readonly value: string }
  | { readonly kind: 'regex'; readonly pattern: string; readonly substitution: string };

export interface Rewrite {
  readonly authority?: string;
  readonly path?: PathRewrite;
}

export interface Redirect {
  readonly status: 301 | 302 | 303 | 307 | 308;
  readonly scheme?: string;
  readonly hostname?: string;
  /** Absent: as Gateway API says (the scheme's own if the scheme changes, else the listener's). */
  readonly port?: number;
  readonly path?: PathRewrite;
}

export interface DirectResponse {
  readonly status: number;
  readonly body?: string;
  readonly headers?: readonly HeaderValue[];
}

export interface Retry {
  /** Besides the first try. */
  readonly attempts: number;
  readonly perTryTimeoutMs?: number;
  /** Envoy's names: connect-failure, refused-stream, unavailable, cancelled, 5xx, gateway-error, reset, retriable-4xx… */
  readonly on: readonly string[];
  readonly statuses: readonly number[];
  /** Of a response, for `retriable-headers`: any of them. */
  readonly headers?: readonly NamedMatch[];
  readonly backoffMs?: number;
  /** Try another endpoint than before, if there is one. */
  readonly avoidPrevious: boolean;
}

export interface Fault {
  readonly delay?: { readonly fraction: number; readonly ms: number };
  readonly abort?: { readonly fraction: number } & (
    | { readonly httpStatus: number }
    | { readonly grpcStatus: number }
  );
}

export interface Cors {
  readonly origins: readonly TextMatch[];
  readonly methods: readonly string[];
  readonly headers: readonly string[];
  readonly expose: readonly string[];
  readonly maxAgeSeconds?: number;
  readonly credentials?: boolean;
  /** Let a preflight of an origin that does not match go on to the destination. Default: it does. */
  readonly forwardUnmatched?: boolean;
}

export interface HttpRule {
  readonly name?: string;
  /** Empty: every request. */
  readonly matches: readonly HttpMatch[];
  readonly action:
    | { readonly kind: 'forward'; readonly destinations: readonly WeightedDestination[] }
    | { readonly kind: 'redirect'; readonly redirect: Redirect }
    | { readonly kind: 'respond'; readonly response: DirectResponse };
  readonly requestHeaders?: HeaderChange;
  readonly responseHeaders?: HeaderChange;
  readonly rewrite?: Rewrite;
  readonly mirrors?: readonly Mirror[];
  readonly cors?: Cors;
  readonly fault?: Fault;
  /** The whole request, retries included. Absent: no limit. */
  readonly timeoutMs?: number;
  /** Absent: the mesh's default. */
  readonly retry?: Retry;
}

/** Ties between routes: the older first, then by name. */
export interface RouteOrder {
  /** Milliseconds since the epoch; 0 if unknown. */
  readonly createdAt: number;
  readonly namespace: string;
  readonly name: string;
}

export interface HttpRoute {
  readonly kind: 'http-route';
  /** Unique: `<kind>/<ns>/<name>` of the object. */
  readonly name: string;
  readonly parents: readonly RouteParent[];
  /** Lower case, `*.` wildcards allowed. Empty: any. Only for parents of kind waypoint. */
  readonly hostnames: readonly string[];
  readonly order: RouteOrder;
  /** `specificity`: Gateway API's precedence over all routes of a parent. `listed`: VirtualService, first match wins. */
  readonly precedence: 'specificity' | 'listed';
  /** GRPCRoute takes only gRPC requests. */
  readonly protocol: 'http' | 'grpc';
  readonly rules: readonly HttpRule[];
}

export interface TcpRoute {
  readonly kind: 'tcp-route';
  readonly name: string;
  readonly parents: readonly RouteParent[];
  /** SNI names of a TLS route; empty for TCP. TLS routes come before TCP routes. */
  readonly sniHosts: readonly string[];
  readonly order: RouteOrder;
  readonly destinations: readonly WeightedDestination[];
}
