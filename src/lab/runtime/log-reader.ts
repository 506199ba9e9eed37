// Reads a container's log: the last lines, and what is appended from then on. Copes with a log that was rotated
// away under the reader.
import { closeSync, existsSync, fstatSync, openSync, readSync, watch } from 'node:fs';
import { dirname } from 'node:path';

const chunkSize = 64 * 1024;

/** The last `lines` lines of a file, as one text; all of it if `lines` is undefined. Empty if there is none. */
export function tailOf(path: string, lines: number | undefined): { text: string; end: number } {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch {
    return { text: '', end: 0 };
  }
  try {
    const size = fstatSync(fd).size;
    if (lines === 0) return { text: '', end: size };
    const parts: Buffer[] = [];
    let from = size;
    let newlines = 0;
    while (from > 0) {
      const length = Math.min(chunkSize, from);
      const part = Buffer.alloc(length);
      const read = readSync(fd, part, 0, length, from - length);
      parts.unshift(part.subarray(0, read));
      from -= length;
      if (lines === undefined) continue;
      for (let i = part.length - 1; i >= 0; i--) if (part[i] === 0x0a) newlines++;
      // One more than asked for: the newline that ends the line before.
      if (newlines > lines) break;
    }
    const text = Buffer.concat(parts).toString('utf8');
    if (lines === undefined) return { text, end: size };
    const all = text.split('\n');
    const open = all.at(-1) === '' ? 1 : 0;
    return { text: all.slice(-lines - open).join('\n'), end: size };
  } finally {
    closeSync(fd);
  }
}

/** Calls `write` with what is appended after `from`, until the signal aborts. */
export async function followLog(
  path: string,
  from: number,
  write: (chunk: Buffer) => void,
  signal: AbortSignal,
): Promise<void> {
  let at = from;
  let wake = (): void => {};
  const onChange = (): void => wake();
  const watcher = existsSync(dirname(path))
    ? watch(dirname(path), { persistent: false }, onChange)
    : undefined;
  watcher?.on('error', () => {});
  signal.addEventListener('abort', onChange, { once: true });
  try {
    while (!signal.aborted) {
      at = readFrom(path, at, write);
      if (signal.aborted) return;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 1000);
        wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  } finally {
    watcher?.close();
    signal.removeEventListener('abort', onChange);
  }
}

function readFrom(path: string, from: number, write: (chunk: Buffer) => void): number {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch {
    return from;
  }
  try {
    const { size } = fstatSync(fd);
    let at = size < from ? 0 : from;
    while (at < size) {
      const part = Buffer.alloc(Math.min(chunkSize, size - at));
      const read = readSync(fd, part, 0, part.length, at);
      if (read === 0) break;
      write(part.subarray(0, read));
      at += read;
    }
    return at;
  } finally {
    closeSync(fd);
  }
}
