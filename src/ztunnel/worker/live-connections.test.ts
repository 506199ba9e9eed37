// A change of policy that concerns many connections is held against them over several turns of the event loop.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ErrorCode } from '#/errors/index.ts';
import { at } from '../../../test/mesh-records.ts';
import { judgedPerTurn, LiveConnections, type LiveConnection } from './live-connections.ts';

/** Connections with a policy that is one number: those of a lower rank are refused. */
function fixture() {
  const turns: (() => void)[] = [];
  const live = new LiveConnections((run) => turns.push(run));
  const state = { policy: 0, judged: 0 };
  const open = (rank: number) => {
    const ended: ErrorCode[] = [];
    const connection: LiveConnection = {
      pod: 'pod',
      direction: 'inbound',
      source: at('10.0.0.1:1000'),
      originalDestination: at('10.0.0.2:80'),
      actualDestination: at('10.0.0.2:8080'),
      protocol: 'TCP',
      stillAllowed: () => {
        state.judged++;
        return rank >= state.policy;
      },
      close: (code) => {
        ended.push(code);
        place[Symbol.dispose]();
      },
      account: () => {},
    };
    // As the proxies do it: first the place among the live ones, then the verdict of its own.
    const place = live.add(connection);
    if (rank < state.policy) connection.close('POLICY_DENIED');
    return { ended, close: () => place[Symbol.dispose]() };
  };
  const nextTurn = (): boolean => {
    const run = turns.shift();
    run?.();
    return run !== undefined;
  };
  return { live, state, open, nextTurn };
}

test('each turn judges a bounded number, and all are judged in the end', () => {
  const { live, state, open, nextTurn } = fixture();
  const all = Array.from({ length: 10 * judgedPerTurn + 1 }, (_, i) => open(i % 2));
  state.policy = 1;
  live.judgeAgain();
  let turns = 1;
  for (let before = 0; ; turns++) {
    assert.ok(state.judged - before <= judgedPerTurn, `${state.judged - before} in one turn`);
    before = state.judged;
    if (!nextTurn()) break;
  }
  assert.equal(state.judged, all.length);
  assert.equal(turns, 11);
  assert.deepEqual(
    all.map(({ ended }) => ended.join()),
    all.map((_, i) => (i % 2 === 0 ? 'POLICY_CHANGED' : '')),
  );
  assert.equal(live.size, 5 * judgedPerTurn);
});

test('who connects while others are still judged is judged by the new policies at once', () => {
  const { live, state, open, nextTurn } = fixture();
  const old = Array.from({ length: 3 * judgedPerTurn }, () => open(0));
  state.policy = 1;
  live.judgeAgain();
  assert.ok(
    old.some(({ ended }) => ended.length === 0),
    'some of the old ones wait for their turn',
  );
  const refused = open(0);
  const accepted = open(1);
  assert.deepEqual(refused.ended, ['POLICY_DENIED']);
  while (nextTurn());
  assert.ok(old.every(({ ended }) => ended.join() === 'POLICY_CHANGED'));
  assert.deepEqual(accepted.ended, []);
  assert.deepEqual(refused.ended, ['POLICY_DENIED'], 'one outcome');
});

test('a change in between is held against all, and changes without a pause leave nobody out', () => {
  const { live, state, open, nextTurn } = fixture();
  const all = Array.from({ length: 4 * judgedPerTurn }, (_, i) => open(i));
  // Every turn brings another change; the last connection must not wait for the changes to end.
  live.judgeAgain();
  for (let turn = 0; turn < 4; turn++) {
    nextTurn();
    live.judgeAgain();
  }
  assert.ok(state.judged >= all.length);
  state.policy = 1;
  live.judgeAgain();
  while (nextTurn());
  assert.deepEqual(all[0]?.ended, ['POLICY_CHANGED'], 'it had been judged before the last change');
  assert.equal(live.size, all.length - 1);
});

test('a connection that ends while it waits is not judged', () => {
  const { live, state, open, nextTurn } = fixture();
  const all = Array.from({ length: 2 * judgedPerTurn }, () => open(0));
  live.judgeAgain();
  const waiting = all.at(-1);
  waiting?.close();
  state.policy = 1;
  while (nextTurn());
  assert.deepEqual(waiting?.ended, []);
  assert.equal(state.judged, all.length - 1);
});
