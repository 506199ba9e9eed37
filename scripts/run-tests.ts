// Runs every test: first the rooms' own (src/**/*.test.ts, several files at once), then the flows in real labs
// (test/**/*.test.ts, one file after another: each makes namespaces and loads the machine). A skipped or todo
// test fails the run, since a tier that does not run proves nothing. Arguments limit the run to files whose
// path contains one of them.
import { availableParallelism } from 'node:os';
import { resolve } from 'node:path';
import { globSync } from 'node:fs';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';

interface Totals {
  tests: number;
  passed: number;
  failed: number;
  skipped: string[];
}

const root = resolve(import.meta.dirname, '..');
const only = process.argv.slice(2);

function filesOf(pattern: string): string[] {
  return globSync(pattern, { cwd: root })
    .filter((file) => only.length === 0 || only.some((part) => file.includes(part)))
    .sort()
    .map((file) => resolve(root, file));
}

async function runTier(files: string[], concurrency: number, timeout: number): Promise<Totals> {
  const totals: Totals = { tests: 0, passed: 0, failed: 0, skipped: [] };
  if (files.length === 0) return totals;
  const events = run({ files, concurrency, timeout, cwd: root });
  events.on('test:fail', (data) => {
    if (data.todo === undefined || data.todo === false) totals.failed++;
  });
  events.on('test:pass', (data) => {
    if (data.skip !== undefined && data.skip !== false) totals.skipped.push(data.name);
    else if (data.todo !== undefined && data.todo !== false) totals.skipped.push(data.name);
    else totals.passed++;
  });
  events.on('test:summary', (data) => {
    if (data.file === undefined) totals.tests = data.counts.tests;
  });
  for await (const text of events.compose(spec)) process.stdout.write(text as string);
  return totals;
}

const started = Date.now();
const rooms = await runTier(filesOf('src/**/*.test.ts'), Math.max(2, availableParallelism()), 300_000);
const flows = await runTier(filesOf('test/**/*.test.ts'), 1, 480_000);
const tests = rooms.tests + flows.tests;
const skipped = [...rooms.skipped, ...flows.skipped];
const failed = rooms.failed + flows.failed;
console.log(
  `tests ${tests}, failed ${failed}, skipped ${skipped.length}, ${Math.round((Date.now() - started) / 1000)} s`,
);
if (skipped.length > 0) console.log(`skipped, which is not allowed: ${skipped.join(', ')}`);
if (tests === 0) console.log('no test matches');
process.exit(failed > 0 || skipped.length > 0 || tests === 0 ? 1 : 0);
