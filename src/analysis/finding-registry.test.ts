import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { findingRegistry } from './finding-registry.ts';

test('the page in docs lists every code with its level, meaning and way out', () => {
  const page = readFileSync(new URL('../../docs/analyze.md', import.meta.url), 'utf8');
  for (const [code, { name, level, means, fix }] of Object.entries(findingRegistry))
    assert.ok(
      page.includes(`| \`${code}\` | ${name} | ${level} | ${means} | ${fix} |`),
      `${code}: run node scripts/gen-docs.ts`,
    );
});

test('names are used once', () => {
  const names = Object.values(findingRegistry).map(({ name }) => name);
  assert.equal(new Set(names).size, names.length);
});
