// The machine's table of mounts: what lies below a folder, and how to take it away.
import { readFileSync } from 'node:fs';
import { run } from './command.ts';

export interface Mount {
  readonly point: string;
  readonly type: string;
  readonly shared: boolean;
}

/** Parses /proc/PID/mountinfo (proc(5)); octal escapes in paths are undone. */
export function parseMountinfo(text: string): Mount[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const fields = line.split(' ');
      const divider = fields.indexOf('-');
      const point = (fields[4] ?? '').replace(/\\([0-7]{3})/g, (_, octal: string) =>
        String.fromCharCode(Number.parseInt(octal, 8)),
      );
      return {
        point,
        type: fields[divider + 1] ?? '',
        shared: fields.slice(6, divider).some((field) => field.startsWith('shared:')),
      };
    });
}

export function mounts(): Mount[] {
  return parseMountinfo(readFileSync('/proc/self/mountinfo', 'utf8'));
}

export const isMounted = (point: string, type: string): boolean =>
  mounts().some((mount) => mount.point === point && mount.type === type);

/** Takes away every mount at or below `folder`, the newest first. Throws if one stays. */
export async function unmountTree(folder: string): Promise<number> {
  let count = 0;
  for (let round = 0; round < 5; round++) {
    const inside = mounts().filter(({ point }) => point === folder || point.startsWith(`${folder}/`));
    if (inside.length === 0) return count;
    // Many at once: a lab has one mount per pod. Lazy: a process in another mount namespace must not keep it.
    for (let i = inside.length; i > 0; i -= 50) {
      const points = inside.slice(Math.max(0, i - 50), i).map(({ point }) => point);
      await run(['umount', '--lazy', ...points.reverse()]);
      count += points.length;
    }
  }
  const left = mounts().filter(({ point }) => point.startsWith(folder));
  if (left.length > 0)
    throw new Error(
      `cannot unmount ${left.map(({ point }) => point).join(', ')}: see 'fuser -m' for who uses it`,
    );
  return count;
}
