// Injected faults. Delay and abort are drawn apart, as Envoy does: a request may suffer both, the delay first.
import type { Fault } from '#/model/index.ts';

export interface InjectedFault {
  readonly delayMs?: number;
  readonly abort?: { readonly httpStatus: number; readonly grpcStatus?: number };
}

const drawn = (fraction: number, random: () => number): boolean =>
  fraction >= 1 || (fraction > 0 && random() < fraction);

/** Undefined: this request is spared. A gRPC abort is HTTP 200 with a status of its own. */
export function drawFault(fault: Fault, random: () => number): InjectedFault | undefined {
  const delayMs = fault.delay && drawn(fault.delay.fraction, random) ? fault.delay.ms : undefined;
  const abort = fault.abort && drawn(fault.abort.fraction, random) ? fault.abort : undefined;
  if (delayMs === undefined && abort === undefined) return undefined;
  return {
    ...(delayMs !== undefined && { delayMs }),
    ...(abort && {
      abort:
        'grpcStatus' in abort
          ? { httpStatus: 200, grpcStatus: abort.grpcStatus }
          : { httpStatus: abort.httpStatus },
    }),
  };
}
