// Deadlines of a request. x-envoy-upstream-rq-timeout-ms and its kin are not read: whoever can reach a waypoint could
// otherwise lift the operator's limit or lower a neighbour's. grpc-timeout is part of gRPC and can only shorten.
import type { RequestFacts } from '#/model/index.ts';

const units: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1000,
  m: 1,
  u: 0.001,
  n: 0.000_001,
};

/** Milliseconds, rounded up; undefined if the header is none (at most 8 digits and a unit). */
export function parseGrpcTimeout(value: string): number | undefined {
  if (value.length < 2 || value.length > 9) return undefined;
  const unit = units[value[value.length - 1] as string];
  if (unit === undefined) return undefined;
  let amount = 0;
  for (let i = 0; i < value.length - 1; i++) {
    const digit = value.charCodeAt(i) - 48;
    if (digit < 0 || digit > 9) return undefined;
    amount = amount * 10 + digit;
  }
  return Math.ceil(amount * unit);
}

/**
 * The deadline of the whole request in milliseconds; undefined: none. A gRPC client's own deadline applies where it is
 * shorter than the route's. Zero means none in both, as upstream.
 */
export function requestTimeout(
  routeTimeoutMs: number | undefined,
  request: RequestFacts,
): number | undefined {
  const limit = routeTimeoutMs !== undefined && routeTimeoutMs > 0 ? routeTimeoutMs : undefined;
  if (!request.grpc) return limit;
  const header = request.headers.get('grpc-timeout');
  const asked = header === undefined ? undefined : parseGrpcTimeout(header);
  if (asked === undefined || asked === 0) return limit;
  return limit === undefined ? asked : Math.min(limit, asked);
}

/** Of one try, given what is left of the whole; undefined: none. */
export function tryTimeout(
  perTryMs: number | undefined,
  remainingMs: number | undefined,
): number | undefined {
  const own = perTryMs !== undefined && perTryMs > 0 ? perTryMs : undefined;
  if (own === undefined || remainingMs === undefined) return own ?? remainingMs;
  return Math.min(own, remainingMs);
}
