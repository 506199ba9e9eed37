import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, symlinkSync, mkdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { defaultHome, labPaths } from './paths.ts';

test('the home is AURA_HOME, else ~/.aura', () => {
  assert.equal(defaultHome({ AURA_HOME: '/x/y', HOME: '/root' }), '/x/y');
  assert.equal(defaultHome({ HOME: '/root' }), '/root/.aura');
  assert.throws(() => defaultHome({}), /set AURA_HOME/);
});

test('two homes have two ids, and one home has one id under all its names', (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'aura-paths-'));
  t.after(() => rmSync(dir, { recursive: true }));
  mkdirSync(join(dir, 'real'));
  symlinkSync(join(dir, 'real'), join(dir, 'link'));
  const one = labPaths(join(dir, 'real', 'lab'));
  assert.equal(labPaths(join(dir, 'link', 'lab')).id, one.id);
  assert.notEqual(labPaths(join(dir, 'real', 'lab2')).id, one.id);
  assert.match(one.id, /^[0-9a-f]{8}$/);
  assert.equal(one.cgroup, `aura-${one.id}`);
});

test('a home that cannot work is refused with a reason', () => {
  assert.throws(() => labPaths('/run/aura'), /lies below \/run/);
  assert.throws(() => labPaths('/'), /choose a folder/);
  assert.throws(() => labPaths(join(tmpdir(), 'x'.repeat(120))), /too long for a socket/);
});
