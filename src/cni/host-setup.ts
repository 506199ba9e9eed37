// What is done to the node itself, rather than to a pod: the choice of nftables, and the host's rules, which are put in
// at the start and looked at again and again.
import { probeSets } from '#/capture/index.ts';
import { errorText } from '#/errors/index.ts';
import type { Clock, Logger } from '#/kit/index.ts';
import type { RunCommand } from '#/sys/index.ts';
import type { HostProbes } from './host-probes.ts';

const hostAttempts = { times: 10, pauseMs: 2000 };
const hostCheckMs = 60_000;

/** iptables rules of before a change of the setting act beside nftables ones until a reboot: then it stays iptables. */
export async function useNftables(wanted: boolean, run: RunCommand, log: Logger): Promise<boolean> {
  if (!wanted) return false;
  const sets = await run(['ipset', 'list', '-n']).catch(() => ({ stdout: '' }));
  if (Object.values(probeSets).some((name) => sets.stdout.split('\n').includes(name))) {
    log.warn(
      'NATIVE_NFTABLES is set, but iptables rules are in use on this node: nftables takes over at its next boot',
    );
    return false;
  }
  const nft = await run(['nft', '--json', 'list', 'tables']).catch((error: Error) => ({
    code: 1,
    stderr: error.message,
  }));
  if (nft.code === 0) return true;
  log.warn('NATIVE_NFTABLES is set, but nft cannot be used on this node: using iptables', {
    error: nft.stderr.trim(),
  });
  return false;
}

export async function withRetries(
  what: string,
  work: () => Promise<void>,
  clock: Clock,
  log: Logger,
  signal: AbortSignal,
): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (attempt === hostAttempts.times) throw error;
      log.warn(`${what}: ${errorText(error)}`, { attempt });
      await clock.sleep(hostAttempts.pauseMs, signal);
    }
  }
}

/** Other programs rewrite the host's rules: they are put right, not installed once and forgotten. */
export async function keepHostRules(
  probes: HostProbes,
  clock: Clock,
  log: Logger,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    try {
      await clock.sleep(hostCheckMs, signal);
    } catch {
      return;
    }
    await probes.install().catch((error) => log.warn(`host rules: ${errorText(error)}`));
  }
}
