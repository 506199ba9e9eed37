// `aura lab down`: takes everything away that a lab may have made, whatever state it is in. It relies on no list that
// could be incomplete: processes by the lab's cgroup, namespaces and mounts by the lab's folder, and links, rules and
// routes end with the namespaces they are in.
import { existsSync, lstatSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { cgroupRoot, isPopulated, killCgroup, removeCgroup } from './cgroups.ts';
import { run } from './command.ts';
import { readLabConfig, takeLock } from './lab-state.ts';
import { isMounted, mounts, unmountTree } from './mounts.ts';
import type { LabPaths } from './paths.ts';
import { thisMachine } from './preflight.ts';

export interface DownOptions {
  readonly paths: LabPaths;
  readonly progress: (text: string) => void;
}

/** False if there was nothing. Throws an Error that names what could not be removed. */
export async function labDown(options: DownOptions): Promise<boolean> {
  const { paths, progress } = options;
  if (thisMachine.uid !== 0) throw new Error('a lab is removed by root: run this as root');
  const cgroup = join(cgroupRoot(), paths.cgroup);
  const there =
    existsSync(paths.config) ||
    existsSync(paths.marker) ||
    existsSync(cgroup) ||
    mounts().some(({ point }) => point.startsWith(`${paths.home}/`));
  if (!there) return false;
  using _lock = takeLock(paths, 'down');
  checkOurs(paths);
  if (isPopulated(cgroup)) progress('ending the programs');
  // By the lab's own process first: a kubelet that still runs would start what is ended here.
  killCgroup(join(cgroup, 'supervisor'));
  const deadline = Date.now() + 20_000;
  while (isPopulated(cgroup)) {
    // Again and again: a shell may have been between entering the group and starting its command.
    killCgroup(cgroup);
    if (Date.now() > deadline)
      throw new Error(
        `processes in ${cgroup} do not end: see cgroup.procs there, then run 'aura lab down' again`,
      );
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  progress('removing namespaces and mounts');
  await unmountTree(paths.run);
  for (let i = 0; !removeCgroup(cgroup); i++) {
    if (i > 200)
      throw new Error(`cannot remove ${cgroup}: a process has entered it, run 'aura lab down' again`);
    killCgroup(cgroup);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  // Namespaces end with their last process and mount, a moment later; nothing waits for them but the reader.
  removeHome(paths);
  return true;
}

/** A folder that is not a lab's, given as AURA_HOME by mistake, must not be emptied. */
function checkOurs(paths: LabPaths): void {
  readLabConfig(paths);
}

const made = [
  'lab.json',
  'lab.json.new',
  'supervisor.log',
  'supervisor.log.1',
  'kubeconfig',
  'node.kubeconfig',
  'run',
  'pods',
  'api',
  'apiserver',
  // Last: until then, the folder is a lab's.
  '.aura-lab',
];

function removeHome(paths: LabPaths): void {
  if (!existsSync(paths.config) && !existsSync(paths.marker)) return;
  if (isMounted(paths.run, 'tmpfs')) throw new Error(`${paths.run} is still mounted`);
  // On one file system only: a mount that was overlooked must not be emptied through its folder.
  const device = statSync(paths.home).dev;
  for (const name of made) {
    const path = join(paths.home, name);
    try {
      if (lstatSync(path).dev !== device) throw new Error(`${path} is a mount: unmount it first`);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') continue;
      throw error;
    }
    rmSync(path, { recursive: true, force: true });
  }
  // The lock goes with the caller's; the folder goes if nothing of the user's is in it.
  if (readdirSync(paths.home).every((name) => name === 'lock'))
    rmSync(paths.home, { recursive: true, force: true });
}

/** Names of network namespaces' processes that still carry this lab's mark; for tests and for `status`. */
export async function leftovers(paths: LabPaths): Promise<string[]> {
  const left: string[] = [];
  const cgroup = join(cgroupRoot(), paths.cgroup);
  if (existsSync(cgroup)) left.push(`cgroup ${cgroup}`);
  for (const { point } of mounts()) if (point.startsWith(`${paths.home}/`)) left.push(`mount ${point}`);
  const { stdout } = await run(['lsns', '-t', 'net', '-n', '-o', 'NSFS']);
  for (const line of stdout.split('\n'))
    if (line.includes(`${paths.home}/`)) left.push(`namespace ${line.trim()}`);
  return left;
}
