// Routes through a waypoint with real traffic: the Gateway API's, VirtualServices and DestinationRules.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { controlPlane, httpbin, seen, service, WaypointLab, worker, type Call } from './waypoint-lab.ts';

const http = '{ name: http, port: 80, appProtocol: http }';
const tcp = '{ name: tcp, port: 9000, appProtocol: tcp }';

const echoOn = (name: string, node: string): string => `
apiVersion: apps/v1
kind: Deployment
metadata: { name: ${name}, namespace: shop }
spec:
  selector: { matchLabels: { app: ${name} } }
  template:
    metadata: { labels: { app: ${name} } }
    spec:
      terminationGracePeriodSeconds: 1
      nodeName: ${node}
      tolerations: [{ operator: Exists }]
      containers:
        - name: echo
          image: aura/echo
          readinessProbe: { tcpSocket: { port: 9090 }, periodSeconds: 2 }
---
${service('shop', name, `app: ${name}`, `${tcp}, { name: grpc, port: 9090, appProtocol: grpc }`)}`;

const more =
  echoOn('echo-b', controlPlane) +
  httpbin('shop', 'app-v3', worker, 'app: late, version: v3') +
  service('shop', 'late', 'app: late', http) +
  // Nobody listens on that port of the pods.
  service('shop', 'deaf', 'app: app', '{ name: http, port: 80, targetPort: 81, appProtocol: http }') +
  service('shop', 'empty', 'app: nobody', http);

const virtualService = (spec: string, host = 'app'): string => `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: ${host}, namespace: shop }
spec:
  hosts: [${host}]
${spec}`;

const destinationRule = (spec: string, host = 'app'): string => `
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: ${host}, namespace: shop }
spec:
  host: ${host}
${spec}`;

const httpRoute = (rules: string, parent = 'app'): string => `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: ${parent}, namespace: shop }
spec:
  parentRefs: [{ group: "", kind: Service, name: ${parent}, port: 80 }]
  rules:
${rules}`;

const subsets = destinationRule(
  '  subsets: [{ name: one, labels: { version: v1 } }, { name: two, labels: { version: v2 } }]',
);

describe('routes through a waypoint', () => {
  const mesh = new WaypointLab();
  before(() => mesh.start(more));
  after(() => mesh[Symbol.asyncDispose]());

  const by =
    (deployment: string) =>
    (call: Call): boolean =>
      call.status === 200 && call.body.includes(`"${deployment}-`);
  const bash = async (text: string): Promise<string> =>
    (await mesh.run(['timeout', '20', 'bash', '-c', text])).stdout;

  test('HTTPRoute: traffic is split by weight, and a header chooses', async () => {
    const route = httpRoute(`
    - matches: [{ headers: [{ name: x-user, value: amy }] }]
      backendRefs: [{ name: app-v2, port: 80 }]
    - backendRefs: [{ name: app-v1, port: 80, weight: 75 }, { name: app-v2, port: 80, weight: 25 }]`);
    await mesh.with(route, async () => {
      const amy = { args: ['-H', 'x-user: amy'] };
      for (let i = 0; i < 3; i++) await mesh.until('amy gets v2', 'http://app/get', by('app-v2'), amy);
      assert.deepEqual((await mesh.many('http://app/get', 10, amy)).servedBy, { 'app-v2': 10 });
      const { servedBy } = await mesh.many('http://app/get', 200);
      const first = servedBy['app-v1'] ?? 0;
      assert.ok(first > 110 && first < 190, JSON.stringify(servedBy));
    });
    await mesh.until('without the route both serve', 'http://app/get', by('app-v2'));
  });

  test('a backend that does not exist is 500 for its share, a service without pods 503', async () => {
    const route = httpRoute(`
    - matches: [{ path: { value: /missing } }]
      backendRefs: [{ name: nosuch, port: 80 }]
    - matches: [{ path: { value: /none } }]
      backendRefs: []
    - matches: [{ path: { value: /empty } }]
      backendRefs: [{ name: empty, port: 80 }]
    - matches: [{ path: { value: /port } }]
      backendRefs: [{ name: app-v1, port: 4444 }]
    - backendRefs: [{ name: app-v1, port: 80 }]`);
    await mesh.with(route, async () => {
      await mesh.untilStatus('http://app/missing', 500);
      await mesh.untilStatus('http://app/none', 500);
      await mesh.untilStatus('http://app/empty', 503);
      await mesh.untilStatus('http://app/port', 500);
      assert.equal((await mesh.call('http://app/get')).status, 200);
      const status = await mesh.lab.mustKubectl(['get', 'httproute', '-n', 'shop', 'app', '-o', 'yaml']);
      assert.match(status, /reason: BackendNotFound/);
    });
  });

  test('endpoints that refuse connections are 503, and the log says why', async () => {
    const call = await mesh.call('http://deaf/get');
    assert.equal(call.status, 503);
    assert.match(call.body, /upstream connect error or disconnect\/reset before headers/);
  });

  test('TCPRoute: connections go to the backend of the route', async () => {
    const route = `
apiVersion: gateway.networking.k8s.io/v1alpha2
kind: TCPRoute
metadata: { name: echo, namespace: shop }
spec:
  parentRefs: [{ group: "", kind: Service, name: echo, port: 9000 }]
  rules: [{ backendRefs: [{ name: echo-b, port: 9000 }] }]`;
    const first = (): Promise<string> => bash('exec 3<>/dev/tcp/echo/9000; timeout 5 head -1 <&3');
    assert.match(await first(), /^echo-[a-z0-9]+-[a-z0-9]+\n$/);
    await mesh.with(route, async () => {
      for (let i = 0; i < 100; i++) if ((await first()).startsWith('echo-b-')) break;
      for (let i = 0; i < 4; i++) assert.match(await first(), /^echo-b-/);
    });
  });

  test('GRPCRoute: a method and a header choose', async () => {
    const route = `
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: { name: echo, namespace: shop }
spec:
  parentRefs: [{ group: "", kind: Service, name: echo, port: 9090 }]
  rules:
    - matches: [{ method: { service: aura.echo.v1.Echo, method: Say }, headers: [{ name: x-to, value: b }] }]
      backendRefs: [{ name: echo-b, port: 9090 }]
    - matches: [{ method: { service: aura.echo.v1.Echo } }]
      backendRefs: [{ name: echo, port: 9090 }]`;
    const say = (more_: string): Promise<string> =>
      bash(
        `printf '\\0\\0\\0\\0\\2hi' | curl -sS -m 10 --http2-prior-knowledge -D - -H 'content-type: application/grpc' -H 'te: trailers' ${more_} --data-binary @- http://echo:9090/aura.echo.v1.Echo/Say | tr -d '\\0'`,
      );
    assert.match(await say('-H "x-to: b"'), /x-pod: echo-[a-z0-9]+-[a-z0-9]+\r/);
    await mesh.with(route, async () => {
      for (let i = 0; i < 100; i++) if (/x-pod: echo-b-/.test(await say('-H "x-to: b"'))) break;
      assert.match(await say('-H "x-to: b"'), /x-pod: echo-b-[\s\S]*grpc-status: 0/);
      assert.match(await say(''), /x-pod: echo-[a-z0-9]+-[a-z0-9]+\r[\s\S]*grpc-status: 0/);
      // What no rule names is told in gRPC's own way.
      const other = await bash(
        `printf '\\0\\0\\0\\0\\2hi' | curl -sS -m 10 --http2-prior-knowledge -D - -H 'content-type: application/grpc' -H 'te: trailers' --data-binary @- http://echo:9090/other.Service/Call`,
      );
      assert.match(other, /HTTP\/2 200[\s\S]*grpc-status: 12/);
    });
  });

  test('DestinationRule: subsets', async () => {
    const both =
      subsets +
      '\n---' +
      virtualService(`
  http:
    - match: [{ headers: { x-v: { exact: two } } }]
      route: [{ destination: { host: app, subset: two } }]
    - match: [{ headers: { x-v: { exact: none } } }]
      route: [{ destination: { host: app, subset: nosuch } }]
    - route: [{ destination: { host: app, subset: one } }]`);
    await mesh.with(both, async () => {
      const two = { args: ['-H', 'x-v: two'] };
      await mesh.until('subset two', 'http://app/get', by('app-v2'), two);
      await mesh.untilStatus('http://app/get', 503, { args: ['-H', 'x-v: none'] });
      assert.deepEqual((await mesh.many('http://app/get', 10, two)).servedBy, { 'app-v2': 10 });
      assert.deepEqual((await mesh.many('http://app/get', 10)).servedBy, { 'app-v1': 10 });
    });
  });

  test('DestinationRule: a consistent hash of a header keeps to one endpoint', async () => {
    const rule = destinationRule(
      '  trafficPolicy: { loadBalancer: { consistentHash: { httpHeaderName: x-user } } }',
    );
    await mesh.with(rule, async () => {
      const used = new Set<string>();
      await mesh.until('one user, one endpoint', 'http://app/get', () => true);
      const until = Date.now() + 20_000;
      for (;;) {
        const { servedBy } = await mesh.many('http://app/get', 12, { args: ['-H', 'x-user: amy'] });
        if (Object.keys(servedBy).length === 1) break;
        assert.ok(Date.now() < until, JSON.stringify(servedBy));
      }
      for (let user = 0; user < 24; user++) {
        const { servedBy } = await mesh.many('http://app/get', 4, { args: ['-H', `x-user: u${user}`] });
        assert.equal(Object.keys(servedBy).length, 1, `user ${user}: ${JSON.stringify(servedBy)}`);
        for (const one of Object.keys(servedBy)) used.add(one);
        if (used.size === 2) break;
      }
      assert.equal(used.size, 2);
    });
  });

  test('DestinationRule: an endpoint that fails is ejected', async () => {
    const rule =
      destinationRule(`
  trafficPolicy:
    loadBalancer: { simple: ROUND_ROBIN }
    outlierDetection: { consecutive5xxErrors: 2, interval: 1s, baseEjectionTime: 60s, maxEjectionPercent: 100 }`) +
      '\n---' +
      virtualService(`
  http:
    - route: [{ destination: { host: app } }]
      retries: { attempts: 0 }`);
    await mesh.with(rule, async () => {
      // Whoever gets these fails, and both are out at last: then nobody is left, and the request goes nowhere.
      await mesh.until(
        'both are ejected',
        'http://app/status/500',
        ({ status, body }) => status === 503 && /no healthy upstream/.test(body),
      );
    });
    await mesh.untilStatus('http://app/get', 200);
  });

  test('DestinationRule: requests over the limit of the connection pool are refused', async () => {
    const rule = destinationRule(
      '  trafficPolicy: { connectionPool: { tcp: { maxConnections: 1 }, http: { http1MaxPendingRequests: 1 } } }',
      'late',
    );
    await mesh.with(rule, async () => {
      const until = Date.now() + 30_000;
      for (;;) {
        const said = await bash(
          'for i in $(seq 8); do curl -s -m 15 -o /dev/null -w "%{http_code} %header{x-envoy-overloaded}\\n" http://late/delay/1 & done; wait',
        );
        const ok = said.match(/^200/gm)?.length ?? 0;
        const refused = said.match(/^503/gm)?.length ?? 0;
        if (refused >= 4 && ok >= 1 && ok + refused === 8) break;
        assert.ok(Date.now() < until, said);
      }
    });
  });

  test('VirtualService: match, rewrite, headers', async () => {
    await mesh.with(
      virtualService(`
  http:
    - match: [{ uri: { prefix: /old/ }, method: { exact: GET }, queryParams: { q: { exact: "1" } } }]
      rewrite: { uri: /anything/, authority: inner.example }
      route:
        - destination: { host: app-v2 }
          headers: { request: { set: { x-set: there } } }
      headers: { request: { add: { x-add: 'there, too' }, remove: [x-drop] }, response: { set: { x-answer: made } } }
    - route: [{ destination: { host: app-v1 } }]`),
      async () => {
        const call = await mesh.until(
          'rewritten',
          'http://app/old/thing?q=1',
          ({ headers }) => headers['x-answer'] === 'made',
          { args: ['-H', 'x-drop: me'] },
        );
        const told = seen(call);
        assert.match(told.pod, /^app-v2-/);
        assert.equal(told.url, 'http://inner.example/anything/thing?q=1');
        assert.equal(told.headers['x-add'], 'there, too');
        assert.equal(told.headers['x-set'], 'there');
        assert.equal(told.headers['x-drop'], undefined);
        assert.equal((await mesh.call('http://app/old/thing?q=2')).status, 404);
      },
    );
  });

  test('VirtualService: faults, timeouts, retries, redirects, direct responses, CORS', async () => {
    await mesh.with(
      virtualService(`
  http:
    - match: [{ uri: { prefix: /broken } }]
      fault: { abort: { httpStatus: 418, percentage: { value: 100 } } }
      route: [{ destination: { host: app-v1 } }]
    - match: [{ uri: { prefix: /slow } }]
      fault: { delay: { fixedDelay: 1500ms, percentage: { value: 100 } } }
      rewrite: { uri: /get }
      route: [{ destination: { host: app-v1 } }]
    - match: [{ uri: { prefix: /delay } }]
      timeout: 500ms
      route: [{ destination: { host: app-v1 } }]
    - match: [{ uri: { prefix: /status } }]
      retries: { attempts: 3, retryOn: "5xx" }
      route: [{ destination: { host: app-v1 } }]
    - match: [{ uri: { exact: /moved } }]
      redirect: { uri: /get, authority: elsewhere.example, redirectCode: 308 }
    - match: [{ uri: { exact: /made } }]
      directResponse: { status: 203, body: { string: "made up" } }
    - match: [{ uri: { exact: /get } }]
      corsPolicy: { allowOrigins: [{ exact: "https://a.example" }], allowMethods: [GET], maxAge: 60s }
      route: [{ destination: { host: app-v1 } }]`),
      async () => {
        const broken = await mesh.untilStatus('http://app/broken', 418);
        assert.equal(broken.body, 'fault filter abort');
        const before_ = Date.now();
        assert.equal((await mesh.call('http://app/slow')).status, 200);
        assert.ok(Date.now() - before_ >= 1400);
        const late = await mesh.call('http://app/delay/5');
        assert.deepEqual([late.status, late.body], [504, 'upstream request timeout']);
        assert.equal((await mesh.call('http://app/status/503')).status, 503);
        const moved = await mesh.call('http://app/moved');
        assert.deepEqual([moved.status, moved.headers['location']], [308, 'http://elsewhere.example/get']);
        const made = await mesh.call('http://app/made');
        assert.deepEqual([made.status, made.body], [203, 'made up']);
        const preflight = await mesh.call('http://app/get', {
          args: [
            '-X',
            'OPTIONS',
            '-H',
            'origin: https://a.example',
            '-H',
            'access-control-request-method: GET',
          ],
        });
        assert.equal(preflight.status, 200);
        assert.equal(preflight.headers['access-control-allow-origin'], 'https://a.example');
        assert.equal(preflight.headers['access-control-max-age'], '60');
        assert.equal((await mesh.call('http://app/nothing-matches')).status, 404);
      },
    );
  });

  test('VirtualService: what fails is tried again as often as it says', async () => {
    let key = 0;
    const failing = (how: string) => ({ args: ['-H', `x-echo-fail: try-${++key} ${how}`] });
    assert.equal((await mesh.call('http://echo:8080/', failing('2 503'))).status, 503);
    const retries = virtualService(
      `
  http:
    - route: [{ destination: { host: echo, port: { number: 8080 } } }]
      retries: { attempts: 3, retryOn: "5xx,reset", perTryTimeout: 1s }`,
      'echo',
    );
    await mesh.with(retries, async () => {
      const until = Date.now() + 20_000;
      while ((await mesh.call('http://echo:8080/', failing('2 503'))).status !== 200)
        assert.ok(Date.now() < until, 'it is never tried again');
      assert.equal((await mesh.call('http://echo:8080/', failing('3 reset'))).status, 200);
      assert.equal((await mesh.call('http://echo:8080/', failing('1 hang'))).status, 200);
      assert.equal((await mesh.call('http://echo:8080/', failing('4 503'))).status, 503);
      // A body is sent again, too.
      const { args } = failing('2 503');
      const posted = await mesh.call('http://echo:8080/', { args: [...args, '-d', 'the body'] });
      assert.deepEqual([posted.status, posted.body], [200, 'the body']);
    });
  });

  test('VirtualService: a mirror gets a copy, and its answer is not waited for', async () => {
    await mesh.with(
      virtualService(`
  http:
    - route: [{ destination: { host: app-v1 } }]
      mirror: { host: echo, port: { number: 8080 } }
      mirrorPercentage: { value: 100 }`),
      async () => {
        const remember = { args: ['-H', 'x-echo-remember: mirror'] };
        const recall = { args: ['-H', 'x-echo-recall: mirror'] };
        interface Copy {
          readonly path: string;
          readonly host: string;
        }
        const copies = async (): Promise<readonly Copy[]> =>
          JSON.parse((await mesh.call('http://echo:8080/', recall)).body) as Copy[];
        const until = Date.now() + 20_000;
        for (;;) {
          assert.match(seen(await mesh.call('http://app/get?copy', remember)).pod, /^app-/);
          const [copy] = await copies();
          if (copy !== undefined) {
            assert.deepEqual([copy.path, copy.host], ['/get?copy', 'app-shadow']);
            break;
          }
          assert.ok(Date.now() < until, 'no copy came');
        }
      },
    );
  });
});
