import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FaultKnob } from './fault-knob.ts';

const series = (knob: FaultKnob, header: string | undefined, count: number): unknown[] =>
  Array.from({ length: count }, () => knob.decide(header).fail ?? 'ok');

test('every n-th request fails, and headers are counted apart', () => {
  const knob = new FaultKnob('reviews');
  assert.deepEqual(series(knob, 'fail=503; every=3', 6), ['ok', 'ok', 503, 'ok', 'ok', 503]);
  assert.deepEqual(series(knob, 'fail=reset; every=2', 2), ['ok', 'reset']);
  assert.deepEqual(series(knob, undefined, 2), ['ok', 'ok']);
});

test('the first n fail, by key', () => {
  const knob = new FaultKnob('reviews');
  assert.deepEqual(series(knob, 'fail=500;first=2;key=a', 3), [500, 500, 'ok']);
  assert.deepEqual(series(knob, 'fail=500;first=2;key=b', 1), [500]);
});

test('it is for the services that it names, and a delay is no failure', () => {
  assert.deepEqual(series(new FaultKnob('ratings'), 'fail=503;service=reviews,details', 1), ['ok']);
  assert.deepEqual(series(new FaultKnob('details'), 'fail=503;service=reviews,details', 1), [503]);
  assert.deepEqual(new FaultKnob('details').decide('delay=20'), { delayMs: 20 });
});

test('what always applies gives way to a header', () => {
  const knob = new FaultKnob('reviews', 'fail=500');
  assert.deepEqual(series(knob, undefined, 1), [500]);
  assert.deepEqual(series(knob, 'fail=503', 1), [503]);
});

for (const bad of ['fail', 'fail=99', 'delay=x', 'every=0', 'nothing=1', 'delay=99999999', 'fail=1=2'])
  test(`refused: ${bad}`, () => {
    assert.throws(() => new FaultKnob('reviews').decide(bad), TypeError);
    assert.throws(() => new FaultKnob('reviews', bad), TypeError);
  });
