import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock, type Ip } from '#/kit/index.ts';
import type { Workload } from '#/model/index.ts';
import { BindingChanges } from './binding-changes.ts';
import type { Target } from './resolve-target.ts';

const target = (uid: string): Target => ({
  kind: 'target',
  workload: { uid } as Workload,
  port: 80,
  destination: { ip: '10.0.0.1' as Ip, port: 80 },
  protocol: 'HTTP11',
});

test('what was bound a moment ago is served for half a minute, and nothing else', () => {
  const clock = new ManualClock();
  const bindings = new BindingChanges(clock);
  assert.equal(bindings.lately(target('a')), false);
  bindings.bound(target('a'));
  clock.advance(29_999);
  assert.equal(bindings.lately(target('a')), true);
  assert.equal(bindings.lately(target('b')), false);
  clock.advance(1);
  assert.equal(bindings.lately(target('a')), false);
});

test('it remembers so many targets, those seen last', () => {
  const bindings = new BindingChanges(new ManualClock());
  for (let i = 0; i <= 10_000; i++) bindings.bound(target(`t${i}`));
  assert.equal(bindings.lately(target('t0')), false);
  assert.equal(bindings.lately(target('t1')), true);
});
