import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { errorRegistry, errorText, MeshError } from './registry.ts';

test('the page in docs lists every code with its text and cause', () => {
  const page = readFileSync(new URL('../../docs/errors.md', import.meta.url), 'utf8');
  for (const [code, { text, cause, flag }] of Object.entries(errorRegistry)) {
    assert.ok(
      page.includes(`| \`${code}\` | ${text} | ${cause} | \`${flag}\``),
      `${code}: run node scripts/gen-docs.ts`,
    );
  }
});

test('an error speaks the words of its code unless it is given better ones', () => {
  assert.equal(new MeshError('SELF_CALL').message, 'attempted recursive call to ourselves');
  assert.equal(new MeshError('IP_MISMATCH', 'ip mismatch: 10.0.0.1').message, 'ip mismatch: 10.0.0.1');
  assert.equal(new MeshError('DRAINED').entry.flag, '-');
});

test('causes are told in order', () => {
  const error = new MeshError('CONNECT_FAILED', 'a', { cause: new Error('b', { cause: new Error('c') }) });
  assert.equal(errorText(error), 'a: b: c');
  assert.equal(errorText('text'), 'text');
});
