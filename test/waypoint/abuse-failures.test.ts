// What a waypoint asks and sends to fails: key servers, authorization servers, endpoints, and the waypoint itself. Each
// has an outcome that is written here, and a client of something else notices nothing.
import assert from 'node:assert/strict';
import { generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { eventually } from '../lab/test-lab.ts';
import {
  accessLogs,
  hostileServer,
  raw,
  unnoticed,
  watched,
  waypointEnv,
  waypointPids,
} from './abuse-lab.ts';
import { service, WaypointLab, worker } from './waypoint-lab.ts';

const providers = `
apiVersion: v1
kind: ConfigMap
metadata: { name: istio, namespace: istio-system }
data:
  mesh: |
    extensionProviders:
      - name: dead
        envoyExtAuthzHttp: { service: nobody.shop.svc.cluster.local, port: "8000", timeout: 0.5s }
      - name: dead-open
        envoyExtAuthzHttp: { service: nobody.shop.svc.cluster.local, port: "8000", timeout: 0.5s, failOpen: true }
      - name: dead-grpc
        envoyExtAuthzGrpc: { service: nobody.shop.svc.cluster.local, port: "9000", timeout: 0.5s, statusOnError: "503" }
---
`;

const bad = `
apiVersion: apps/v1
kind: Deployment
metadata: { name: bad, namespace: shop }
spec:
  selector: { matchLabels: { app: bad } }
  template:
    metadata: { labels: { app: bad } }
    spec:
      terminationGracePeriodSeconds: 1
      nodeName: ${worker}
      containers:
        - name: bad
          image: aura/debug
          command: ["${process.execPath}", "${hostileServer}"]
          ports: [{ containerPort: 8080 }]
---
${service('shop', 'bad', 'app: bad', '{ name: http, port: 80, targetPort: 8080, appProtocol: http }, { name: closed, port: 81, targetPort: 8081, appProtocol: http }')}
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: bad, namespace: shop }
spec:
  parentRefs: [{ group: "", kind: Service, name: bad, port: 80 }]
  rules:
    - timeouts: { request: 2s }
      backendRefs: [{ name: bad, port: 80 }]
---
`;

const base64 = (value: unknown): string =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
function token(key: KeyObject, claims: object = {}, header: object = {}): string {
  const now = Math.floor(Date.now() / 1000);
  const signed = `${base64({ alg: 'RS256', kid: 'good', ...header })}.${base64({ iss: 'test', sub: 'alice', exp: now + 3600, ...claims })}`;
  return `${signed}.${sign('sha256', Buffer.from(signed), key).toString('base64url')}`;
}

describe('what fails around a waypoint', () => {
  const mesh = new WaypointLab();
  before(() => mesh.start(accessLogs + providers + waypointEnv({}) + bad));
  after(() => mesh[Symbol.asyncDispose]());

  const answers = (paths: readonly string[], port = 80) =>
    raw(
      mesh,
      paths.map((path) => ({
        name: path,
        bytes: `GET ${path} HTTP/1.1\r\nHost: bad\r\nConnection: close\r\n\r\n`,
      })),
      { host: 'bad', port, waitMs: 15_000 },
    );
  const fine = (): Promise<boolean> =>
    answers(['/ok']).then(([result]) => result?.answer.endsWith('ok') === true);

  test('endpoints that break off, hang, or speak nonsense: a 5xx, or a cut that cannot be taken for an end', async () => {
    await eventually('the bad server answers', fine, 60_000);
    const whole: Readonly<Record<string, readonly [number, string]>> = {
      '/no-answer': [503, ' UC '],
      '/half-a-head': [503, ' UC '],
      '/two-lengths': [502, ' UPE '],
      '/no-http': [502, ' UPE '],
      '/huge-head': [502, ' UPE '],
      '/hang': [504, ' UT '],
      '/early': [413, 'via_upstream'],
    };
    const halves = ['/half-a-body', '/cut-body', '/half-the-chunks', '/bad-chunk'];
    await unnoticed(mesh, async () => {
      for (const { name, answer, ended } of await answers(Object.keys(whole))) {
        assert.match(answer, new RegExp(`^HTTP/1\\.1 ${whole[name]?.[0]} `), name);
        assert.equal(ended, true, name);
      }
      for (const { name, answer } of await answers(halves)) {
        // What came before may be lost with the cut.
        assert.match(answer, /^(?:HTTP\/1\.1 200 |$)/, name);
        // A length that is not kept, or no last chunk: nobody can take it for the whole.
        assert.ok(!answer.endsWith('0\r\n\r\n'), `${name}: ${answer}`);
        assert.notEqual((await mesh.call(`http://bad${name}`)).code, 0, `${name}: curl is told`);
      }
      // What a server says without being asked is for nobody.
      for (const { answer } of await answers(['/two-answers', '/two-answers', '/two-answers']))
        assert.ok(!answer.includes('evil'), answer);
      assert.ok(await fine());
      const [refused] = await answers(['/ok'], 81);
      assert.match(refused?.answer ?? '', /^HTTP\/1\.1 503 /);
    });
    const log = (await mesh.log()).split('\n');
    for (const [path, [status, reason]] of Object.entries(whole))
      assert.ok(
        log.some((line) => [`GET ${path} `, ` ${status} `, reason].every((word) => line.includes(word))),
        `${path}: ${log.find((line) => line.includes(path))}`,
      );
    for (const path of halves)
      assert.ok(
        log.some(
          (line) => line.includes(`GET ${path} `) && line.includes('upstream_reset_after_response_started'),
        ),
        path,
      );
  });

  test('tokens that prove nothing are refused, those that do are not', async () => {
    const good = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const other = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const jwks = JSON.stringify({
      keys: [{ ...good.publicKey.export({ format: 'jwk' }), kid: 'good', alg: 'RS256' }],
    });
    const none = `${base64({ alg: 'none' })}.${base64({ iss: 'test', sub: 'alice' })}.`;
    const past = Math.floor(Date.now() / 1000) - 3600;
    const cases: Readonly<Record<string, readonly [string, number]>> = {
      good: [token(good.privateKey), 200],
      'alg none': [none, 401],
      'alg none with a signature': [`${none}${base64('x')}`, 401],
      'another key': [token(other.privateKey), 401],
      'a wrong kid': [token(good.privateKey, {}, { kid: 'evil' }), 401],
      'HS256 with the public key': [token(good.privateKey, {}, { alg: 'HS256' }), 401],
      expired: [token(good.privateKey, { exp: past }), 401],
      'not yet': [token(good.privateKey, { nbf: past + 7200 }), 401],
      'another issuer': [token(good.privateKey, { iss: 'evil' }), 401],
      huge: [token(good.privateKey, { x: 'a'.repeat(30_000) }, { kid: 'b'.repeat(10_000) }), 401],
      'two dots': ['..', 401],
      noise: ['a.b.c', 401],
    };
    const manifest = `
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: { name: jwt, namespace: shop }
spec:
  targetRefs: [{ kind: Service, group: "", name: app-v1 }]
  jwtRules: [{ issuer: test, jwks: '${jwks}' }]
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: { name: dead, namespace: shop }
spec:
  targetRefs: [{ kind: Service, group: "", name: app-v2 }]
  jwtRules: [{ issuer: test, jwksUri: "http://nobody.shop.svc.cluster.local/keys" }]
`;
    await mesh.with(manifest, async () => {
      await mesh.untilStatus('http://app-v1/get', 401, { args: ['-H', `Authorization: Bearer ${none}`] });
      await unnoticed(mesh, async () => {
        const results = await raw(
          mesh,
          Object.entries(cases).map(([name, [text]]) => ({
            name,
            bytes: `GET /get HTTP/1.1\r\nHost: app-v1\r\nConnection: close\r\nAuthorization: Bearer ${text}\r\n\r\n`,
          })),
          { host: 'app-v1', waitMs: 15_000 },
        );
        for (const { name, answer } of results)
          assert.match(answer, new RegExp(`^HTTP/1\\.1 ${cases[name]?.[1]} `), name);
        await mesh.logLine(['GET /get', '401', 'jwt_authn_access_denied{Jwt_is_expired}']);

        // The issuer's server is dead: tokens are refused, and who brings none is judged without.
        const bearer = ['-H', `Authorization: Bearer ${token(good.privateKey)}`];
        assert.equal((await mesh.call('http://app-v2/get', { args: bearer })).status, 401);
        assert.equal((await mesh.call('http://app-v2/get')).status, 200);
        await mesh.logLine(['keys of issuer test cannot be fetched']);
      });
    });
  });

  test('an authorization server that is dead refuses, unless it is told to fail open', async () => {
    const policy = (name: string, app: string): string => `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: ${name}, namespace: shop }
spec:
  targetRefs: [{ kind: Service, group: "", name: ${app} }]
  action: CUSTOM
  provider: { name: ${name} }
  rules: [{ to: [{ operation: { paths: ["/get"] } }] }]
---
`;
    await mesh.with(policy('dead', 'app-v1') + policy('dead-open', 'app-v2'), async () => {
      await mesh.untilStatus('http://app-v1/get', 403);
      await unnoticed(mesh, async () => {
        assert.equal((await mesh.call('http://app-v1/get')).status, 403);
        assert.equal((await mesh.call('http://app-v1/ip')).status, 200, 'only what the policy asks about');
        await mesh.until('it passes without an answer', 'http://app-v2/get', ({ status }) => status === 200);
      });
      await mesh.logLine(['a request is refused', 'provider=dead', 'nobody.shop']);
      await mesh.logLine(['a request passes without an answer', 'provider=dead-open']);
    });
    await mesh.with(policy('dead-grpc', 'app-v1'), async () => {
      await mesh.untilStatus('http://app-v1/get', 503);
    });
  });

  test('a waypoint that is killed under load: failures are told, nothing goes round it, and it comes back', async () => {
    const [pid] = await waypointPids(mesh);
    assert.ok(pid !== undefined);
    const { counts } = await watched(
      mesh,
      async () => {
        process.kill(pid, 'SIGKILL');
        await eventually(
          'another process serves',
          async () => {
            const now = await waypointPids(mesh);
            return now.length > 0 && !now.includes(pid);
          },
          60_000,
        );
        await mesh.until('it is back', 'http://app/get', ({ status }) => status === 200, {}, 60_000);
      },
      { timeoutMs: 3000 },
    );
    assert.equal(counts['bypass'], undefined, JSON.stringify(counts));
    assert.ok((counts['200'] ?? 0) > 0);
    assert.ok(Object.keys(counts).length > 1, `the kill was seen: ${JSON.stringify(counts)}`);
  });

  test('without a ready waypoint nothing reaches the application', async () => {
    const scale = (replicas: number): Promise<string> =>
      mesh.lab.mustKubectl(['scale', '-n', 'shop', 'deploy/waypoint', `--replicas=${replicas}`]);
    const { counts } = await watched(
      mesh,
      async () => {
        await scale(0);
        await mesh.until('it is gone', 'http://app/get', ({ status }) => status !== 200, {}, 60_000);
        for (let i = 0; i < 10; i++) assert.notEqual((await mesh.call('http://app/get')).status, 200);
        await scale(2);
        await mesh.until('it is back', 'http://app/get', ({ status }) => status === 200, {}, 60_000);
      },
      { timeoutMs: 3000 },
    );
    assert.equal(counts['bypass'], undefined, JSON.stringify(counts));
  });

  test('with two replicas, one that is killed is hardly noticed', async () => {
    const names = await eventually(
      'two are ready',
      async () => {
        const { stdout } = await mesh.lab.kubectl([
          'get',
          'pod',
          '-n',
          'shop',
          '-l',
          'gateway.networking.k8s.io/gateway-name=waypoint',
          '-o',
          'jsonpath={range .items[*]}{.metadata.name}={.status.conditions[?(@.type=="Ready")].status}{"\\n"}{end}',
        ]);
        const ready = stdout
          .split('\n')
          .flatMap((line) => (line.endsWith('=True') ? [line.slice(0, -5)] : []));
        return ready.length === 2 && ready;
      },
      60_000,
    );
    const [pid] = await waypointPids(mesh, names[0]);
    assert.ok(pid !== undefined);
    const { counts, longestGapMs } = await watched(
      mesh,
      async () => {
        process.kill(pid, 'SIGKILL');
        const { statuses } = await mesh.many('http://app/get', 200, {
          args: ['--retry', '5', '--retry-all-errors'],
        });
        assert.equal(statuses['200'], 200, JSON.stringify(statuses));
      },
      { timeoutMs: 3000 },
    );
    assert.equal(counts['bypass'], undefined, JSON.stringify(counts));
    const failed = Object.entries(counts).reduce((sum, [what, n]) => (what === '200' ? sum : sum + n), 0);
    assert.ok(
      failed <= (counts['200'] ?? 0),
      `${JSON.stringify(counts)}, at most ${longestGapMs} ms without`,
    );
  });
});
