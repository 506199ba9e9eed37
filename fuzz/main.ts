// node fuzz/main.ts [--seconds N] [--seed N] [target …]
// Fuzzes each target for N seconds (default 10). A failure prints the input as a corpus file, and exits with 1.
import { parseArgs } from 'node:util';
import { fuzz } from './fuzz.ts';
import { seeded } from './random.ts';
import { targets } from './targets.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { seconds: { type: 'string', default: '10' }, seed: { type: 'string' } },
});
const seed = values.seed === undefined ? Date.now() % 2 ** 32 : Number(values.seed);
const unknown = positionals.filter((name) => !targets.some((target) => target.name === name));
if (unknown.length > 0) {
  console.error(`no target ${unknown.join(', ')}; there are ${targets.map(({ name }) => name).join(', ')}`);
  process.exit(2);
}
let failed = false;
for (const target of targets) {
  if (positionals.length > 0 && !positionals.includes(target.name)) continue;
  const until = Date.now() + Number(values.seconds) * 1000;
  const { runs, failure } = fuzz(target, seeded(seed), (n) => n % 256 === 0 && Date.now() >= until);
  console.log(`${target.name}: ${runs} runs, seed ${seed}${failure === undefined ? '' : ', FAILED'}`);
  if (failure === undefined) continue;
  failed = true;
  console.error(failure.error);
  console.error(
    `fuzz/corpus/${target.name}/<what it shows>.hex:\n${Buffer.from(failure.input).toString('hex')}`,
  );
}
process.exit(failed ? 1 : 0);
