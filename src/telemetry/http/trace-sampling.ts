// Which requests are traced.
import { requestIdShare } from './request-ids.ts';
import type { IncomingTrace } from './trace-context.ts';

/** Istio's default, in percent. */
export const defaultSamplingPercent = 1;

export interface SamplingInput {
  readonly incoming: IncomingTrace;
  /** 0 to 100. */
  readonly percent: number;
  readonly requestId: string | undefined;
  /** Every hop then comes to the same decision, without being told. */
  readonly byRequestId: boolean;
  /** In [0, 1). */
  readonly random: () => number;
}

/** The parent's decision stands; a trace that begins here is sampled by percentage. */
export function decideSampling({
  incoming,
  percent,
  requestId,
  byRequestId,
  random,
}: SamplingInput): boolean {
  if (incoming.sampled !== undefined) return incoming.sampled;
  if (percent >= 100) return true;
  if (!(percent > 0)) return false;
  const share = byRequestId && requestId !== undefined ? requestIdShare(requestId) : undefined;
  return (share ?? random() * 10_000) < percent * 100;
}
