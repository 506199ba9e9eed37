// Runs a command in a pod and gives what it printed: for the tour, for tests and for benches.
import { run, type CommandResult } from './command.ts';
import { findPods, firstRunning } from './find-pod.ts';
import type { LabPaths } from './paths.ts';
import { execArgv } from './runtime/exec.ts';
import { join } from 'node:path';
import type { Pod } from '#/kube/index.ts';

export interface PodTarget {
  readonly namespace: string;
  /** POD, pod/POD, deploy/NAME, ds/NAME ... */
  readonly name: string;
  readonly node?: string;
  readonly container?: string;
}

/** Throws an Error if there is no such pod, or its container does not run. */
export async function execInPod(
  paths: LabPaths,
  target: PodTarget,
  argv: readonly string[],
  timeoutMs = 30_000,
): Promise<CommandResult & { readonly pod: Pod }> {
  const found = findPods(paths, target.namespace, target.name, target.node);
  const { stored, container } = firstRunning(paths, found, target.container);
  if (container.target === undefined)
    throw new Error(
      `container ${container.name} of pod ${target.namespace}/${stored.pod.metadata.name} does not run`,
    );
  const result = await run(execArgv(container.target, argv), { timeoutMs });
  return { ...result, pod: stored.pod };
}

/** Path of a pod's network namespace. */
export const podNetns = (paths: LabPaths, pod: Pod): string =>
  join(paths.netnsDir, `pod-${pod.metadata.uid}`);
