// The lab's state file and lock. The configuration is written before anything is made, so that `down` knows the
// shape of a lab that was never finished.
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { basename } from 'node:path';
import type { LabConfig } from './lab-config.ts';
import type { LabPaths } from './paths.ts';
import { writeWhole } from './runtime/sandbox.ts';

/** Undefined if there is no lab. Throws if the file is not one of ours. */
export function readLabConfig(paths: LabPaths): LabConfig | undefined {
  let text: string;
  try {
    text = readFileSync(paths.config, 'utf8');
  } catch {
    return undefined;
  }
  try {
    const value = JSON.parse(text) as LabConfig;
    if (value.version === 1) return value;
  } catch {
    // Said below.
  }
  throw new Error(`${paths.config} is not a lab's state file: remove it, then run 'aura lab down'`);
}

/** Throws an Error if the folder holds somebody else's files: `down` must never meet them. */
export function claimHome(paths: LabPaths): void {
  mkdirSync(paths.home, { recursive: true, mode: 0o700 });
  if (existsSync(paths.marker) || existsSync(paths.config)) return;
  const others = readdirSync(paths.home).filter((name) => name !== basename(paths.lock));
  if (others.length > 0)
    throw new Error(
      `AURA_HOME=${paths.home} has files that are not a lab's (${others.slice(0, 3).join(', ')}): choose a new or empty folder`,
    );
}

export function writeLabConfig(paths: LabPaths, config: LabConfig): void {
  mkdirSync(paths.home, { recursive: true, mode: 0o700 });
  writeFileSync(paths.marker, '');
  writeWhole(paths.config, `${JSON.stringify(config, null, 2)}\n`);
}

/** When a process started, in clock ticks since boot: with its pid, it names a process for good. */
export function processStart(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    return undefined;
  }
}

/**
 * Keeps a second `up` or `down` of the same lab out while one works. Taken over from a process that died. Throws
 * an Error that names the holder.
 */
export function takeLock(paths: LabPaths, purpose: string): Disposable {
  mkdirSync(paths.home, { recursive: true, mode: 0o700 });
  for (let attempt = 0; ; attempt++) {
    try {
      const fd = openSync(paths.lock, 'wx');
      writeSync(fd, `${process.pid} ${processStart(process.pid)} ${purpose}\n`);
      closeSync(fd);
      return { [Symbol.dispose]: () => rmSync(paths.lock, { force: true }) };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    let holder = '';
    try {
      holder = readFileSync(paths.lock, 'utf8').trim();
    } catch {
      continue;
    }
    const [pid = '', start = '', ...what] = holder.split(' ');
    if (pid !== '' && processStart(Number(pid)) === start)
      throw new Error(
        `'aura lab ${what.join(' ')}' (pid ${pid}) is working on this lab: wait for it, or end it`,
      );
    // Its process is gone. Between two that notice at once, the second finds the first one's file.
    if (attempt > 3) throw new Error(`cannot take ${paths.lock}: remove it`);
    rmSync(paths.lock, { force: true });
  }
}
