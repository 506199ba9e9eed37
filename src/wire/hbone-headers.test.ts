import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Ip } from '#/kit/index.ts';
import { emptyLocality, type Workload } from '#/model/index.ts';
import {
  encodeBaggage,
  encodeForwarded,
  encodeTraceParent,
  newTraceParent,
  parseBaggage,
  parseForwardedHost,
  parseForwardedNetwork,
  parseTraceParent,
} from './hbone-headers.ts';

const workload: Workload = {
  kind: 'workload',
  uid: 'Kubernetes//Pod/shop/web-1',
  name: 'web-1',
  namespace: 'shop',
  addresses: [],
  hostname: '',
  network: '',
  protocol: 'HBONE',
  networkMode: 'Standard',
  trustDomain: 'cluster.local',
  serviceAccount: 'web',
  node: '',
  canonicalName: 'web',
  canonicalRevision: 'v1',
  workloadType: 'deployment',
  workloadName: 'web-deploy',
  nativeTunnel: false,
  authorizationPolicies: [],
  status: 'Healthy',
  clusterId: 'Kubernetes',
  locality: emptyLocality,
  services: {},
  capacity: 1,
};

test('baggage names the workload, in order, without empty values', () => {
  assert.equal(
    encodeBaggage(workload),
    'k8s.cluster.name=Kubernetes,k8s.namespace.name=shop,k8s.deployment.name=web-deploy,service.name=web,service.version=v1',
  );
  const located = {
    ...workload,
    workloadType: 'cronjob',
    locality: { region: 'r', zone: 'z', subzone: 's' },
  };
  assert.equal(
    encodeBaggage({ ...(located as Workload), canonicalRevision: '' }),
    'k8s.cluster.name=Kubernetes,k8s.namespace.name=shop,k8s.cronjob.name=web-deploy,service.name=web,cloud.region=r,cloud.availability_zone=z',
  );
  assert.equal(
    encodeBaggage({
      ...workload,
      clusterId: '',
      namespace: '',
      workloadName: '',
      canonicalName: '',
      canonicalRevision: '',
    }),
    '',
  );
});

test('a value that would end its member is escaped', () => {
  const text = encodeBaggage({ ...workload, canonicalName: 'a,service.name=b;\n"' });
  assert.doesNotMatch(text, /[;"\n]/);
  assert.equal(text.split(',').length, 5);
});

test('parses baggage', () => {
  const rows: readonly [string, string | readonly string[] | undefined, object][] = [
    [
      'all members',
      'k8s.cluster.name=K1,k8s.namespace.name=NS1,k8s.deployment.name=N1,service.name=N2,service.version=V1,cloud.region=r,cloud.availability_zone=z',
      {
        clusterId: 'K1',
        namespace: 'NS1',
        workloadName: 'N1',
        serviceName: 'N2',
        revision: 'V1',
        region: 'r',
        zone: 'z',
      },
    ],
    ['empty values', 'k8s.cluster.name=,k8s.namespace.name=,service.name=', {}],
    [
      'several lines',
      ['k8s.cluster.name=K1', 'k8s.namespace.name=NS1'],
      { clusterId: 'K1', namespace: 'NS1' },
    ],
    ['no header', undefined, {}],
    ['nothing', '', {}],
    ['spaces and properties', ' service.name = web ; p=1 , other=2', { serviceName: 'web' }],
    ['the last one counts', 'service.name=a,service.name=b', { serviceName: 'b' }],
    ['each kind of workload', 'k8s.job.name=j', { workloadName: 'j' }],
    ['equals signs belong to the value', 'service.name=a=b', { serviceName: 'a=b' }],
    ['no equals sign', 'service.name', {}],
    ['inherited names', 'constructor=x,__proto__=y,toString=z', {}],
    ['quotes and controls', 'service.name="a",service.version=\u001b[2J,cloud.region=\u00e9', {}],
    ['a long value', `service.name=${'a'.repeat(257)}`, {}],
    ['too long altogether', `service.name=a,x=${'b'.repeat(8200)}`, {}],
    ['too many members', `service.name=a,${'x=1,'.repeat(200)}`, {}],
  ];
  for (const [name, header, wanted] of rows) assert.deepEqual(parseBaggage(header), wanted, name);
});

test('what is written as baggage is read back', () => {
  assert.deepEqual(parseBaggage(encodeBaggage(workload)), {
    clusterId: 'Kubernetes',
    namespace: 'shop',
    workloadName: 'web-deploy',
    serviceName: 'web',
    revision: 'v1',
  });
});

test('forwarded names the client and the service', () => {
  const ip = (text: string) => text as Ip;
  assert.equal(encodeForwarded({ ip: ip('127.0.0.1'), port: 80 }), 'for="127.0.0.1:80"');
  assert.equal(encodeForwarded({ ip: ip('::1'), port: 80 }), 'for="[::1]:80"');
  assert.equal(
    encodeForwarded({ ip: ip('127.0.0.1'), port: 80 }, 'example.com'),
    'for="127.0.0.1:80";host=example.com',
  );
  assert.equal(
    encodeForwarded({ ip: ip('127.0.0.1'), port: 80 }, 'a";b'),
    'for="127.0.0.1:80";host="a\\";b"',
  );
});

test('parses the host of a forwarded header', () => {
  const rows: readonly [string | readonly string[] | undefined, string | undefined][] = [
    ['by=identifier;for=identifier;host=example.com;proto=https', 'example.com'],
    ['by=identifier;for=identifier;host="example.com";proto=https', 'example.com'],
    ['by=identifier;for=identifier;proto=https', undefined],
    ['by=identifier;host=;proto=https', undefined],
    ['for=for;by=by;host=host;proto="pr\u00f6to"', undefined],
    ['for="127.0.0.1:80";host=example.com', 'example.com'],
    ['for="[::1]:80"; HOST=example.com:8080', 'example.com:8080'],
    ['for="a;host=evil";host=good', 'good'],
    ['for="a\\";host=evil";host=good', 'good'],
    ['for=a, host=second', undefined],
    ['host=first, host=second', 'first'],
    ['host="un\\closed', undefined],
    ['host', undefined],
    ['=x;host=y', undefined],
    ['', undefined],
    [undefined, undefined],
    [['host=a', 'host=b'], 'a'],
    [`for=${'x'.repeat(1100)};host=a`, undefined],
  ];
  for (const [header, wanted] of rows) assert.equal(parseForwardedHost(header), wanted, String(header));
});

test('parses trace contexts strictly', () => {
  const good = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
  assert.deepEqual(parseTraceParent(good), {
    traceId: '0af7651916cd43dd8448eb211c80319c',
    parentId: 'b7ad6b7169203331',
    flags: 1,
  });
  for (const bad of [
    undefined,
    '',
    good.toUpperCase(),
    `${good}-x`,
    good.replace(/^00/, 'ff'),
    good.replace(/^00/, '01'),
    good.replaceAll('-', '_'),
    '00-00000000000000000000000000000000-b7ad6b7169203331-01',
    '00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01',
    '-'.repeat(55),
  ])
    assert.equal(parseTraceParent(bad), undefined, String(bad));
});

test('new trace contexts are well formed and differ', () => {
  const seen = new Set<string>();
  for (let i = 0; i < 200; i++) {
    const text = encodeTraceParent(newTraceParent());
    assert.notEqual(parseTraceParent(text), undefined, text);
    assert.match(text, /-00$/);
    seen.add(text);
  }
  assert.equal(seen.size, 200);
});

test('a network is plain and short, or nothing', () => {
  assert.equal(parseForwardedNetwork('network-1'), 'network-1');
  assert.equal(parseForwardedNetwork(['a', 'b']), 'a');
  assert.equal(parseForwardedNetwork(undefined), undefined);
  assert.equal(parseForwardedNetwork('a\u0000'), undefined);
  assert.equal(parseForwardedNetwork('a'.repeat(300)), undefined);
});

test('no bytes make a parser throw or slow', () => {
  let seed = 7;
  const next = (below: number): number => {
    seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
    return seed % below;
  };
  const pieces = [
    'host=',
    'for=',
    '"',
    '\\',
    ';',
    ',',
    '=',
    ' ',
    'service.name=',
    'a',
    '\u0000',
    '\u00e9',
    '00-',
    'f',
  ];
  for (let i = 0; i < 3000; i++) {
    const text = Array.from({ length: next(40) }, () => pieces[next(pieces.length)]).join('');
    parseBaggage(text);
    parseForwardedHost(text);
    parseTraceParent(text);
    parseForwardedNetwork(text);
  }
  const started = performance.now();
  parseForwardedHost(`host="${'\\a'.repeat(500)}`);
  parseForwardedHost(`${'a'.repeat(1020)}=`);
  assert.ok(performance.now() - started < 200);
});
