// Waypoints that come, go and change while traffic flows; bindings of every kind; what is told of them; and egress.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { eventually } from '../lab/test-lab.ts';
import { httpbin, seen, service, throughWaypoint, WaypointLab, worker, type Call } from './waypoint-lab.ts';

const http = '{ name: http, port: 80, appProtocol: http }';

const more =
  'apiVersion: v1\nkind: Namespace\nmetadata: { name: tools }\n---' +
  // Not in the mesh: the outside.
  httpbin('tools', 'outside', worker, 'app: outside') +
  service('tools', 'outside', 'app: outside', http) +
  service('shop', 'bogus', 'app: app', http).replace(
    'namespace: shop }',
    'namespace: shop, labels: { istio.io/use-waypoint: nosuch } }',
  ) +
  service('shop', 'foreign', 'app: app', http).replace(
    'namespace: shop }',
    'namespace: shop, labels: { istio.io/use-waypoint: shared, istio.io/use-waypoint-namespace: elsewhere } }',
  );

const shared = (from: string): string => `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: shared, namespace: elsewhere, labels: { istio.io/waypoint-for: service } }
spec:
  gatewayClassName: istio-waypoint
  listeners: [{ name: mesh, port: 15008, protocol: HBONE, allowedRoutes: { namespaces: { from: ${from} } } }]`;

describe('changes of waypoints, bindings and egress', () => {
  const mesh = new WaypointLab();
  before(() => mesh.start(more));
  after(() => mesh[Symbol.asyncDispose]());

  const kubectl = (...args: string[]): Promise<string> => mesh.lab.mustKubectl(args);
  const by =
    (wanted: boolean) =>
    (call: Call): boolean =>
      call.status === 200 && throughWaypoint(call) === wanted;

  let sequence = 0;
  /** Calls one after the other, each on a connection of its own, while `during` runs; gives what was not 200. */
  const lost = async (url: string, during: () => Promise<void>): Promise<string[]> => {
    const stop = `/run/stop-calls-${++sequence}`;
    const script = `while [ ! -e ${stop} ]; do curl -sS -m 10 -o /dev/null -w '%{http_code}\\n' ${url} 2>&1; sleep 0.01; done`;
    const calls = mesh.run(['bash', '-c', script], {}, 120_000);
    try {
      await during();
    } finally {
      await mesh.run(['touch', stop]);
    }
    const { stdout } = await calls;
    const codes = stdout.trim().split('\n');
    assert.ok(codes.includes('200'), stdout);
    return codes.filter((code) => code !== '200');
  };

  test('a waypoint that is not there is not gone round, and the Service says so', async () => {
    const call = await mesh.call('http://bogus/get');
    assert.equal(call.status, 0, JSON.stringify(call));
    const service_ = await kubectl('get', 'svc', '-n', 'shop', 'bogus', '-o', 'yaml');
    assert.match(service_, /type: istio.io\/WaypointBound/);
    assert.match(service_, /shop\/nosuch|nosuch/);
    assert.match(await mesh.lab.must('describe', 'service', 'shop/bogus'), /nosuch/);
  });

  test('status, list, describe and explain say what is', async () => {
    assert.match(
      await mesh.lab.must('waypoint', 'list', '-n', 'shop'),
      /waypoint +default +service +True|waypoint +default +none +True/,
    );
    assert.match(await mesh.lab.must('waypoint', 'status', '-n', 'shop'), /waypoint\s.*True\s+Programmed/);
    assert.match(await mesh.lab.must('describe', 'service', 'shop/app'), /bound to waypoint\.shop/);
    const policy = `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: no-ip, namespace: shop }
spec:
  targetRefs: [{ group: "", kind: Service, name: app }]
  action: DENY
  rules: [{ to: [{ operation: { paths: [/ip] } }] }]`;
    await mesh.with(policy, async () => {
      await mesh.untilStatus('http://app/ip', 403);
      const pod = (
        await kubectl(
          'get',
          'pod',
          '-n',
          'shop',
          '-l',
          'app=client',
          '-o',
          'jsonpath={.items[0].metadata.name}',
        )
      ).trim();
      const denied = await mesh.lab.aura('explain', '-n', 'shop', pod, 'app:80', '--path', '/ip');
      assert.match(denied.stdout, /no-ip/, denied.stderr);
      assert.match(denied.stdout, /waypoint/);
      const allowed = await mesh.lab.aura(
        'explain',
        '-n',
        'shop',
        pod,
        'app:80',
        '--path',
        '/get',
        '--exit-code',
      );
      assert.equal(allowed.code, 0, allowed.stdout + allowed.stderr);
      assert.match(await mesh.lab.must('describe', 'service', 'shop/app'), /no-ip/);
    });
  });

  test('a rolling restart of the waypoint loses nothing', async () => {
    const failed = await lost('http://app/get', async () => {
      for (let i = 0; i < 3; i++) {
        await kubectl('rollout', 'restart', '-n', 'shop', 'deploy/waypoint');
        await kubectl('rollout', 'status', '-n', 'shop', 'deploy/waypoint', '--timeout=60s');
      }
      await mesh.many('http://app/get', 20);
    });
    assert.deepEqual(failed, []);
  });

  test('bound and released while traffic flows, nothing is lost', async () => {
    const failed = await lost('http://app-v1/get', async () => {
      for (const [label, wanted] of [
        ['none', false],
        ['waypoint', true],
        ['none', false],
      ] as const) {
        await kubectl('label', '-n', 'shop', 'svc/app-v1', `istio.io/use-waypoint=${label}`, '--overwrite');
        await mesh.until(`with ${label}`, 'http://app-v1/get', by(wanted));
      }
    });
    assert.deepEqual(failed, []);
    await kubectl('label', '-n', 'shop', 'svc/app-v1', 'istio.io/use-waypoint-');
    await mesh.until('bound again', 'http://app-v1/get', by(true));
  });

  test('a waypoint of another namespace serves if its listener allows it', async () => {
    await mesh.apply(shared('Same'));
    const refused = await mesh.call('http://foreign/get');
    assert.notEqual(refused.status, 200, JSON.stringify(refused));
    await mesh.apply(shared('All'));
    const call = await mesh.until('through it', 'http://foreign/get', by(true), {}, 60_000);
    assert.match(seen(call).pod, /^app-v/);
    // It is that one which was asked, and the other one which was not.
    assert.ok(
      (await mesh.count(
        'istio_requests_total',
        { destination_service_name: 'foreign' },
        'elsewhere/shared',
      )) > 0,
    );
    assert.equal(await mesh.count('istio_requests_total', { destination_service_name: 'foreign' }), 0);
  });

  test('a canary waypoint takes its share of connections', async () => {
    await mesh.lab.must('waypoint', 'apply', '-n', 'shop', '--name', 'canary', '--wait');
    await kubectl('annotate', '-n', 'shop', 'svc/app-v2', 'istio.io/use-waypoint-canary-weight=50');
    await kubectl(
      'label',
      '-n',
      'shop',
      'svc/app-v2',
      'istio.io/use-waypoint=waypoint',
      'istio.io/use-waypoint-canary=canary',
    );
    const labels = { destination_service_name: 'app-v2' };
    await eventually('both are asked', async () => {
      for (let i = 0; i < 10; i++) assert.equal((await mesh.call('http://app-v2/get')).status, 200);
      return (
        (await mesh.count('istio_requests_total', labels, 'canary')) > 2 &&
        (await mesh.count('istio_requests_total', labels)) > 2
      );
    });
  });

  test('the annotation for it tells applications who their client is', async () => {
    assert.equal(seen(await mesh.call('http://app/get')).headers['x-forwarded-client-cert'], undefined);
    await kubectl(
      'annotate',
      '-n',
      'shop',
      'gateway/waypoint',
      'ambient.istio.io/xfcc-include-client-identity=true',
    );
    const call = await mesh.until(
      'the header',
      'http://app/get',
      (one) => one.status === 200 && 'x-forwarded-client-cert' in seen(one).headers,
      { args: ['-H', 'x-forwarded-client-cert: URI=spiffe://cluster.local/ns/x/sa/liar'] },
      60_000,
    );
    await kubectl('rollout', 'status', '-n', 'shop', 'deploy/waypoint', '--timeout=60s');
    const told = seen(call).headers['x-forwarded-client-cert'] ?? '';
    assert.match(told, /URI=spiffe:\/\/cluster\.local\/ns\/shop\/sa\/client/);
    assert.doesNotMatch(told, /liar/);
  });

  test('egress: an external service with a fixed address and one with a name go through the waypoint', async () => {
    const ip = (
      await kubectl(
        'get',
        'pod',
        '-n',
        'tools',
        '-l',
        'app=outside',
        '-o',
        'jsonpath={.items[0].status.podIP}',
      )
    ).trim();
    const entries = [
      ['fixed', 'fixed.example', 'STATIC', `endpoints: [{ address: ${ip} }]`],
      ['named', 'named.example', 'DNS', 'endpoints: [{ address: outside.tools.svc.cluster.local }]'],
    ].map(
      ([name, host, resolution, rest]) => `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: ${name}, namespace: shop }
spec:
  hosts: [${host}]
  location: MESH_EXTERNAL
  resolution: ${resolution}
  ports: [{ number: 80, name: http, protocol: HTTP }]
  ${rest}`,
    );
    const policy = `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: egress, namespace: shop }
spec:
  targetRefs: [{ group: networking.istio.io, kind: ServiceEntry, name: fixed }]
  action: DENY
  rules: [{ to: [{ operation: { paths: [/ip] } }] }]`;
    await mesh.with([...entries, policy].join('\n---'), async () => {
      for (const host of ['fixed.example', 'named.example']) {
        const call = await mesh.until(host, `http://${host}/get`, (one) => one.status === 200);
        assert.ok(throughWaypoint(call), host);
        assert.match(seen(call).pod, /^outside-/);
        assert.equal(seen(call).headers['host'], host);
      }
      await mesh.untilStatus('http://fixed.example/ip', 403);
      assert.equal((await mesh.call('http://named.example/ip')).status, 200);
    });
  });

  test('egress: a wildcard host goes to the name that was asked for, and to no other', async () => {
    const ip = (
      await kubectl(
        'get',
        'pod',
        '-n',
        'tools',
        '-l',
        'app=outside',
        '-o',
        'jsonpath={.items[0].status.podIP}',
      )
    ).trim();
    const entry = `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: wild, namespace: shop }
spec:
  hosts: ["*.tools.pod.cluster.local"]
  location: MESH_EXTERNAL
  resolution: DYNAMIC_DNS
  ports: [{ number: 80, name: http, protocol: HTTP }]`;
    const host = `${ip.replaceAll('.', '-')}.tools.pod.cluster.local`;
    await mesh.with(entry, async () => {
      const call = await mesh.until('through the waypoint', `http://${host}/get`, by(true));
      assert.match(seen(call).pod, /^outside-/);
      const other = await mesh.call(`http://${host}/get`, { args: ['-H', 'host: istiod.istio-system.svc'] });
      assert.notEqual(other.status, 200);
    });
  });

  test('a Gateway that is deleted while it is used leaves its services refused, not open', async () => {
    await kubectl('label', '-n', 'shop', 'svc/app-v2', 'istio.io/use-waypoint-canary-');
    await mesh.lab.must('waypoint', 'delete', 'waypoint', '-n', 'shop');
    await mesh.until('refused', 'http://app/get', (call) => call.status === 0);
    await mesh.lab.must('waypoint', 'apply', '-n', 'shop', '--wait');
    await mesh.until('served again', 'http://app/get', by(true));
  });
});
