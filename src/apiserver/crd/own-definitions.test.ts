// What is given to other clusters is what the embedded API has.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { parseAllDocuments } from 'yaml';
import { defaultDefinitions } from './default-definitions.ts';

test('deploy/aura-crds.yaml holds the definitions of our own kinds', () => {
  const file = readFileSync(new URL('../../../deploy/aura-crds.yaml', import.meta.url), 'utf8');
  const written = parseAllDocuments(file).map((document) => document.toJS() as unknown);
  const own = defaultDefinitions().filter(({ metadata }) => metadata.name.endsWith('.aura.io'));
  assert.ok(own.length >= 2);
  assert.deepEqual(written, JSON.parse(JSON.stringify(own)), 'out of date: run node scripts/gen-docs.ts');
});
