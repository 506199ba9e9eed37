// Why a request or connection ended as it did, in the short names that access logs and the response_flags label print.

/** Short and long names in the order of Envoy's bits, which `response.flags` of CEL is made of. */
const table = [
  ['LH', 'FailedLocalHealthCheck'],
  ['UH', 'NoHealthyUpstream'],
  ['UT', 'UpstreamRequestTimeout'],
  ['LR', 'LocalReset'],
  ['UR', 'UpstreamRemoteReset'],
  ['UF', 'UpstreamConnectionFailure'],
  ['UC', 'UpstreamConnectionTermination'],
  ['UO', 'UpstreamOverflow'],
  ['NR', 'NoRouteFound'],
  ['DI', 'DelayInjected'],
  ['FI', 'FaultInjected'],
  ['RL', 'RateLimited'],
  ['UAEX', 'UnauthorizedExternalService'],
  ['RLSE', 'RateLimitServiceError'],
  ['DC', 'DownstreamConnectionTermination'],
  ['URX', 'UpstreamRetryLimitExceeded'],
  ['SI', 'StreamIdleTimeout'],
  ['IH', 'InvalidEnvoyRequestHeaders'],
  ['DPE', 'DownstreamProtocolError'],
  ['UMSDR', 'UpstreamMaxStreamDurationReached'],
  ['RFCF', 'ResponseFromCacheFilter'],
  ['NFCF', 'NoFilterConfigFound'],
  ['DT', 'DurationTimeout'],
  ['UPE', 'UpstreamProtocolError'],
  ['NC', 'NoClusterFound'],
  ['OM', 'OverloadManagerTerminated'],
  ['DF', 'DnsResolutionFailed'],
  ['DO', 'DropOverload'],
  ['DR', 'DownstreamRemoteReset'],
  ['UDO', 'UnconditionalDropOverload'],
] as const;

export type HttpResponseFlag = (typeof table)[number][0];

const longNames = new Map<HttpResponseFlag, string>(table);
const bits = new Map<HttpResponseFlag, number>(table.map(([flag], index) => [flag, 2 ** index]));

/** Joined with commas; `-` for none. */
export function flagsText(flags: readonly HttpResponseFlag[]): string {
  if (flags.length === 0) return '-';
  return flags.length === 1 ? (flags[0] as string) : flags.join(',');
}

export const longFlagsText = (flags: readonly HttpResponseFlag[]): string =>
  flags.length === 0 ? '-' : flags.map((flag) => longNames.get(flag)).join(',');

/** The number that CEL sees. */
export const flagBits = (flags: readonly HttpResponseFlag[]): number =>
  flags.reduce((sum, flag) => sum + (bits.get(flag) ?? 0), 0);
