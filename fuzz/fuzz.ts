// The driver: takes seeds, changes them, runs a target. No coverage feedback; the seeds carry the structure.
import { globSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Random } from './random.ts';
import type { Target } from './targets.ts';

export interface CorpusFile {
  readonly name: string;
  readonly bytes: Uint8Array;
}

const folder = join(import.meta.dirname, 'corpus');

/** The committed inputs of a target. Blanks and lines that begin with # do not count. */
export function corpus(target: Pick<Target, 'name'>): readonly CorpusFile[] {
  return globSync(`${target.name}/*.hex`, { cwd: folder })
    .sort()
    .map((file) => {
      const text = readFileSync(join(folder, file), 'utf8').replaceAll(/^#.*$/gm, '').replaceAll(/\s/g, '');
      if (!/^([0-9a-f]{2})*$/.test(text)) throw new Error(`${file} is not hexadecimal`);
      return { name: basename(file, '.hex'), bytes: Buffer.from(text, 'hex') };
    });
}

// Values at which lengths, tags and integers turn.
const edges = [0x00, 0x01, 0x02, 0x04, 0x08, 0x0a, 0x12, 0x7f, 0x80, 0x81, 0x82, 0x83, 0x84, 0xfe, 0xff];

/** A changed copy: a few edits of kinds that break parsers. */
export function mutate(input: Uint8Array, others: readonly Uint8Array[], random: Random): Uint8Array {
  let bytes = Buffer.from(input);
  for (let edits = 1 + random.below(4); edits > 0; edits--) {
    const at = random.below(bytes.length + 1);
    switch (random.below(7)) {
      case 0:
        if (at < bytes.length) bytes[at] = (bytes[at] as number) ^ (1 << random.below(8));
        break;
      case 1:
        if (at < bytes.length) bytes[at] = random.pick(edges);
        break;
      case 2:
        bytes = Buffer.concat([bytes.subarray(0, at), random.bytes(1 + random.below(8)), bytes.subarray(at)]);
        break;
      case 3:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + random.below(8))]);
        break;
      case 4:
        bytes = bytes.subarray(0, at);
        break;
      case 5: {
        const length = 1 + random.below(16);
        bytes = Buffer.concat([bytes.subarray(0, at + length), bytes.subarray(at)]);
        break;
      }
      default: {
        const other = random.pick(others);
        bytes = Buffer.concat([bytes.subarray(0, at), other.subarray(random.below(other.length + 1))]);
      }
    }
  }
  return new Uint8Array(bytes.subarray(0, 64 * 1024));
}

export interface Failure {
  readonly input: Uint8Array;
  readonly error: unknown;
}

/** Runs a target until `enough` says so, or until it fails. */
export function fuzz(
  target: Target,
  random: Random,
  enough: (runs: number) => boolean,
): { runs: number; failure?: Failure } {
  const seeds = corpus(target).map(({ bytes }) => bytes);
  if (seeds.length === 0) seeds.push(new Uint8Array());
  for (let runs = 0; ; runs++) {
    if (enough(runs)) return { runs };
    const seed = target.seed !== undefined && random.oneIn(2) ? target.seed(random) : random.pick(seeds);
    const input = runs < seeds.length ? (seeds[runs] as Uint8Array) : mutate(seed, seeds, random);
    try {
      target.run(input);
    } catch (error) {
      return { runs, failure: { input, error } };
    }
  }
}
