import assert from 'node:assert/strict';
import { test } from 'node:test';
import { identityOf } from '#/model/index.ts';
import { readFacts, type PodFacts } from '#/translate/index.ts';
import type { Caller } from './caller.ts';
import { authorizeImpersonation } from './node-authorization.ts';
import { PodDirectory } from './pod-directory.ts';

const pod = (
  namespace: string,
  name: string,
  serviceAccount: string,
  node: string,
  phase = 'Running',
): PodFacts =>
  readFacts('Pod', {
    metadata: { namespace, name, uid: `uid-${name}` },
    spec: { nodeName: node, serviceAccountName: serviceAccount },
    status: { phase, podIP: '10.0.0.1' },
  });

const rules = { trustedAccounts: ['istio-system/ztunnel'], trustDomain: 'cluster.local' };

const ztunnel: Caller = {
  identity: identityOf('cluster.local', 'istio-system', 'ztunnel'),
  namespace: 'istio-system',
  serviceAccount: 'ztunnel',
  pod: { name: 'ztunnel-1', uid: 'uid-ztunnel-1' },
};

function directory(): PodDirectory {
  const pods = new PodDirectory();
  pods.set(pod('istio-system', 'ztunnel-1', 'ztunnel', 'n1'));
  pods.set(pod('shop', 'web-1', 'web', 'n1'));
  pods.set(pod('shop', 'db-1', 'db', 'n2'));
  pods.set(pod('shop', 'job-1', 'job', 'n1', 'Failed'));
  return pods;
}

const cases: readonly [string, Partial<Caller>, string, RegExp | undefined][] = [
  ['a pod of its node', {}, 'spiffe://cluster.local/ns/shop/sa/web', undefined],
  ['a pod of another node', {}, 'spiffe://cluster.local/ns/shop/sa/db', /no pod of shop\/db runs on node n1/],
  ['a pod that has failed', {}, 'spiffe://cluster.local/ns/shop/sa/job', /no pod of shop\/job/],
  ['nobody', {}, 'spiffe://cluster.local/ns/shop/sa/nobody', /no pod/],
  ['another trust domain', {}, 'spiffe://evil/ns/shop/sa/web', /trust domain/],
  ['no identity', {}, 'spiffe://cluster.local/ns/shop', /is not spiffe/],
  ['with a query', {}, 'spiffe://cluster.local/ns/shop/sa/web/../x', /is not spiffe/],
  [
    'a caller that is not trusted',
    { serviceAccount: 'web' },
    'spiffe://cluster.local/ns/shop/sa/web',
    /may not ask/,
  ],
  [
    'a pod of the same name, gone since',
    { pod: { name: 'ztunnel-1', uid: 'old' } },
    'spiffe://cluster.local/ns/shop/sa/web',
    /uid/,
  ],
  ['an unknown pod', { pod: { name: 'x', uid: 'x' } }, 'spiffe://cluster.local/ns/shop/sa/web', /not known/],
];

for (const [name, change, requested, refusal] of cases)
  test(`impersonation: ${name}`, () => {
    const verdict = authorizeImpersonation({ ...ztunnel, ...change }, requested, directory(), rules);
    if (refusal === undefined) assert.deepEqual(verdict, { identity: requested });
    else assert.match('refused' in verdict ? verdict.refused : 'granted', refusal);
  });

test('impersonation: a token that is bound to no pod', () => {
  const { pod: _pod, ...caller } = ztunnel;
  const verdict = authorizeImpersonation(caller, 'spiffe://cluster.local/ns/shop/sa/web', directory(), rules);
  assert.match('refused' in verdict ? verdict.refused : '', /not bound to a pod/);
});

test('a pod that moves, ends or goes takes its right with it', () => {
  const pods = directory();
  pods.set(pod('shop', 'web-2', 'web', 'n1'));
  pods.delete('shop/web-1');
  assert.ok(pods.runsOn('shop', 'web', 'n1'));
  pods.set(pod('shop', 'web-2', 'web', 'n2'));
  assert.ok(!pods.runsOn('shop', 'web', 'n1'));
  pods.set(pod('shop', 'web-2', 'web', 'n2', 'Succeeded'));
  assert.ok(!pods.runsOn('shop', 'web', 'n2'));
});
