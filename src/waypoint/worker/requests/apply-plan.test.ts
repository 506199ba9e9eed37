import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ResponseHead } from '#/http/index.ts';
import type { RequestFilter } from './request-filter.ts';
import { ScriptedRun } from './scripted-run.ts';

const errorHeaders = { set: [{ name: 'access-control-allow-origin', value: 'https://a.com' }] };

test('headers for errors are on what the waypoint answers itself, and not on what the destination answers', async () => {
  const heads: ResponseHead[] = [];
  const filters: RequestFilter[] = [
    {
      name: 'heads',
      apply: (run) => {
        run.onResponse((head) => heads.push(head));
        return 'next';
      },
    },
  ];
  const late = new ScriptedRun({ plan: { timeoutMs: 5, errorHeaders }, filters });
  await late.over();
  const refused = new ScriptedRun({
    plan: { errorHeaders },
    filters,
    pickFailure: { kind: 'none', message: 'nobody' },
  });
  await refused.over();
  new ScriptedRun({ plan: { errorHeaders }, filters }).server.answer(200);
  assert.deepEqual(
    heads.map(({ status, headers }) => `${status} ${headers.get('access-control-allow-origin') ?? '-'}`),
    ['504 https://a.com', '503 https://a.com', '200 -'],
  );
});
