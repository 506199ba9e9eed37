// What only one replica does at a time: each duty under its own Lease, by upstream's names.
import { errorText } from '#/errors/index.ts';
import type { Logger } from '#/kit/index.ts';
import { LeaderElection, type KubeClient } from '#/kube/index.ts';

/** Starts the work; it must stop when the signal aborts. */
export type Duty = (leading: AbortSignal) => void;

export interface LeaderDutiesOptions {
  readonly client: KubeClient;
  readonly namespace: string;
  /** Unique per replica. */
  readonly identity: string;
  readonly log: Logger;
}

const untilAborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });

/** Campaigns for all duties until the signal aborts; resolves when the Leases are given back. */
export async function leadDuties(
  duties: Readonly<Record<string, Duty>>,
  options: LeaderDutiesOptions,
  signal: AbortSignal,
): Promise<void> {
  await Promise.all(
    Object.entries(duties).map(async ([name, duty]) => {
      const election = new LeaderElection({ ...options, name });
      try {
        await election.run(signal, (leading) => {
          duty(leading);
          return untilAborted(leading);
        });
      } catch (error) {
        // Proxies are served all the same; another replica may do the duty.
        options.log.error(`the election for ${name} has failed: ${errorText(error)}`);
      }
    }),
  );
}
