import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLogger } from '#/kit/index.ts';
import { controlPlaneLoss } from './control-plane-loss.ts';

test('a loss is told once, and only of what was there', () => {
  const lines: string[] = [];
  const log = createLogger(
    { level: () => 'debug', format: 'plain', write: (line) => lines.push(line) },
    'xds',
  );
  const tell = controlPlaneLoss(log, 'https://istiod:15012');
  for (const state of ['connecting', 'disconnected', 'connecting', 'disconnected', 'connecting'] as const)
    tell(state, 'refused');
  assert.deepEqual(lines, []);
  for (const state of ['connected', 'disconnected', 'connecting', 'disconnected'] as const)
    tell(state, 'reset');
  assert.equal(lines.length, 1);
  assert.match(lines[0] ?? '', /warn.*was lost.*error="?reset/);
  for (const state of ['connecting', 'connected', 'disconnected'] as const) tell(state, 'reset');
  assert.equal(lines.length, 2);
});
