import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Pod } from '#/kube/index.ts';
import { hostsFile, podHostname, resolvConf } from './pod-files.ts';

const pod = (spec: Partial<Pod['spec']> & Record<string, unknown> = {}): Pod => ({
  metadata: { name: 'p', namespace: 'ns' },
  spec: { containers: [], nodeName: 'n1', ...spec },
});
const dns = { servers: ['10.96.0.10'], clusterDomain: 'cluster.local' };

test('a pod searches its own namespace first', () => {
  assert.equal(
    resolvConf(pod(), dns),
    'nameserver 10.96.0.10\nsearch ns.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n',
  );
});

test('on the node’s network only ClusterFirstWithHostNet searches', () => {
  assert.equal(resolvConf(pod({ hostNetwork: true }), dns), 'nameserver 10.96.0.10\n');
  assert.match(
    resolvConf(pod({ hostNetwork: true, dnsPolicy: 'ClusterFirstWithHostNet' }), dns),
    /^search ns\./m,
  );
});

test('dnsConfig adds, and with policy None it is all there is', () => {
  const dnsConfig = { nameservers: ['1.2.3.4'], searches: ['x.y'], options: [{ name: 'ndots', value: '2' }] };
  assert.equal(
    resolvConf(pod({ dnsPolicy: 'None', dnsConfig }), dns),
    'nameserver 1.2.3.4\nsearch x.y\noptions ndots:2\n',
  );
  assert.match(resolvConf(pod({ dnsConfig }), dns), /options ndots:2/);
});

test('a pod’s host name is its own, on the node’s network the node’s', () => {
  assert.equal(podHostname(pod()), 'p');
  assert.equal(podHostname(pod({ hostname: 'h' })), 'h');
  assert.equal(podHostname(pod({ hostNetwork: true })), 'n1');
  assert.equal(podHostname({ ...pod(), metadata: { name: `${'x'.repeat(62)}-y` } }), 'x'.repeat(62));
});

test('hosts knows the pod by its addresses, its subdomain and its aliases', () => {
  const text = hostsFile(
    pod({ subdomain: 'db', hostAliases: [{ ip: '9.9.9.9', hostnames: ['a', 'b'] }] }),
    ['10.0.0.5'],
    'cluster.local',
  );
  assert.match(text, /^10\.0\.0\.5\tp\.db\.ns\.svc\.cluster\.local\tp$/m);
  assert.match(text, /^9\.9\.9\.9\ta\tb$/m);
});
