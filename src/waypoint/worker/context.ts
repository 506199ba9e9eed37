// What the parts of a data worker share.
import type { Clock, Logger } from '#/kit/index.ts';
import type { Identity } from '#/model/index.ts';
import type { WorkerCertificates } from '#/program/index.ts';
import type { MirrorView } from '#/state/index.ts';
import type { Kernel } from '#/sys/index.ts';
import type { WaypointConfig } from '../config.ts';
import type { WaypointSelf } from './resolve-target.ts';

export interface WorkerContext {
  readonly config: WaypointConfig;
  readonly self: WaypointSelf;
  /** Who the waypoint is to its peers. */
  readonly identity: Identity;
  readonly view: MirrorView;
  readonly certificates: WorkerCertificates;
  readonly kernel: Kernel;
  readonly log: Logger;
  readonly clock: Clock;
  /** Raised when no new connections are taken. */
  readonly closing: AbortSignal;
}

/** How long a connection waits for what the main thread knows. */
const lookUpMs = 5000;

/** Waits until the view knows the keys; rejects when the main thread does not answer in time. */
export async function lookUp(
  { view, clock }: Pick<WorkerContext, 'view' | 'clock'>,
  keys: Parameters<MirrorView['ask']>[0],
): Promise<void> {
  const late = Promise.withResolvers<never>();
  using _timer = clock.after(lookUpMs, () =>
    late.reject(new Error(`no answer to ${keys.join(', ')} within ${lookUpMs / 1000} s`)),
  );
  await Promise.race([view.ask(keys), late.promise]);
}

/** Resolves when the mesh has changed so that `done` is true, or the time is over. */
export async function changed(
  { view, clock }: Pick<WorkerContext, 'view' | 'clock'>,
  ms: number,
  done: () => boolean,
): Promise<void> {
  const waiting = Promise.withResolvers<void>();
  using _timer = clock.after(ms, waiting.resolve);
  using _changes = view.onChange(() => {
    if (done()) waiting.resolve();
  });
  await waiting.promise;
}
