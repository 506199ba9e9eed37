import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Circuit, circuitKinds } from './circuit.ts';

test('without limits all are admitted', () => {
  const circuit = new Circuit();
  for (const kind of circuitKinds) for (let i = 0; i < 1000; i++) assert.ok(circuit.admit(kind));
  assert.equal(circuit.open('requests'), 1000);
});

test('a limit refuses, and admits again after a release', () => {
  const circuit = new Circuit({
    limits: { maxConnections: 1, maxPendingRequests: 0, maxRequests: 2, maxRetries: 1 },
  });
  const rows = [
    ['connections', 1],
    ['pending', 0],
    ['requests', 2],
    ['retries', 1],
  ] as const;
  for (const [kind, limit] of rows) {
    for (let i = 0; i < limit; i++) assert.ok(circuit.admit(kind), kind);
    assert.equal(circuit.admit(kind), false, kind);
    assert.equal(circuit.overflows(kind), 1);
    assert.equal(circuit.open(kind), limit);
    circuit.release(kind);
    assert.equal(circuit.admit(kind), limit > 0, kind);
  }
  for (let i = 0; i < 5; i++) circuit.release('requests');
  assert.equal(circuit.open('requests'), 0, 'never below none');
});

test('a budget: a share of the requests, at least a few, in place of the fixed limit', () => {
  const circuit = new Circuit({
    limits: { maxRetries: 0 },
    retryBudget: { percent: 20, minRetryConcurrency: 2 },
  });
  const admitted = (): number => {
    let count = 0;
    while (circuit.admit('retries')) count++;
    for (let i = 0; i < count; i++) circuit.release('retries');
    return count;
  };
  assert.equal(admitted(), 2);
  for (let i = 0; i < 30; i++) circuit.admit('requests');
  assert.equal(admitted(), 6);
  circuit.configure({ limits: { maxRetries: 1 } });
  assert.equal(admitted(), 1);
});
