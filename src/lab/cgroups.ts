// The lab's tree of cgroups (version 2). No controllers are used: the tree is there so that every process of a
// pod, of a node or of the whole lab can be found and ended at once, and a pod is found by its UID.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { mounts } from './mounts.ts';

/** Where cgroup2 is mounted: /sys/fs/cgroup, or /sys/fs/cgroup/unified beside version 1. */
export function cgroupRoot(): string {
  const mount = mounts().find(({ type }) => type === 'cgroup2');
  if (mount === undefined)
    throw new Error(
      'no cgroup2 is mounted, which the lab needs to end processes: mount -t cgroup2 none /sys/fs/cgroup',
    );
  return mount.point;
}

export function makeCgroup(path: string): void {
  mkdirSync(path, { recursive: true });
}

/** True while a process lives in the group or below. */
export function isPopulated(path: string): boolean {
  try {
    return /^populated 1$/m.test(readFileSync(join(path, 'cgroup.events'), 'utf8'));
  } catch {
    return false;
  }
}

export function pidsIn(path: string): number[] {
  try {
    return readFileSync(join(path, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean).map(Number);
  } catch {
    return [];
  }
}

/** SIGKILL to every process in the group and below (Linux 5.14 and newer; else one by one). */
export function killCgroup(path: string): void {
  if (!existsSync(path)) return;
  try {
    writeFileSync(join(path, 'cgroup.kill'), '1');
  } catch {
    for (const child of subgroups(path)) killCgroup(child);
    for (const pid of pidsIn(path)) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It has ended by itself.
      }
    }
  }
}

function subgroups(path: string): string[] {
  try {
    return readdirSync(path, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => join(path, entry.name));
  } catch {
    return [];
  }
}

/** Removes an empty group and the groups below it. False while a process is left. */
export function removeCgroup(path: string): boolean {
  if (!existsSync(path)) return true;
  for (const child of subgroups(path)) removeCgroup(child);
  try {
    rmdirSync(path);
    return true;
  } catch {
    return !existsSync(path);
  }
}
