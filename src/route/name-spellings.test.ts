import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { spellingsOf } from './name-spellings.ts';

/** Without wildcards; `name<stripped` where a search domain was cut off. */
const exact = (name: string): string[] =>
  spellingsOf(name, 'ns', 'cluster.local')
    .filter(({ wildcard }) => !wildcard)
    .map(({ hostname, stripped }) => (stripped === undefined ? hostname : `${hostname}<${stripped}`));

suite('completion by the number of labels', () => {
  const rows: Readonly<Record<string, readonly string[]>> = {
    '': [],
    web: ['web', 'web.ns.svc.cluster.local'],
    'web.other': ['web.other', 'web.other.svc.cluster.local', 'web.other.ns.svc.cluster.local'],
    'web.other.svc': ['web.other.svc', 'web.other.svc.cluster.local', 'web.other.svc.svc.cluster.local'],
    'pod.web.other': ['pod.web.other', 'pod.web.other.svc.cluster.local'],
    'pod.web.other.svc': ['pod.web.other.svc', 'pod.web.other.svc.cluster.local'],
    'a.b.example.com': ['a.b.example.com'],
    'a.b.c.d.e': ['a.b.c.d.e'],
  };
  for (const [name, expected] of Object.entries(rows))
    test(`${name === '' ? 'the root' : name}`, () => assert.deepEqual(exact(name), expected));
});

suite('search domains are cut off', () => {
  const rows: Readonly<Record<string, readonly string[]>> = {
    // As a pod's resolver asks for `web`, and for `example.com` before it gives up completing it.
    'web.ns.svc.cluster.local': [
      'web.ns.svc.cluster.local',
      'web<web',
      'web.ns<web.ns',
      'web.ns.ns.svc.cluster.local<web.ns',
      'web.ns.svc<web.ns.svc',
      'web.ns.svc.svc.cluster.local<web.ns.svc',
    ],
    'example.com.svc.cluster.local': [
      'example.com.svc.cluster.local',
      'example.com<example.com',
      'example.com.ns.svc.cluster.local<example.com',
      'example.com.svc<example.com.svc',
      'example.com.svc.svc.cluster.local<example.com.svc',
    ],
    'web.other.cluster.local': [
      'web.other.cluster.local',
      'web.other<web.other',
      'web.other.svc.cluster.local<web.other',
      'web.other.ns.svc.cluster.local<web.other',
    ],
    // Not a label more than the domain itself, and no part of a label.
    'ns.svc.cluster.local': [
      'ns.svc.cluster.local',
      'ns<ns',
      'ns.ns.svc.cluster.local<ns',
      'ns.svc<ns.svc',
      'ns.svc.svc.cluster.local<ns.svc',
      'ns.svc.ns.svc.cluster.local<ns.svc',
    ],
    'web.mycluster.local': ['web.mycluster.local', 'web.mycluster.local.svc.cluster.local'],
  };
  for (const [name, expected] of Object.entries(rows))
    test(name, () => assert.deepEqual(exact(name), expected));
});

test('wildcards follow what they stand for, and know whether a search domain was cut off', () => {
  assert.deepEqual(
    spellingsOf('www.example.com', 'ns', 'cluster.local')
      .slice(0, 4)
      .map(({ hostname, wildcard }) => [hostname, wildcard]),
    [
      ['www.example.com', false],
      ['*.example.com', true],
      ['*.com', true],
      ['www.example.com.svc.cluster.local', false],
    ],
  );
  const cut = spellingsOf('www.example.com.ns.svc.cluster.local', 'ns', 'cluster.local');
  assert.deepEqual(
    cut.find(({ hostname }) => hostname === '*.example.com'),
    { hostname: '*.example.com', wildcard: true, stripped: 'www.example.com' },
  );
});

test('a longest name gives a bounded number of spellings, none twice', () => {
  const name = `${'a.'.repeat(117)}ns.svc.cluster.local`;
  const hostnames = spellingsOf(name, 'ns', 'cluster.local').map(({ hostname }) => hostname);
  assert.equal(new Set(hostnames).size, hostnames.length);
  assert.ok(hostnames.length < 500, String(hostnames.length));
});
