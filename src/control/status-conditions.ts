// Conditions as they stand in an object, and what it takes to say something else.
import type { WantedCondition } from '#/translate/index.ts';

export interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason?: string;
  readonly message?: string;
  readonly observedGeneration?: number;
  readonly lastTransitionTime?: string;
}

export function currentConditions(value: unknown): readonly Condition[] {
  return Array.isArray(value)
    ? value.filter((item): item is Condition => typeof (item as Condition | null)?.type === 'string')
    : [];
}

const statusText = (condition: WantedCondition): string => (condition.status ? 'True' : 'False');

/** True if what stands there is what is wanted; both absent counts. */
export function settledCondition(want: WantedCondition | undefined, have: Condition | undefined): boolean {
  if (want === undefined || have === undefined) return want === undefined && have === undefined;
  return (
    have.status === statusText(want) &&
    have.reason === want.reason &&
    have.message === want.message &&
    (have.observedGeneration ?? 0) === (want.observedGeneration ?? 0)
  );
}

/** As it is written; the time of the last transition stays while the status does. `now`: milliseconds. */
export function conditionOf(wanted: WantedCondition, current: readonly Condition[], now: number): Condition {
  const status = statusText(wanted);
  const before = current.find(({ type }) => type === wanted.type);
  return {
    type: wanted.type,
    status,
    reason: wanted.reason,
    message: wanted.message,
    ...(wanted.observedGeneration === undefined ? {} : { observedGeneration: wanted.observedGeneration }),
    lastTransitionTime:
      before?.status === status && before.lastTransitionTime !== undefined
        ? before.lastTransitionTime
        : new Date(now).toISOString().replace(/\.[0-9]+Z$/, 'Z'),
  };
}
