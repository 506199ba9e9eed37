// How long a connection without HTTP may last, and how long it may say nothing.
import type { Clock } from '#/kit/index.ts';
import type { ConnectionLimits } from '#/model/index.ts';

/** Envoy's default for TCP. */
const defaultIdleMs = 3_600_000;

/** Calls `end` once, with Envoy's word for the reason, unless disposed before. */
export function watchFlow(
  clock: Clock,
  flow: { readonly forth: number; readonly back: number },
  limits: Pick<ConnectionLimits, 'tcpIdleTimeoutMs' | 'maxConnectionDurationMs'>,
  end: (why: string) => void,
): Disposable {
  const timers = new Set<Disposable>();
  const idleMs = limits.tcpIdleTimeoutMs ?? defaultIdleMs;
  let over = false;
  const stop = (): void => {
    over = true;
    for (const timer of timers) timer[Symbol.dispose]();
  };
  const finish = (why: string): void => {
    if (over) return;
    stop();
    end(why);
  };
  let seen = flow.forth + flow.back;
  const look = (): void => {
    const timer = clock.after(idleMs, () => {
      timers.delete(timer);
      const now = flow.forth + flow.back;
      if (now === seen) finish('idle_timeout');
      seen = now;
      if (!over) look();
    });
    timers.add(timer);
  };
  if (idleMs > 0) look();
  const { maxConnectionDurationMs = 0 } = limits;
  if (maxConnectionDurationMs > 0)
    timers.add(clock.after(maxConnectionDurationMs, () => finish('max_connection_duration_reached')));
  return { [Symbol.dispose]: stop };
}
