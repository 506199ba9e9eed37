import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import type { EndpointSlice, KubeService } from '#/kube/index.ts';
import { renderServiceRules, serviceForwards } from './service-rules.ts';

const service = (spec: Partial<KubeService['spec']>): KubeService => ({
  metadata: { name: 'web', namespace: 'shop' },
  spec: {
    clusterIP: '10.96.1.1',
    clusterIPs: ['10.96.1.1'],
    ports: [{ name: 'http', port: 80, targetPort: 8080 }],
    ...spec,
  },
});

const slice = (
  endpoints: EndpointSlice['endpoints'],
  addressType: EndpointSlice['addressType'] = 'IPv4',
): EndpointSlice => ({
  metadata: { name: 'web-1', namespace: 'shop' },
  addressType,
  endpoints,
  ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
});

const ready = (ip: string, nodeName = 'n1') => ({ addresses: [ip], conditions: { ready: true }, nodeName });

test('a port leads to the ready endpoints of its own family', () => {
  const forwards = serviceForwards(
    service({ clusterIPs: ['10.96.1.1', 'fd00::1'] }),
    [
      slice([
        ready('10.0.0.2'),
        ready('10.0.0.1'),
        { addresses: ['10.0.0.9'], conditions: { ready: false } },
      ]),
      slice([ready('fd00::9')], 'IPv6'),
    ],
    'n1',
  );
  assert.deepEqual(
    forwards.map(({ ip, backends }) => [ip, backends.map((backend) => backend.ip)]),
    [
      ['10.96.1.1', ['10.0.0.1', '10.0.0.2']],
      ['fd00::1', ['fd00::9']],
    ],
  );
});

test('while none is ready, those that end but still serve are used', () => {
  const ending = { addresses: ['10.0.0.3'], conditions: { ready: false, serving: true, terminating: true } };
  const [forward] = serviceForwards(service({}), [slice([ending])], 'n1');
  assert.deepEqual(forward?.backends, [{ ip: '10.0.0.3', port: 8080 }]);
});

test('internalTrafficPolicy Local keeps to the node', () => {
  const slices = [slice([ready('10.0.0.1', 'n1'), ready('10.0.0.2', 'n2')])];
  const [forward] = serviceForwards(service({ internalTrafficPolicy: 'Local' }), slices, 'n2');
  assert.deepEqual(
    forward?.backends.map(({ ip }) => ip),
    ['10.0.0.2'],
  );
});

test('headless and external services have nothing to forward', () => {
  assert.deepEqual(serviceForwards(service({ clusterIP: 'None', clusterIPs: ['None'] }), [], 'n'), []);
  assert.deepEqual(serviceForwards(service({ type: 'ExternalName' }), [], 'n'), []);
});

test('nft accepts the table, twice in a row', () => {
  const slices = [slice([ready('10.0.0.1'), ready('10.0.0.2')]), slice([ready('fd00::9')], 'IPv6')];
  const forwards = [
    ...serviceForwards(service({ clusterIPs: ['10.96.1.1', 'fd00::1'] }), slices, 'n1'),
    ...serviceForwards(service({ clusterIPs: ['10.96.1.2'], sessionAffinity: 'ClientIP' }), slices, 'n1'),
    // An address that another service has already is not an error of the whole table.
    ...serviceForwards(service({ clusterIPs: ['10.96.1.2'] }), slices, 'n1'),
  ];
  const rules = renderServiceRules(forwards, ['10.96.0.0/12', 'fd00:10:96::/112']);
  assert.match(rules, /numgen random mod 2 map \{ 0 : 10\.0\.0\.1 \. 8080, 1 : 10\.0\.0\.2 \. 8080 \}/);
  assert.match(rules, /jhash ip saddr mod 2/);
  const script = 'nft -f - <<EOF\n' + rules + 'EOF\nnft -f - <<EOF\n' + rules + 'EOF\nnft list ruleset';
  const result = spawnSync('unshare', ['--net', '/bin/sh', '-ec', script], { encoding: 'utf8' });
  assert.equal(result.stderr, '');
  assert.match(result.stdout, /10\.96\.1\.2 \. tcp \. 80 : goto to-10-96-1-2-tcp-80/);
});

test('an empty cluster refuses the whole range at once', () => {
  assert.match(
    renderServiceRules([], ['10.96.0.0/12']),
    /ip daddr 10\.96\.0\.0\/12 meta l4proto tcp reject with tcp reset/,
  );
});
