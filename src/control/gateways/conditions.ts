// Conditions with the times at which they have last turned.
import type { Condition } from '#/kube/index.ts';

export interface Wanted {
  readonly type: string;
  readonly status: boolean;
  readonly reason: string;
  readonly message: string;
}

const seconds = (nowMs: number): string => new Date(nowMs).toISOString().replace(/\.[0-9]+Z$/, 'Z');

/** RFC 3339 with seconds; a condition that has not turned keeps its time. */
export function conditionsAt(
  wanted: readonly Wanted[],
  before: readonly Condition[] | undefined,
  observedGeneration: number | undefined,
  nowMs: number,
): readonly Condition[] {
  return wanted.map(({ type, status: holds, reason, message }) => {
    const status = holds ? 'True' : 'False';
    const old = before?.find((condition) => condition.type === type);
    return {
      type,
      status,
      reason,
      message,
      ...(observedGeneration === undefined ? {} : { observedGeneration }),
      lastTransitionTime:
        old?.status === status && old.lastTransitionTime !== undefined
          ? old.lastTransitionTime
          : seconds(nowMs),
    };
  });
}
