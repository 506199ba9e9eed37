// The seed messages for tests of the DNS parsers: one file each under fuzz/corpus/dns-message, in hexadecimal.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const dir = join(import.meta.dirname, '../fuzz/corpus/dns-message');

/** By file name, without its ending. */
export function dnsCorpus(): ReadonlyMap<string, Buffer> {
  return new Map(
    readdirSync(dir)
      .filter((file) => file.endsWith('.hex'))
      .sort()
      .map((file) => [
        file.slice(0, -4),
        Buffer.from(readFileSync(join(dir, file), 'latin1').replace(/\s/g, ''), 'hex'),
      ]),
  );
}
