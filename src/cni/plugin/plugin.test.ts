// The plugin against an agent and an API that listen on real sockets; once in this process, once as the program
// that a container runtime starts.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import { test, type TestContext } from 'node:test';
import { runPlugin } from './plugin.ts';

/** Self-signed for 127.0.0.1, made for these tests, valid for a hundred years. */
const testServer = {
  cert: `-----BEGIN CERTIFICATE-----
MIIBjDCCATOgAwIBAgITTcPRlxkq217wKP+g65MBAKY/njAKBggqhkjOPQQDAjAT
MREwDwYDVQQDDAh0ZXN0LWFwaTAgFw0yNjExMjEwMTE4MTlaGA8yMTI2MTAyODAx
MTgxOVowEzERMA8GA1UEAwwIdGVzdC1hcGkwWTATBgcqhkjOPQIBBggqhkjOPQMB
BwNCAAQoil0pE7xIth/gdK7viFa4c0oXHE6WvXRWq5A00pYpAuRoCtsIQEbA2y19
QbbMSQvNVMtbhxNtqEii/P1Yqr9ro2QwYjAdBgNVHQ4EFgQUn58iSVk7Xykq5HET
NCTxYphjAHowHwYDVR0jBBgwFoAUn58iSVk7Xykq5HETNCTxYphjAHowDwYDVR0T
AQH/BAUwAwEB/zAPBgNVHREECDAGhwR/AAABMAoGCCqGSM49BAMCA0cAMEQCIDkq
fgTjip4kzC9FRvR/mkpCjsk/pvjqHA9ydmMWY0axAiBiTTrf0Cw7P3jZj+jICrlP
rzwXnLIKV55GMNxPI9ZyXA==
-----END CERTIFICATE-----
`,
  key: `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgXhwmI5urlz0ey6Ny
MgVRD/VK5tO8AiNlmQvs9cCr7xKhRANCAAQoil0pE7xIth/gdK7viFa4c0oXHE6W
vXRWq5A00pYpAuRoCtsIQEbA2y19QbbMSQvNVMtbhxNtqEii/P1Yqr9r
-----END PRIVATE KEY-----
`,
};

interface World {
  readonly runDir: string;
  /** What the agent was sent, by path. */
  readonly calls: { path: string; body: unknown }[];
  readonly reads: string[];
  answer: { status: number; body: string };
  api: { status: number; pod: object; namespace: object };
  readonly conf: Record<string, unknown>;
}

const listen = async (t: TestContext, server: Server, where: object): Promise<void> => {
  server.listen(where);
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
};

async function world(t: TestContext, tls?: { key: string; cert: string }): Promise<World> {
  const runDir = mkdtempSync(`${tmpdir()}/aura-plugin-`);
  t.after(() => rmSync(runDir, { recursive: true }));
  const w: World = {
    runDir,
    calls: [],
    reads: [],
    answer: { status: 200, body: '' },
    api: { status: 200, pod: {}, namespace: { 'istio.io/dataplane-mode': 'ambient' } },
    conf: {
      cniVersion: '1.0.0',
      name: 'k8s-pod-network',
      type: 'aura-cni',
      cni_agent_run_dir: runDir,
      exclude_namespaces: ['kube-system'],
      pod_namespace: 'istio-system',
      prevResult: {
        cniVersion: '1.0.0',
        interfaces: [{ name: 'veth0' }, { name: 'eth0', sandbox: '/var/run/netns/p' }],
        ips: [{ address: '10.244.1.5/24', gateway: '10.244.1.1', interface: 1 }],
        dns: {},
      },
    },
  };
  const agent = (request: Parameters<RequestListener>[0], response: Parameters<RequestListener>[1]) => {
    let body = '';
    request.on('data', (chunk) => (body += chunk));
    request.on('end', () => {
      w.calls.push({ path: request.url ?? '', body: JSON.parse(body) });
      response.writeHead(w.answer.status).end(w.answer.body);
    });
  };
  await listen(t, createServer(agent), { path: `${runDir}/pluginevent.sock` });
  await listen(t, createServer(agent), { path: `${runDir}/log.sock` });
  const api: RequestListener = (request, response) => {
    w.reads.push(`${request.url} ${request.headers.authorization}`);
    const labels = w.api.namespace;
    const body = request.url?.includes('/pods/')
      ? { metadata: { namespace: 'shop', name: 'web', ...w.api.pod } }
      : { metadata: { labels } };
    response
      .writeHead(w.api.status)
      .end(JSON.stringify(w.api.status === 200 ? body : { message: 'no such pod' }));
  };
  const server = tls === undefined ? createServer(api) : createTlsServer(tls, api);
  await listen(t, server, { port: 0, host: '127.0.0.1' });
  const port = (server.address() as AddressInfo).port;
  const scheme = tls === undefined ? 'http' : 'https';
  writeFileSync(
    `${runDir}/istio-cni-kubeconfig`,
    JSON.stringify({
      'current-context': 'c',
      contexts: [{ name: 'c', context: { cluster: 'k', user: 'u' } }],
      clusters: [
        {
          name: 'k',
          cluster: {
            server: `${scheme}://127.0.0.1:${port}`,
            ...(tls === undefined
              ? {}
              : { 'certificate-authority-data': Buffer.from(tls.cert).toString('base64') }),
          },
        },
      ],
      users: [{ name: 'u', user: { token: 'secret' } }],
    }),
  );
  return w;
}

const environment = (more: object = {}) => ({
  CNI_COMMAND: 'ADD',
  CNI_CONTAINERID: 'c1',
  CNI_NETNS: '/var/run/netns/p',
  CNI_IFNAME: 'eth0',
  CNI_ARGS: 'IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web;K8S_POD_INFRA_CONTAINER_ID=c1',
  ...more,
});

async function run(w: World, env: object = {}, conf: object | string = {}) {
  const slept: number[] = [];
  let stderr = '';
  const answer = await runPlugin({
    env: environment(env),
    stdin: async () => (typeof conf === 'string' ? conf : JSON.stringify({ ...w.conf, ...conf })),
    stderr: (text) => (stderr += text),
    sleep: async (ms) => void slept.push(ms),
  });
  return { ...answer, json: answer.stdout === '' ? undefined : JSON.parse(answer.stdout), slept, stderr };
}

test('ADD of a pod of the mesh asks the agent and echoes the result', async (t) => {
  const w = await world(t);
  const { exitCode, json } = await run(w);
  assert.equal(exitCode, 0);
  assert.deepEqual(json, w.conf['prevResult']);
  const add = w.calls.filter(({ path }) => path === '/cmdadd');
  assert.deepEqual(add, [
    {
      path: '/cmdadd',
      body: {
        Netns: '/var/run/netns/p',
        PodName: 'web',
        PodNamespace: 'shop',
        IPs: [{ Interface: 1, Address: { IP: '10.244.1.5', Mask: '////AA==' }, Gateway: '10.244.1.1' }],
      },
    },
  ]);
  assert.deepEqual(w.reads.toSorted(), [
    '/api/v1/namespaces/shop Bearer secret',
    '/api/v1/namespaces/shop/pods/web Bearer secret',
  ]);
  const lines = w.calls.find(({ path }) => path === '/log')?.body as string[];
  assert.match(JSON.parse(lines[0] as string).msg, /pod added/);
  assert.match(readFileSync(`${w.runDir}/istio-cni.log`, 'utf8'), /"pod":"shop\/web"/);
});

test('pods that are none of ours pass without a call to the agent', async (t) => {
  const w = await world(t);
  const cases: [string, object, object, Partial<World['api']>][] = [
    ['its namespace is not labelled', {}, {}, { namespace: {} }],
    ['host network', {}, {}, { pod: { annotations: { 'sidecar.istio.io/status': '{}' } } }],
    ['not a pod', { CNI_ARGS: '' }, {}, { status: 500 }],
    ['excluded', { CNI_ARGS: 'K8S_POD_NAME=a;K8S_POD_NAMESPACE=kube-system' }, {}, { status: 500 }],
    [
      'the agent',
      { CNI_ARGS: 'K8S_POD_NAME=istio-cni-node-x;K8S_POD_NAMESPACE=istio-system' },
      {},
      { status: 500 },
    ],
    ['ambient is off', {}, { ambient_enabled: false }, { status: 500 }],
  ];
  for (const [name, env, conf, api] of cases) {
    const before = w.api;
    w.api = { ...before, ...api };
    const { exitCode, json } = await run(w, env, conf);
    w.api = before;
    assert.equal(exitCode, 0, name);
    assert.deepEqual(json, w.conf['prevResult'], name);
  }
  assert.deepEqual(
    w.calls.filter(({ path }) => path === '/cmdadd'),
    [],
  );
});

test('a pod does not start while the API cannot say whether it belongs to the mesh', async (t) => {
  const w = await world(t);
  w.api = { ...w.api, status: 404 };
  const { exitCode, json, slept, stderr } = await run(w);
  assert.equal(exitCode, 1);
  assert.equal(slept.length, 29);
  assert.equal(json.code, 11);
  assert.match(json.msg, /pod shop\/web: cannot tell .*HTTP 404: no such pod/);
  assert.match(json.details, /enable_ambient_detection_retry/);
  assert.match(stderr, /"level":"error"/);
  const compat = await run(w, {}, { enable_ambient_detection_retry: false });
  assert.equal(compat.exitCode, 0);
  assert.deepEqual(compat.json, w.conf['prevResult']);
  assert.equal(compat.slept.length, 1);
  rmSync(`${w.runDir}/istio-cni-kubeconfig`);
  assert.match((await run(w)).json.msg, /ENOENT.*istio-cni-kubeconfig/);
});

test('an agent that refuses or is away fails the ADD with its reason', async (t) => {
  const w = await world(t);
  w.answer = { status: 500, body: 'no ztunnel is connected\n' };
  const refused = await run(w);
  assert.equal(refused.exitCode, 1);
  assert.match(refused.json.msg, /pod shop\/web belongs to the mesh, .*: no ztunnel is connected$/);
  rmSync(`${w.runDir}/pluginevent.sock`);
  assert.match((await run(w)).json.msg, /does not answer at .*pluginevent\.sock/);
});

test('bad requests get the code of the specification', async (t) => {
  const w = await world(t);
  const cases: [object, object | string, number, RegExp][] = [
    [{ CNI_COMMAND: '' }, {}, 4, /CNI_COMMAND is not set/],
    [{ CNI_COMMAND: 'add' }, {}, 4, /"add" is not known/],
    [{ CNI_NETNS: '' }, {}, 4, /CNI_NETNS must be set for ADD/],
    [{ CNI_ARGS: 'garbage' }, {}, 4, /CNI_ARGS has an entry without "="/],
    [{}, '{', 6, /not JSON/],
    [{}, '[]', 6, /not an object/],
    [{}, { prevResult: 7 }, 6, /prevResult is not an object/],
    [{}, { prevResult: { ips: [{ address: 'x' }] } }, 6, /ips\[0\]\.address "x"/],
    [{}, { cniVersion: '9.9.9' }, 1, /"9\.9\.9" is not supported/],
    [{}, { cni_agent_run_dir: 5 }, 7, /cni_agent_run_dir .* is not a string/],
    [{}, { ambient_enabled: 'yes' }, 7, /ambient_enabled/],
    [{}, { exclude_namespaces: 'a' }, 7, /exclude_namespaces/],
    [{}, { enablement_selectors: [{}] }, 7, /enablement_selectors\[0\]/],
  ];
  for (const [env, conf, code, message] of cases) {
    const { exitCode, json } = await run(w, env, conf);
    assert.equal(exitCode, 1, String(message));
    assert.equal(json.code, code, String(message));
    assert.match(json.msg, message);
    assert.ok(typeof json.cniVersion === 'string');
  }
});

test('DEL, CHECK, GC and STATUS succeed silently, whatever they are given', async (t) => {
  const w = await world(t);
  for (const CNI_COMMAND of ['DEL', 'CHECK', 'GC', 'STATUS']) {
    const { exitCode, stdout } = await run(w, { CNI_COMMAND, CNI_NETNS: '', CNI_ARGS: 'x' }, 'garbage');
    assert.deepEqual({ exitCode, stdout }, { exitCode: 0, stdout: '' });
  }
});

test('without a result so far, an empty one is given', async (t) => {
  const w = await world(t);
  assert.deepEqual((await run(w, {}, { prevResult: undefined })).json, { cniVersion: '1.0.0' });
});

test('reads a kubeconfig in YAML and verifies the server', async (t) => {
  const w = await world(t, testServer);
  const file = `${w.runDir}/istio-cni-kubeconfig`;
  const config = JSON.parse(readFileSync(file, 'utf8'));
  const yaml = (ca: string) => `apiVersion: v1
kind: Config
clusters:
- name: local
  cluster:
    server: ${config.clusters[0].cluster.server}
${ca}users:
- name: istio-cni
  user:
    token: "secret"
contexts:
- name: istio-cni-context
  context: {cluster: local, user: istio-cni}
current-context: istio-cni-context
`;
  writeFileSync(
    file,
    yaml(`    certificate-authority-data: ${config.clusters[0].cluster['certificate-authority-data']}\n`),
  );
  assert.equal((await run(w)).exitCode, 0);
  assert.equal(w.calls.filter(({ path }) => path === '/cmdadd').length, 1);
  writeFileSync(file, yaml(''));
  assert.match((await run(w)).json.msg, /certificate/);
  writeFileSync(file, yaml('    insecure-skip-tls-verify: true\n'));
  assert.equal((await run(w)).exitCode, 0);
});

const program = fileURLToPath(new URL('../../../bin/aura-cni', import.meta.url));

async function start(env: object, stdin: string): Promise<{ code: number; stdout: string; stderr: string }> {
  const child = spawn(program, { env: environment(env), stdio: 'pipe' });
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (chunk) => (stdout += chunk));
  child.stderr.on('data', (chunk) => (stderr += chunk));
  child.stdin.end(stdin);
  const [code] = await once(child, 'close');
  return { code: code as number, stdout, stderr };
}

test('the program writes the answer, and nothing else, to stdout', async (t) => {
  const w = await world(t);
  const added = await start({}, JSON.stringify({ ...w.conf, plugin_log_level: 'debug' }));
  assert.deepEqual([added.code, JSON.parse(added.stdout)], [0, w.conf['prevResult']]);
  assert.match(added.stderr, /pod added to the mesh/);
  const version = await start({ CNI_COMMAND: 'VERSION' }, '{"cniVersion":"0.4.0"}');
  assert.equal(JSON.parse(version.stdout).cniVersion, '0.4.0');
  assert.ok(JSON.parse(version.stdout).supportedVersions.includes('1.0.0'));
  const failed = await start({ CNI_COMMAND: 'nonsense' }, '');
  assert.deepEqual([failed.code, JSON.parse(failed.stdout).code], [1, 4]);
});
