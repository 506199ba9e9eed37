// What a process has used, from /proc. For benchmarks, the lab's status and tests of leaks.
import { readFileSync } from 'node:fs';

export interface ProcessUsage {
  /** User and system time since its start, all threads; in steps of 10 ms. Children are not counted. */
  readonly cpuSeconds: number;
  readonly rssBytes: number;
}

/** /proc shows ticks of USER_HZ, which is 100 on every Linux that Node runs on. */
const ticksPerSecond = 100;

/** Undefined if there is no such process (any more). */
export function processUsage(pid: number): ProcessUsage | undefined {
  let stat: string;
  let status: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    status = readFileSync(`/proc/${pid}/status`, 'utf8');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ESRCH') return undefined;
    throw error;
  }
  // The name is in parentheses and may have spaces and parentheses itself; after it, state is field 3.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const ticks = Number(fields[14 - 3]) + Number(fields[15 - 3]);
  // A zombie has no memory, and no such line.
  const rss = /^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1] ?? '0';
  return { cpuSeconds: ticks / ticksPerSecond, rssBytes: Number(rss) * 1024 };
}
