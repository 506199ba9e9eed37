import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { spawnInNetns } from './command.ts';
import { processUsage } from './process-usage.ts';

test('the usage of a process is that of top; one that is gone has none', async () => {
  const own = processUsage(process.pid);
  assert.ok(own !== undefined && own.rssBytes > 10_000_000 && own.cpuSeconds > 0);
  const child = spawnInNetns(undefined, ['sh', '-c', 'exit 0']);
  await once(child, 'exit');
  assert.equal(processUsage(child.pid as number), undefined);
});
