import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  checkSelectors,
  defaultSelectors,
  eligibility,
  isTerminal,
  isZtunnel,
  matchesSelector,
  type SelectablePod,
} from './selection.ts';

const rules = { selectors: defaultSelectors, excludeNamespaces: ['kube-system'] };
const ambient = { 'istio.io/dataplane-mode': 'ambient' };
const none = { 'istio.io/dataplane-mode': 'none' };
const pod = (labels = {}, more: object = {}, annotations = {}): SelectablePod => ({
  metadata: { namespace: 'shop', labels, annotations },
  ...more,
});

test('the default selection', () => {
  const cases: [string, SelectablePod, Record<string, string>, boolean | RegExp][] = [
    ['nothing is labelled', pod(), {}, /no label/],
    ['the pod is', pod(ambient), {}, true],
    ['the namespace is', pod(), ambient, true],
    ['the pod opts out', pod(none), ambient, /is none/],
    ['the pod opts in against its namespace', pod(ambient), none, true],
    ['host network', pod(ambient, { spec: { hostNetwork: true } }), ambient, /network of the host/],
    ['has a sidecar', pod(ambient, {}, { 'sidecar.istio.io/status': '{}' }), ambient, /sidecar/],
    ['another value', pod({ 'istio.io/dataplane-mode': 'sidecar' }), {}, /no label/],
    [
      'excluded namespace',
      { metadata: { namespace: 'kube-system', labels: ambient } },
      ambient,
      /kube-system is excluded/,
    ],
  ];
  for (const [name, given, namespace, expected] of cases) {
    const result = eligibility(given, namespace, rules);
    if (expected === true) assert.equal(result.enabled, true, name);
    else assert.match(result.enabled ? '' : result.reason, expected as RegExp, name);
  }
});

test('selectors of the user replace the default', () => {
  const own = {
    selectors: checkSelectors(
      JSON.parse('[{"podSelector":{"matchExpressions":[{"key":"mesh","operator":"Exists"}]}}]'),
      'S',
    ),
    excludeNamespaces: [],
  };
  assert.equal(eligibility(pod(ambient), ambient, own).enabled, false);
  assert.equal(eligibility(pod({ mesh: '' }), {}, own).enabled, true);
  assert.equal(eligibility(pod({ mesh: '' }), {}, { ...own, selectors: [{}] }).enabled, false);
});

test('label selectors follow Kubernetes', () => {
  const expression = (operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist', values?: string[]) => ({
    matchExpressions: [{ key: 'a', operator, ...(values === undefined ? {} : { values }) }],
  });
  assert.ok(matchesSelector({}, {}));
  assert.ok(matchesSelector(expression('In', ['1', '2']), { a: '2' }));
  assert.ok(!matchesSelector(expression('In', ['1']), {}));
  assert.ok(matchesSelector(expression('NotIn', ['1']), {}));
  assert.ok(!matchesSelector(expression('NotIn', ['1']), { a: '1' }));
  assert.ok(matchesSelector(expression('Exists'), { a: '' }));
  assert.ok(matchesSelector(expression('DoesNotExist'), { b: '' }));
  assert.ok(!matchesSelector({ matchLabels: { a: '1' }, ...expression('DoesNotExist') }, { a: '1' }));
});

test('bad selectors are refused by place', () => {
  const cases: [unknown, RegExp][] = [
    [{}, /S is not a list/],
    [[{}], /S\[0\] has neither/],
    [[{ podSelector: {} }, { pod: {} }], /S\[1\] has neither/],
    [[{ podSelector: {}, x: 1 }], /S\[0\] has the unknown field "x"/],
    [[{ podSelector: { labels: {} } }], /S\[0\]\.podSelector has the unknown field "labels"/],
    [[{ podSelector: { matchLabels: { a: 1 } } }], /matchLabels is not a map/],
    [[{ podSelector: { matchExpressions: [{ key: 'a', operator: 'in' }] } }], /operator "in" is not one of/],
    [[{ podSelector: { matchExpressions: [{ key: 'a', operator: 'In' }] } }], /needs values/],
    [[{ podSelector: { matchExpressions: [{ operator: 'In' }] } }], /without a key/],
  ];
  for (const [value, message] of cases) assert.throws(() => checkSelectors(value, 'S'), message);
});

test('what has ended, and what is ztunnel itself', () => {
  assert.ok(isTerminal(pod({}, { status: { phase: 'Succeeded' } })));
  assert.ok(isTerminal(pod({}, { status: { phase: 'Failed' } })));
  assert.ok(!isTerminal(pod({}, { status: { phase: 'Running' } })));
  assert.ok(
    isZtunnel({ metadata: { namespace: 'istio-system', labels: { app: 'ztunnel' } } }, 'istio-system'),
  );
  assert.ok(!isZtunnel(pod({ app: 'ztunnel' }), 'istio-system'));
});
