// The commands as they are typed: on files, with their output formats and exit codes.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { parse } from 'yaml';

const main = join(import.meta.dirname, 'main.ts');
const folder = mkdtempSync(join(tmpdir(), 'aura-analysis-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const file = join(folder, 'mesh.yaml');
writeFileSync(
  file,
  `apiVersion: v1
kind: Namespace
metadata: {name: demo, labels: {istio.io/dataplane-mode: ambient}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: demo}
spec: {template: {metadata: {labels: {app: web}}}}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: demo}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: nobody, namespace: demo}
spec: {selector: {matchLabels: {app: web}}}
`,
);

interface Result {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function aura(...args: readonly string[]): Promise<Result> {
  const env = { PATH: process.env['PATH'], HOME: folder, AURA_HOME: folder };
  return new Promise((resolve) => {
    execFile(process.execPath, [main, ...args], { env, timeout: 60_000 }, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === 'number' ? error.code : -1;
      resolve({ code, stdout, stderr });
    });
  });
}

test('explain prints text, JSON and YAML, and its exit code tells the verdict when it is asked to', async () => {
  const text = await aura('explain', 'web', 'web:80', '-n', 'demo', '-f', file);
  assert.equal(text.code, 0, text.stderr);
  assert.match(text.stdout, /^REFUSED: .*allow policies exist, but none allowed\n/);
  const json = await aura('explain', 'web', 'web:80', '-n', 'demo', '-f', file, '-o', 'json', '--exit-code');
  assert.equal(json.code, 3);
  assert.equal((JSON.parse(json.stdout) as { verdict: string }).verdict, 'refused');
  const yaml = await aura('explain', 'web', 'web', '-n', 'demo', '-f', folder, '-o', 'yaml');
  assert.deepEqual(parse(yaml.stdout), JSON.parse(json.stdout));
});

const behindWaypoint = join(folder, 'l7.yml.txt');
writeFileSync(
  behindWaypoint,
  `apiVersion: v1
kind: Namespace
metadata: {name: demo, labels: {istio.io/dataplane-mode: ambient, istio.io/use-waypoint: wp}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: wp, namespace: demo}
spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: demo}
spec: {template: {metadata: {labels: {app: web}}}}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: demo}
spec: {selector: {app: web}, ports: [{name: http, port: 80}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: editors, namespace: demo}
spec:
  targetRefs: [{group: "", kind: Service, name: web}]
  rules:
    - to: [{operation: {methods: [PUT], paths: [/items/*]}}]
      when: [{key: "request.headers[x-token]", values: [secret]}]
`,
);

test('explain asks a waypoint about the request that the flags say', async () => {
  const ask = ['explain', 'web', 'web:80', '-n', 'demo', '-f', behindWaypoint, '-o', 'json', '--exit-code'];
  const put = ['--method', 'PUT', '--path', '//items/x/..//7?a=1', '-H', 'X-Token: secret', '--host', 'WEB'];
  const [assumed, allowed] = await Promise.all([aura(...ask), aura(...ask, ...put)]);
  assert.equal(assumed.code, 3, assumed.stderr);
  assert.equal(allowed.code, 3, 'the path has an empty element, as BASE leaves it');
  const good = await aura(...ask, ...put, '--path', '/items/x/../7?a=1');
  assert.equal(good.code, 0, good.stderr);
  const { paths } = JSON.parse(good.stdout) as {
    paths: { hops: { at: string; request?: { request: unknown; by: string } }[] }[];
  };
  const report = paths[0]?.hops.find(({ at }) => at === 'waypoint')?.request;
  assert.equal(report?.by, 'demo/editors');
  assert.deepEqual(report?.request, {
    method: 'PUT',
    path: '/items/7',
    query: 'a=1',
    host: 'web',
    headers: [{ name: 'x-token', value: 'secret' }],
    grpc: false,
    assumed: [],
  });
});

test('explain refuses flags that make no request', async () => {
  const results = await Promise.all(
    [
      ['--path', '/%00'],
      ['--claims', '[]'],
      ['-H', 'no colon'],
    ].map((flags) => aura('explain', 'web', 'web:80', '-n', 'demo', '-f', behindWaypoint, ...flags)),
  );
  assert.deepEqual(
    results.map(({ code }) => code),
    [1, 1, 1],
  );
  assert.match(results[0]?.stderr ?? '', /the waypoint answers 400: the path has an encoded NUL/);
});

test('explain says what is wrong with a name', async () => {
  const { code, stdout, stderr } = await aura('explain', 'nobody', 'web:80', '-n', 'demo', '-f', file);
  assert.deepEqual(
    [code, stdout, stderr],
    [1, '', 'aura: no pod or service demo/nobody: there are service/web, pod/web\n'],
  );
});

test('analyze fails at the level that is asked for', async () => {
  const calm = await aura('analyze', '-f', file);
  assert.equal(calm.code, 0, calm.stderr);
  assert.match(calm.stdout, /^Info \[AUR0312\] \(AuthorizationPolicy demo\/nobody\) .*mesh\.yaml:18: /);
  const broken = join(folder, 'broken.txt');
  writeFileSync(broken, 'a: b: c');
  const failed = await aura('analyze', file, broken, '-o', 'json');
  assert.equal(failed.code, 79);
  const codes = (JSON.parse(failed.stdout) as { code: string }[]).map(({ code }) => code);
  assert.deepEqual(codes, ['AUR0001', 'AUR0312']);
  const suppressed = await aura('analyze', file, broken, '-S', 'AUR0001');
  assert.equal(suppressed.code, 0);
});

test('the ConfigMap of the mesh counts, when it is among the files', async () => {
  const mesh = join(folder, 'mesh-config.txt');
  const config = (text: string): string =>
    `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata:\n  mesh: ${JSON.stringify(text)}\n`;
  const policy = join(folder, 'custom.txt');
  writeFileSync(
    policy,
    `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ask, namespace: demo}
spec:
  targetRefs: [{group: "", kind: Service, name: web}]
  action: CUSTOM
  provider: {name: ext}
  rules: [{}]
`,
  );
  const base = ['analyze', behindWaypoint, policy, '-o', 'json'];
  const codes = (text: string): string[] => (JSON.parse(text) as { code: string }[]).map(({ code }) => code);
  const unknown = await aura(...base);
  assert.ok(codes(unknown.stdout).includes('AUR0912'), unknown.stdout);
  assert.match(unknown.stdout, /give the ConfigMap istio-system\/istio, too/);
  writeFileSync(
    mesh,
    config(
      '{extensionProviders: [{name: ext, envoyExtAuthzGrpc: {service: ext.demo.svc.cluster.local, port: 9000}}]}',
    ),
  );
  const known = await aura(...base, '-f', mesh);
  assert.ok(!codes(known.stdout).includes('AUR0912'), known.stdout);
  writeFileSync(mesh, config('serviceScopeConfigs: 1'));
  const broken = await aura(...base, '-f', mesh);
  assert.equal(broken.code, 1);
  assert.match(broken.stderr, /ConfigMap istio-system\/istio, key mesh: serviceScopeConfigs is not a list/);
});
