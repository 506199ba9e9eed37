// Policies of a waypoint with real traffic: who may do what by its own identity, external authorization, tokens, limits.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { root } from '../lab/test-lab.ts';
import { seen, service, WaypointLab, type CallOptions } from './waypoint-lab.ts';

const indented = (text: string, by: number): string =>
  text
    .split('\n')
    .map((line) => `${' '.repeat(by)}${line}`)
    .join('\n');

/** A pod that runs a script of Node, outside of the mesh, and its Service. */
const program = (name: string, script: string, ports: string): string => `
apiVersion: v1
kind: ConfigMap
metadata: { name: ${name}, namespace: tools }
data:
  main.mjs: |
${indented(script.trim(), 4)}
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: ${name}, namespace: tools }
spec:
  selector: { matchLabels: { app: ${name} } }
  template:
    metadata: { labels: { app: ${name} } }
    spec:
      terminationGracePeriodSeconds: 1
      volumes: [{ name: script, configMap: { name: ${name} } }]
      containers:
        - name: main
          image: none
          command: ['${process.execPath}', /script/main.mjs]
          volumeMounts: [{ name: script, mountPath: /script }]
          readinessProbe: { tcpSocket: { port: 8000 }, periodSeconds: 1 }
---
${service('tools', name, `app: ${name}`, ports)}`;

/** Allows what says so in a header; tells what it was asked. */
const authorizer = program(
  'authz',
  `
import { createServer } from 'node:http';
import grpc from '${root}/node_modules/@grpc/grpc-js/build/src/index.js';
createServer((request, response) => {
  const allow = request.headers['x-may'] === 'yes';
  response.writeHead(allow ? 200 : 401, { 'x-from-authz': allow ? 'let in' : 'kept out', 'content-type': 'text/plain' });
  response.end(allow ? '' : 'no: ' + request.method + ' ' + request.url);
}).listen(8000);
const server = new grpc.Server();
const bytes = (value) => value;
server.addService({ Check: { path: '/envoy.service.auth.v3.Authorization/Check', requestStream: false, responseStream: false, requestDeserialize: bytes, requestSerialize: bytes, responseSerialize: bytes, responseDeserialize: bytes } }, {
  Check: (call, answer) => {
    // CheckResponse.status (field 1) is a google.rpc.Status: code 0 or 7. The principal is in the request as text.
    const text = call.request.toString('latin1');
    const allow = text.includes('x-may') && text.includes('/sa/client');
    answer(null, allow ? Buffer.from([10, 0]) : Buffer.from([10, 2, 8, 7]));
  },
});
server.bindAsync('0.0.0.0:8001', grpc.ServerCredentials.createInsecure(), () => {});
`,
  '{ name: http, port: 8000, appProtocol: http }, { name: grpc, port: 8001, appProtocol: grpc }',
);

const keyServer = (jwks: string): string =>
  program(
    'keys',
    `
import { createServer } from 'node:http';
createServer((request, response) => response.end(${JSON.stringify(jwks)})).listen(8000);
`,
    '{ name: http, port: 8000, appProtocol: http }',
  );

const mesh_ = `
apiVersion: v1
kind: ConfigMap
metadata: { name: istio, namespace: istio-system }
data:
  mesh: |
    extensionProviders:
      - name: authz-http
        envoyExtAuthzHttp:
          service: authz.tools.svc.cluster.local
          port: 8000
          includeRequestHeadersInCheck: [x-may]
          headersToUpstreamOnAllow: [x-from-authz]
          headersToDownstreamOnDeny: [x-from-authz, content-type]
      - name: authz-grpc
        envoyExtAuthzGrpc: { service: authz.tools.svc.cluster.local, port: 8001 }
      - name: authz-gone
        envoyExtAuthzHttp: { service: nobody.tools.svc.cluster.local, port: 8000, timeout: 1s }
---
`;

const toService = 'targetRefs: [{ group: "", kind: Service, name: app }]';
const toGateway = 'targetRefs: [{ group: gateway.networking.k8s.io, kind: Gateway, name: waypoint }]';

const authorization = (name: string, spec: string, namespace = 'shop', annotations = ''): string => `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: ${name}, namespace: ${namespace}, annotations: { ${annotations} } }
spec:
${spec}`;

describe('policies of a waypoint', () => {
  const mesh = new WaypointLab();
  let sign: (claims: Record<string, unknown>, expires?: string) => Promise<string>;
  let jwks = '';
  before(async () => {
    const { privateKey, publicKey } = await generateKeyPair('RS256');
    jwks = JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), kid: 'one', alg: 'RS256' }] });
    sign = (claims, expires = '1h') =>
      new SignJWT({ iss: 'https://issuer.example', sub: 'amy', ...claims })
        .setProtectedHeader({ alg: 'RS256', kid: 'one' })
        .setIssuedAt()
        .setExpirationTime(expires)
        .sign(privateKey);
    const tools = 'apiVersion: v1\nkind: Namespace\nmetadata: { name: tools }\n---';
    await mesh.start(`${tools}${mesh_}${authorizer}${keyServer(jwks)}`);
  });
  after(() => mesh[Symbol.asyncDispose]());

  const url = 'http://app/get';
  const other: CallOptions = { from: 'other' };
  const status = async (at: string, options?: CallOptions): Promise<number> =>
    (await mesh.call(at.replace('app/', options?.from === 'other' ? 'app.shop/' : 'app/'), options)).status;

  test('ALLOW for a Service: only the named client, method and path, by the client’s own identity', async () => {
    const policy = authorization(
      'allow',
      `
  ${toService}
  action: ALLOW
  rules:
    - from: [{ source: { principals: [cluster.local/ns/shop/sa/client] } }]
      to: [{ operation: { methods: [GET], paths: [/get, /status/*] } }]
    - from: [{ source: { namespaces: [elsewhere] } }]
      when: [{ key: "request.headers[x-pass]", values: [please] }]`,
    );
    await mesh.with(policy, async () => {
      const denied = await mesh.untilStatus('http://app/headers', 403);
      assert.equal(denied.body, 'RBAC: access denied');
      assert.equal(await status(url), 200);
      assert.equal(await status('http://app/status/204'), 204);
      assert.equal(await status(url, { args: ['-X', 'POST'] }), 403);
      assert.equal(await status(url, other), 403);
      assert.equal(await status(url, { ...other, args: ['-H', 'x-pass: please'] }), 200);
      // Another service of the same waypoint is not meant.
      assert.equal(await status('http://app-v1/headers'), 200);
    });
    await mesh.untilStatus('http://app/headers', 200);
  });

  test('paths are looked at as the application will see them', async () => {
    const policy = authorization(
      'deny-path',
      `
  ${toService}
  action: DENY
  rules: [{ to: [{ operation: { paths: [/headers] } }] }]`,
    );
    await mesh.with(policy, async () => {
      await mesh.untilStatus('http://app/headers', 403);
      for (const path of ['/x/../headers', '/./headers', '/%68eaders', '/x/%2e%2e/headers'])
        assert.notEqual((await mesh.call(`http://app${path}`, { args: ['--path-as-is'] })).status, 200, path);
      assert.equal(await status(url), 200);
    });
    await mesh.untilStatus('http://app/headers', 200);
  });

  test('for a Gateway a policy is for all its services; DENY comes before ALLOW; an empty ALLOW denies all', async () => {
    const deny = authorization(
      'deny',
      `
  ${toGateway}
  action: DENY
  rules: [{ from: [{ source: { namespaces: [elsewhere] } }] }]`,
    );
    await mesh.with(deny, async () => {
      await mesh.until('other is denied', 'http://app.shop/get', (call) => call.status === 403, other);
      assert.equal(await status('http://app-v1.shop/get', other), 403);
      assert.equal(await status(url), 200);
      const allow = authorization('allow-all', `\n  ${toService}\n  action: ALLOW\n  rules: [{}]`);
      await mesh.with(allow, async () => {
        assert.equal(await status(url, other), 403);
      });
    });
    await mesh.with(authorization('nothing', `\n  ${toGateway}`), async () => {
      await mesh.untilStatus(url, 403);
      await mesh.untilStatus('http://app-v1/get', 403);
    });
    await mesh.untilStatus(url, 200);
  });

  test('for the GatewayClass, in the root namespace, a policy is for every waypoint', async () => {
    const policy = authorization(
      'every',
      `
  targetRefs: [{ group: gateway.networking.k8s.io, kind: GatewayClass, name: istio-waypoint }]
  action: DENY
  rules: [{ to: [{ operation: { hosts: [app-v1] } }] }]`,
      'istio-system',
    );
    await mesh.with(policy, async () => {
      await mesh.untilStatus('http://app-v1/get', 403);
      assert.equal(await status(url), 200);
    });
    await mesh.untilStatus('http://app-v1/get', 200);
  });

  test('a denial of TCP closes the connection', async () => {
    const tcp = (): Promise<string> =>
      mesh
        .run(['timeout', '10', 'bash', '-c', 'exec 3<>/dev/tcp/echo/9000; timeout 5 head -1 <&3'])
        .then(({ stdout }) => stdout);
    const policy = authorization(
      'tcp',
      `
  targetRefs: [{ group: "", kind: Service, name: echo }]
  action: DENY
  rules: [{ to: [{ operation: { ports: ["9000"] } }] }]`,
    );
    assert.match(await tcp(), /^echo-/);
    await mesh.with(policy, async () => {
      const until = Date.now() + 20_000;
      while ((await tcp()) !== '') assert.ok(Date.now() < until, 'it is never denied');
      assert.equal((await mesh.call('http://echo:8080/')).status, 200);
    });
  });

  test('AUDIT and dry runs let pass', async () => {
    const rule = `
  ${toService}
  rules: [{ to: [{ operation: { paths: [/ip] } }] }]`;
    const both = [
      authorization('audit', `${rule}\n  action: AUDIT`),
      authorization('dry', `${rule}\n  action: DENY`, 'shop', 'istio.io/dry-run: "true"'),
    ].join('\n---');
    await mesh.with(
      `${both}\n---${authorization('real', `\n  ${toService}\n  action: DENY\n  rules: [{ to: [{ operation: { paths: [/hostname] } }] }]`)}`,
      async () => {
        await mesh.untilStatus('http://app/hostname', 403);
        assert.equal(await status('http://app/ip'), 200);
      },
    );
  });

  for (const kind of ['http', 'grpc'] as const)
    test(`CUSTOM: an external authorizer decides over ${kind}`, async () => {
      const policy = authorization(
        'custom',
        `
  ${toService}
  action: CUSTOM
  provider: { name: authz-${kind} }
  rules: [{ to: [{ operation: { paths: [/get] } }] }]`,
      );
      const may = { args: ['-H', 'x-may: yes'] };
      await mesh.with(policy, async () => {
        const denied = await mesh.until(
          'kept out',
          url,
          (call) => call.status === (kind === 'http' ? 401 : 403),
        );
        if (kind === 'http') {
          assert.equal(denied.headers['x-from-authz'], 'kept out');
          assert.equal(denied.body, 'no: GET /get');
        }
        const allowed = seen(await mesh.call(url, may));
        if (kind === 'http') assert.equal(allowed.headers['x-from-authz'], 'let in');
        if (kind === 'grpc') assert.equal(await status(url, { ...other, ...may }), 403);
        assert.equal(await status('http://app/ip'), 200);
      });
      await mesh.untilStatus(url, 200);
    });

  test('CUSTOM: an authorizer that is not there refuses, and so does one that nobody defined', async () => {
    for (const provider of ['authz-gone', 'nosuch']) {
      const policy = authorization(
        'custom',
        `\n  ${toService}\n  action: CUSTOM\n  provider: { name: ${provider} }\n  rules: [{ to: [{ operation: { paths: [/get] } }] }]`,
      );
      await mesh.with(policy, async () => {
        await mesh.untilStatus(url, 403);
        assert.equal(await status('http://app/ip'), 200);
      });
      await mesh.untilStatus(url, 200);
    }
  });

  for (const where of ['inline', 'remote'] as const)
    test(`tokens with keys ${where}: without one passes, a bad one is 401, claims decide`, async () => {
      const keys =
        where === 'inline'
          ? `jwks: '${jwks}'`
          : 'jwksUri: "http://keys.tools.svc.cluster.local:8000/keys.json"';
      const authentication = `
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: { name: jwt, namespace: shop }
spec:
  ${toService}
  jwtRules:
    - issuer: https://issuer.example
      ${keys}
      outputClaimToHeaders: [{ header: x-who, claim: sub }]`;
      const policy = authorization(
        'claims',
        `
  ${toService}
  action: ALLOW
  rules:
    - to: [{ operation: { paths: [/ip] } }]
    - from: [{ source: { requestPrincipals: ["https://issuer.example/*"] } }]
      when: [{ key: "request.auth.claims[group]", values: [staff] }]`,
      );
      const bearer = (token: string): CallOptions => ({ args: ['-H', `authorization: Bearer ${token}`] });
      await mesh.with(`${authentication}\n---${policy}`, async () => {
        await mesh.untilStatus(url, 403);
        const bad = await mesh.until(
          'a bad token',
          'http://app/ip',
          (call) => call.status === 401,
          bearer('a.b.c'),
        );
        assert.match(bad.body, /Jwt/i);
        assert.match(bad.headers['www-authenticate'] ?? '', /^Bearer realm="http:\/\/app\/ip"/);
        assert.equal(await status('http://app/ip'), 200);
        const staff = await sign({ group: 'staff' });
        const call = await mesh.until('staff', url, (one) => one.status === 200, bearer(staff));
        assert.equal(seen(call).headers['x-who'], 'amy');
        assert.equal(seen(call).headers['authorization'], undefined);
        assert.equal(await status(url, bearer(await sign({ group: 'guest' }))), 403);
        assert.equal(await status(url, bearer(await sign({ group: 'staff' }, '-1h'))), 401);
        assert.equal(
          await status(url, bearer(await sign({ group: 'staff', iss: 'https://x.example' }))),
          401,
        );
        assert.equal(await status(url, bearer(`${staff.slice(0, -8)}AAAAAAAA`)), 401);
      });
      await mesh.untilStatus(url, 200);
    });

  test('a client cannot claim another identity by headers', async () => {
    const policy = authorization(
      'claim',
      `\n  ${toService}\n  action: ALLOW\n  rules: [{ from: [{ source: { principals: [cluster.local/ns/shop/sa/client] } }] }]`,
    );
    await mesh.with(policy, async () => {
      await mesh.until('other is denied', 'http://app.shop/get', (call) => call.status === 403, other);
      for (const header of [
        'x-forwarded-client-cert: By=x;URI=spiffe://cluster.local/ns/shop/sa/client',
        'baggage: k8s.namespace.name=shop,service.name=client',
        'x-forwarded-for: 10.244.1.4',
        'forwarded: for=10.244.1.4',
      ])
        assert.equal(await status(url, { ...other, args: ['-H', header] }), 403, header);
    });
  });

  test('TrafficPolicy: requests over a local rate limit are 429', async () => {
    const policy = `
apiVersion: policy.aura.io/v1alpha1
kind: TrafficPolicy
metadata: { name: limits, namespace: shop }
spec:
  ${toService}
  localRateLimits: [{ maxTokens: 4, interval: 300s, match: { path: { type: PathPrefix, value: /ip } } }]`;
    await mesh.with(policy, async () => {
      const limited = await mesh.untilStatus('http://app/ip', 429);
      assert.equal(limited.body, 'local_rate_limited');
      assert.equal(await status(url), 200);
    });
    await mesh.untilStatus('http://app/ip', 200);
  });
});
