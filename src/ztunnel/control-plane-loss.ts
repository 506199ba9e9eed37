// Says when a control plane that was there is gone: once each time, and never of one that was not reached yet, of
// which the client tells at each attempt.
import type { Logger } from '#/kit/index.ts';
import type { ClientState } from '#/xds/index.ts';

export function controlPlaneLoss(
  log: Logger,
  address: string,
): (state: ClientState, reason?: string) => void {
  let connected = false;
  return (state, reason) => {
    const lost = connected && state === 'disconnected';
    if (state !== 'connecting') connected = state === 'connected';
    if (lost)
      log.warn('the control plane was lost; the proxy goes on with what it knows', {
        address,
        error: reason,
      });
  };
}
