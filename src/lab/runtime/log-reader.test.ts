import assert from 'node:assert/strict';
import { appendFileSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { rotateLog } from '../kubelet/kubelet.ts';
import { followLog, tailOf } from './log-reader.ts';

function folder(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'aura-log-'));
  t.after(() => rmSync(dir, { recursive: true }));
  return dir;
}

test('the last lines, of small and of large files', (t) => {
  const file = join(folder(t), 'log');
  assert.deepEqual(tailOf(file, 5), { text: '', end: 0 });
  writeFileSync(file, 'a\nb\nc\n');
  assert.equal(tailOf(file, 2).text, 'b\nc\n');
  assert.equal(tailOf(file, 9).text, 'a\nb\nc\n');
  assert.equal(tailOf(file, 0).text, '');
  assert.equal(tailOf(file, undefined).end, 6);
  writeFileSync(file, 'a\nopen');
  assert.equal(tailOf(file, 1).text, 'open');
  const lines = Array.from({ length: 30_000 }, (_, i) => `line ${i}`);
  writeFileSync(file, `${lines.join('\n')}\n`);
  assert.equal(tailOf(file, 20_000).text, `${lines.slice(-20_000).join('\n')}\n`);
});

test('what is appended is followed, also after the log was rotated', async (t) => {
  const file = join(folder(t), 'log');
  writeFileSync(file, 'old\n');
  const abort = new AbortController();
  let seen = '';
  const saw = async (text: string): Promise<void> => {
    for (let i = 0; i < 300 && !seen.includes(text); i++)
      await new Promise((resolve) => setTimeout(resolve, 10));
    assert.ok(seen.includes(text), `"${text}" in "${seen}"`);
  };
  const following = followLog(file, 4, (chunk) => (seen += chunk.toString()), abort.signal);
  appendFileSync(file, 'new line\n');
  await saw('new line');
  truncateSync(file);
  appendFileSync(file, 'x\n');
  await saw('x\n');
  abort.abort();
  await following;
  assert.ok(!seen.includes('old'));
});

test('a log over the limit is kept once and begun anew', (t) => {
  const file = join(folder(t), 'log');
  writeFileSync(file, 'x'.repeat(100));
  assert.equal(rotateLog(file, 100), false);
  assert.equal(rotateLog(file, 50), true);
  assert.equal(tailOf(file, undefined).end, 0);
  assert.equal(tailOf(`${file}.1`, undefined).end, 100);
  assert.equal(rotateLog(join(file, 'none'), 1), false);
});
