// A pod's network: a namespace with a link and addresses from the node's plugins, held by a bind mount, and one
// sleeping process, so that an agent that looks through /proc finds the namespace while no container runs.
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { isPopulated, makeCgroup } from '../cgroups.ts';
import { shellQuote } from '../command.ts';
import { makeNetns, removeNetns } from '../network.ts';
import { isMounted } from '../mounts.ts';
import {
  readNetworkConfig,
  type Attachment,
  type NetworkConfig,
  type NetworkPlugins,
  type NetworkResult,
} from './network-plugins.ts';

export interface SandboxPlan {
  readonly pod: { readonly namespace: string; readonly name: string; readonly uid: string };
  /** Path for the bind mount of the namespace. */
  readonly netns: string;
  /** State file: what was attached, kept for the DEL that must match. */
  readonly record: string;
  readonly cgroup: string;
  readonly hostname: string;
}

interface SandboxRecord {
  readonly config: NetworkConfig;
  readonly result?: NetworkResult;
}

/** A file that is there whole or not at all. */
export function writeWhole(path: string, text: string, mode = 0o644): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(`${path}.new`, text, { mode });
  renameSync(`${path}.new`, path);
}

function readRecord(path: string): SandboxRecord | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as SandboxRecord;
  } catch {
    return undefined;
  }
}

const attachmentOf = (plan: SandboxPlan): Attachment => ({
  containerId: plan.pod.uid.replaceAll('-', ''),
  netns: plan.netns,
  pod: plan.pod,
});

/** Addresses without their prefix lengths, in the order the plugins gave them. */
const addressesOf = (result: NetworkResult): string[] =>
  (result.ips ?? []).map(({ address }) => address.split('/')[0] as string);

/**
 * Makes the pod's network, or finds the one that is there. Returns its addresses. When a plugin refuses, what
 * was made is undone and the plugin's error is thrown: the caller tries again later.
 */
export async function ensureSandbox(
  plan: SandboxPlan,
  plugins: NetworkPlugins,
  confDir: string,
): Promise<string[]> {
  const known = readRecord(plan.record);
  if (known?.result !== undefined && isMounted(plan.netns, 'nsfs')) {
    holdNetns(plan);
    return addressesOf(known.result);
  }
  if (known !== undefined || existsSync(plan.netns)) await removeSandbox(plan, plugins).catch(() => {});
  const config = readNetworkConfig(confDir);
  // Before the first plugin runs: a lab that dies in between finds what to undo.
  writeWhole(plan.record, JSON.stringify({ config } satisfies SandboxRecord));
  await makeNetns(plan.netns);
  holdNetns(plan);
  try {
    const result = await plugins.add(config, attachmentOf(plan));
    writeWhole(plan.record, JSON.stringify({ config, result } satisfies SandboxRecord));
    return addressesOf(result);
  } catch (error) {
    await removeSandbox(plan, plugins).catch(() => {});
    throw error;
  }
}

/** Gives the addresses back and removes the namespace. Safe to repeat. Throws if a plugin could not undo. */
export async function removeSandbox(plan: SandboxPlan, plugins: NetworkPlugins): Promise<void> {
  const known = readRecord(plan.record);
  if (known !== undefined && isMounted(plan.netns, 'nsfs'))
    await plugins.remove(known.config, attachmentOf(plan), known.result);
  await removeNetns(plan.netns);
  rmSync(plan.record, { force: true });
}

function holdNetns(plan: SandboxPlan): void {
  const cgroup = join(plan.cgroup, 'sandbox');
  if (isPopulated(cgroup)) return;
  makeCgroup(cgroup);
  const script = `echo $$ > ${shellQuote(`${cgroup}/cgroup.procs`)} && exec nsenter ${shellQuote(`--net=${plan.netns}`)} -- sleep infinity`;
  const child = spawn('/bin/sh', ['-c', script], { detached: true, stdio: 'ignore', cwd: '/' });
  child.on('error', () => {});
  child.unref();
}
