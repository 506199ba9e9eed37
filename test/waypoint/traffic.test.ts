// Traffic through a waypoint, as the ambient suite of Istio has it: by address and name, from the same and another
// node, protocol by protocol; and what is not to go through it.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { execInPod } from '#/lab/index.ts';
import { root } from '../lab/test-lab.ts';
import {
  controlPlane,
  httpbin,
  seen,
  service,
  throughWaypoint,
  WaypointLab,
  worker,
  type CallOptions,
} from './waypoint-lab.ts';

const http = '{ name: http, port: 80, appProtocol: http }';

const more =
  // Bound on its own account: to no waypoint.
  service('shop', 'plain', 'app: app, version: v1', http).replace(
    'namespace: shop }',
    'namespace: shop, labels: { istio.io/use-waypoint: none } }',
  ) +
  // Of no declared protocol: one server speaks first, the other waits for its client.
  service('shop', 'silent', 'app: echo', '{ port: 7000, targetPort: 9000 }') +
  service('shop', 'talks', 'app: app, version: v1', '{ port: 7001, targetPort: 80 }') +
  service('shop', 'wrong', 'app: echo', '{ name: http, port: 7002, targetPort: 9000 }') +
  httpbin('shop', 'solo', worker, 'app: solo, istio.io/use-waypoint: everything') +
  service('shop', 'solo', 'app: solo', http).replace(
    'namespace: shop }',
    'namespace: shop, labels: { istio.io/use-waypoint: everything } }',
  ) +
  httpbin('shop', 'alone', worker, 'app: alone, istio.io/use-waypoint: pods') +
  service('shop', 'alone', 'app: alone', http).replace(
    'namespace: shop }',
    'namespace: shop, labels: { istio.io/use-waypoint: pods } }',
  );

/** Outside of the mesh, but with an account and what it takes to get a certificate for it. */
const direct = `
apiVersion: v1
kind: Pod
metadata: { name: direct, namespace: shop, labels: { istio.io/dataplane-mode: none } }
spec:
  serviceAccountName: client
  terminationGracePeriodSeconds: 1
  nodeName: ${worker}
  volumes:
    - name: token
      projected: { sources: [{ serviceAccountToken: { audience: istio-ca, expirationSeconds: 3600, path: token } }] }
    - name: roots
      configMap: { name: istio-ca-root-cert }
  containers:
    - name: main
      image: aura/debug
      volumeMounts: [{ name: token, mountPath: /run/token }, { name: roots, mountPath: /run/roots }]
`;

/** Asks the waypoint for each authority by CONNECT, and prints the status. */
const askDirectly = `
import { readFileSync } from 'node:fs';
import { connect } from 'node:http2';
import { CaClient, createCsr } from 'ROOT/src/identity/index.ts';
const identity = 'spiffe://cluster.local/ns/shop/sa/client';
const { csrPem, keyPem } = await createCsr(identity);
const ca = readFileSync('/run/roots/root-cert.pem');
const client = new CaClient({ address: 'https://istiod.istio-system.svc:15012', rootCert: () => ca, token: () => readFileSync('/run/token/token', 'utf8'), clusterId: 'Kubernetes' });
const chain = await client.createCertificate(csrPem, 3600);
const session = connect('https://waypoint.shop.svc.cluster.local:15008', { ca, cert: chain.slice(0, -1).join(''), key: keyPem, minVersion: 'TLSv1.3', checkServerIdentity: () => undefined });
for (const authority of process.argv.slice(1)) {
  const stream = session.request({ ':method': 'CONNECT', ':authority': authority });
  const status = await new Promise((done) => {
    stream.on('response', (head) => done(head[':status']));
    stream.on('error', ({ message }) => done(message));
    stream.on('close', () => done('closed'));
  });
  console.log(authority, status);
  stream.close();
}
process.exit(0);
`;

describe('traffic through a waypoint', () => {
  const mesh = new WaypointLab();
  before(async () => {
    await mesh.start(more);
    for (const [name, kind] of [
      ['everything', 'all'],
      ['pods', 'workload'],
    ] as const)
      await mesh.lab.must('waypoint', 'apply', '-n', 'shop', '--name', name, '--for', kind);
    await mesh.applyAndWait('');
  });
  after(() => mesh[Symbol.asyncDispose]());

  const jsonPath = async (kind: string, selector: string, path: string): Promise<string> =>
    (
      await mesh.lab.mustKubectl([
        'get',
        kind,
        '-n',
        'shop',
        ...selector.split(' '),
        '-o',
        `jsonpath={${path}}`,
      ])
    ).trim();
  const podIp = (label: string): Promise<string> => jsonPath('pod', `-l ${label}`, '.items[0].status.podIP');
  const shell = async (script: string, options?: CallOptions): Promise<string> => {
    const { code, stdout, stderr } = await mesh.run(['timeout', '20', 'bash', '-c', script], options);
    assert.equal(code, 0, `${script}: ${stderr}${stdout}`);
    return stdout;
  };
  const script = async (text: string): Promise<string> => {
    const { code, stdout, stderr } = await mesh.run([
      process.execPath,
      '--input-type=module',
      '-e',
      text.replaceAll('ROOT', root),
    ]);
    assert.equal(code, 0, stderr);
    return stdout;
  };

  for (const [where, node] of [
    ['the same node', worker],
    ['another node', controlPlane],
  ] as const)
    test(`a service is called through its waypoint from ${where}, by address and by names`, async () => {
      const vip = await jsonPath('svc', 'app-v1', '.spec.clusterIP');
      for (const host of [vip, 'app-v1', 'app-v1.shop', 'app-v1.shop.svc', 'app-v1.shop.svc.cluster.local']) {
        const call = await mesh.call(`http://${host}/get`, { node });
        assert.ok(throughWaypoint(call), host);
        assert.match(seen(call).pod, /^app-v1-/);
      }
    });

  test('a client of another namespace and account goes through it, too', async () => {
    assert.ok(throughWaypoint(await mesh.call('http://app.shop/get', { from: 'other' })));
  });

  test('the service is shared out over its pods, request by request on one connection', async () => {
    const { statuses, servedBy } = await mesh.many('http://app/get', 40);
    assert.deepEqual(statuses, { 200: 40 });
    assert.ok((servedBy['app-v1'] ?? 0) >= 5, JSON.stringify(servedBy));
    assert.ok((servedBy['app-v2'] ?? 0) >= 5, JSON.stringify(servedBy));
  });

  test('the application gets the request as it was sent, and the answer comes back as it was given', async () => {
    const call = await mesh.call('http://app-v1/anything/a%20b?x=1&y=2', {
      args: ['-X', 'PUT', '-d', 'the body', '-H', 'x-mine: yes'],
    });
    const told = seen(call);
    assert.equal(told.method, 'PUT');
    assert.equal(told.data, 'the body');
    assert.equal(told.headers['x-mine'], 'yes');
    assert.equal(told.headers['host'], 'app-v1');
    assert.equal(told.url, 'http://app-v1/anything/a%20b?x=1&y=2');
    for (const status of [204, 304, 404, 500])
      assert.equal((await mesh.call(`http://app-v1/status/${status}`)).status, status);
    assert.match(
      await shell('curl -sS -m 20 -I http://app-v1/get'),
      /^HTTP\/1\.1 200 OK\r\n(?:.+\r\n)+\r\n$/,
    );
  });

  test('large bodies pass both ways', async () => {
    const down = await mesh.run([
      'curl',
      '-sS',
      '-m',
      '25',
      '-o',
      '/dev/null',
      '-w',
      '%{http_code} %{size_download}',
      'http://app-v1/bytes/20000000',
    ]);
    assert.equal(down.stdout, '200 20000000');
    const up = await shell(
      'head -c 8000000 /dev/zero | curl -sS -m 15 --data-binary @- http://echo:8080/ | wc -c',
    );
    assert.equal(up.trim(), '8000000');
    const chunked = await shell(
      'head -c 3000000 /dev/zero | curl -sS -m 15 -H "transfer-encoding: chunked" -T - http://echo:8080/ | wc -c',
    );
    assert.equal(chunked.trim(), '3000000');
  });

  test('a service that is bound to none is not affected', async () => {
    for (const node of [worker, controlPlane]) {
      const call = await mesh.call('http://plain/get', { node });
      assert.equal(call.status, 200);
      assert.ok(!throughWaypoint(call));
    }
  });

  test('a pod’s address goes to the pod, unless the pod has a waypoint for workloads', async () => {
    const direct = await mesh.call(`http://${await podIp('deployment=app-v1')}/get`);
    assert.equal(direct.status, 200);
    assert.ok(!throughWaypoint(direct));
    for (const node of [worker, controlPlane])
      for (const pod of ['solo', 'alone']) {
        const ip = await podIp(`deployment=${pod}`);
        await mesh.until(`${pod} by its address through a waypoint`, `http://${ip}/get`, throughWaypoint, {
          node,
        });
      }
    // For all: services as well. For workloads: not.
    await mesh.until('solo by its name through a waypoint', 'http://solo/get', throughWaypoint);
    // By its service's name it is the service that is called, which that waypoint is not for; the pod's still is.
    assert.equal((await mesh.call('http://alone/get')).status, 200);
  });

  test('TCP: the server may speak first, and both ends may end', async () => {
    assert.match(
      await shell(
        'exec 3<>/dev/tcp/echo/9000; head -1 <&3; echo hello >&3; head -1 <&3; echo more >&3; head -1 <&3',
      ),
      /^echo-\S+\nhello\nmore\n$/,
    );
  });

  test('on a port of no declared protocol a server that speaks first is heard', async () => {
    assert.match(
      await shell('exec 3<>/dev/tcp/silent/7000; head -1 <&3; echo x >&3; head -1 <&3'),
      /^echo-\S+\nx\n$/,
    );
  });

  test('on a port of no declared protocol HTTP is found out', async () => {
    assert.ok(throughWaypoint(await mesh.call('http://talks:7001/get')));
  });

  test('HTTP/2 with prior knowledge reaches an application that speaks HTTP/1.1', async () => {
    const call = await mesh.call('http://app-v1/get', { args: ['--http2-prior-knowledge'] });
    assert.ok(throughWaypoint(call));
    const said = await script(`
      import { connect } from 'node:http2';
      const session = connect('http://app');
      const ask = () => new Promise((done) => {
        const request = session.request({ ':path': '/bytes/300000' });
        let length = 0;
        request.on('data', (data) => (length += data.length));
        request.on('end', () => done(length));
        request.on('error', ({ message }) => done(message));
      });
      const lengths = await Promise.all(Array.from({ length: 40 }, ask));
      console.log(...new Set([...lengths, await ask()]));
      session.close();
    `);
    assert.equal(said, '300000\n');
  });

  test('WebSocket passes', async () => {
    const said = await script(`
      const socket = new WebSocket('ws://echo:8080/chat');
      socket.onopen = () => { socket.send('hello'); socket.send('x'.repeat(200000)); };
      let count = 0;
      socket.onmessage = ({ data }) => { console.log(data.length); if (++count === 2) socket.close(); };
      socket.onclose = ({ code }) => { console.log('closed', code); process.exit(0); };
      socket.onerror = ({ message }) => { console.log('error', message); process.exit(1); };
    `);
    assert.match(said, /^5\n200000\nclosed \d+\n$/);
  });

  test('gRPC passes: calls, statuses, streams both ways', async () => {
    const said = await script(`
      import grpc from 'ROOT/node_modules/@grpc/grpc-js/build/src/index.js';
      const client = new grpc.Client('echo.shop.svc.cluster.local:9090', grpc.credentials.createInsecure());
      const same = (bytes) => bytes;
      const say = (metadata) => new Promise((done) => {
        client.makeUnaryRequest('/aura.echo.v1.Echo/Say', same, same, Buffer.from('hello'), metadata, {}, (error, answer) => done(error ? error.code + ' ' + error.details : answer.toString()));
      });
      console.log(await say(new grpc.Metadata()));
      const metadata = new grpc.Metadata();
      metadata.set('x-status', '9');
      console.log(await say(metadata));
      const stream = client.makeBidiStreamRequest('/aura.echo.v1.Echo/Talk', same, same, new grpc.Metadata(), {});
      let count = 0;
      stream.on('data', (data) => { if (++count < 5) stream.write(Buffer.from('m' + count)); else stream.end(); });
      stream.on('status', ({ code }) => { console.log('stream', count, code); process.exit(0); });
      stream.on('error', () => {});
      stream.write(Buffer.from('m0'));
    `);
    assert.equal(said, 'hello\n9 failed on demand\nstream 5 0\n');
  });

  test('what is declared as HTTP and is none gets no connection to the application', async () => {
    const { stdout } = await mesh.run([
      'bash',
      '-c',
      'exec 3<>/dev/tcp/wrong/7002; printf "GARBAGE\\r\\n\\r\\n" >&3; timeout 10 head -1 <&3',
    ]);
    assert.match(stdout, /^HTTP\/1\.1 400/);
  });

  test('who asks the waypoint directly gets what is bound to it, and nothing else', async () => {
    await mesh.applyAndWait(direct);
    const ip = (name: string): Promise<string> => jsonPath('svc', name, '.spec.clusterIP');
    const pod = await podIp('deployment=app-v1');
    const cases = [
      [`${await ip('app')}:80`, 200],
      ['app.shop.svc.cluster.local:80', 200],
      [`${await ip('app')}:81`, 404],
      // Bound to none, to another waypoint, and no service at all.
      [`${await ip('plain')}:80`, 404],
      [`${await ip('solo')}:80`, 404],
      [`${pod}:80`, 404],
      ['10.96.250.250:80', 404],
      ['kubernetes.default.svc.cluster.local:443', 404],
      ['127.0.0.1:15000', 404],
      ['localhost:15000', 404],
      ['nonsense', 400],
    ] as const;
    const argv = [process.execPath, '--input-type=module', '-e', askDirectly.replaceAll('ROOT', root), '--'];
    const { stdout, stderr } = await execInPod(mesh.lab.paths, { namespace: 'shop', name: 'direct' }, [
      ...argv,
      ...cases.map(([authority]) => authority),
    ]);
    assert.equal(stdout, `${cases.map((one) => one.join(' ')).join('\n')}\n`, stderr);
  });

  test('a port that the service does not have is not served', async () => {
    assert.equal((await mesh.call('http://app-v1:81/get')).status, 0);
  });
});
