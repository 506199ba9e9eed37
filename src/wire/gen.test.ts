import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

const root = join(import.meta.dirname, '..', '..');

test('the generated messages are those of proto/ (else: npm run gen)', () => {
  const folder = mkdtempSync(join(tmpdir(), 'aura-gen-'));
  try {
    // The template's output is ../src/wire/gen, seen from here.
    execFileSync(join(root, 'node_modules/.bin/buf'), ['generate', '--output', join(folder, 'proto')], {
      cwd: join(root, 'proto'),
      env: { ...process.env, PATH: `${join(root, 'node_modules/.bin')}:${process.env['PATH']}` },
    });
    const read = (base: string) => {
      const cwd = join(base, 'src/wire/gen');
      return Object.fromEntries(
        globSync('**/*.ts', { cwd })
          .sort()
          .map((file) => [file, readFileSync(join(cwd, file), 'utf8')]),
      );
    };
    const fresh = read(folder);
    assert.ok(Object.keys(fresh).length >= 7);
    assert.deepEqual(read(root), fresh);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
