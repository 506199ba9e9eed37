// The tour of issue "the L4 mesh, end to end", step by step on one lab, and what happens to it when programs are
// killed or are sent garbage. The steps are those of `npm run demo`: they assert on log fields, captures and rules.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { chmodSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { linuxKernel, SeqpacketConnection } from '#/sys/index.ts';
import {
  cgroupRoot,
  logFields,
  nodePaths,
  TourLab,
  tourSteps,
  type Narrator,
  type TourContext,
} from '#/lab/index.ts';
import { aura, eventually, hostNetwork, root, TestLab } from './test-lab.ts';

const near = '-n ambient-demo ds/debug --node ambient-worker';
const quiet: Narrator = { step() {}, say() {}, command() {}, show() {} };

describe('the mesh in a lab', () => {
  const lab = new TestLab();
  let host = '';
  let context: TourContext;

  before(async () => {
    host = await hostNetwork();
    await lab.up('-f', 'samples/ambient-demo.yaml', '-f', 'samples/tour/clients.yaml');
    context = { lab: new TourLab(lab.paths, lab.client), tell: quiet, samples: join(root, 'samples') };
  });
  after(() => lab[Symbol.asyncDispose]());

  // The last two compare all calls and take the label away again: they come at the end.
  for (const { title, play } of tourSteps.slice(0, 7))
    test(`tour: ${title}`, async () => {
      await play(context);
    });

  test('the host’s links, routes and rules are as they were', async () => {
    assert.equal(await hostNetwork(), host);
  });

  test('logs of the mesh’s programs, by command and by kubectl', async () => {
    for (const what of ['ztunnel', 'cni-agent', 'control-plane'])
      assert.notEqual(await lab.must('lab', 'logs', what, '--tail', '3'), '');
    const one = await lab.must('lab', 'logs', 'ztunnel', '--node', 'ambient-worker');
    assert.match(one, /access\tconnection complete/);
    assert.match(
      await lab.mustKubectl(['-n', 'istio-system', 'logs', '-l', 'app=ztunnel', '--tail=5']),
      /\t/,
    );
    assert.match((await lab.aura('lab', 'logs', 'ztunnel', '--node', 'nosuch')).stderr, /on node nosuch/);
  });

  /** A download inside the mesh that takes `seconds`; resolves with curl's exit code and the bytes it got. */
  const download = (seconds: number): Promise<{ code: number | null; bytes: number }> =>
    new Promise((done) => {
      const rate = 200_000;
      const child = spawn(
        aura,
        [
          'lab',
          'exec',
          ...near.split(' '),
          '--',
          'curl',
          '-sS',
          '--limit-rate',
          String(rate),
          `http://httpbin/bytes/${rate * seconds}`,
        ],
        { env: { ...process.env, ...lab.env }, stdio: ['ignore', 'pipe', 'inherit'] },
      );
      let bytes = 0;
      child.stdout.on('data', (data: Buffer) => (bytes += data.length));
      child.on('close', (code) => done({ code, bytes }));
    });

  const meshCall = () => lab.exec(near, 'curl', '-sS', '-m', '5', 'http://httpbin/get');
  const podOf = async (selector: string, node: string): Promise<string> =>
    (
      await lab.mustKubectl([
        'get',
        'pods',
        '-n',
        'istio-system',
        '-l',
        selector,
        '--field-selector',
        `spec.nodeName=${node}`,
        '-o',
        'jsonpath={.items[0].metadata.name}',
      ])
    ).trim();
  /** Process of a program of the mesh, by its container's cgroup. */
  const killMeshPod = async (pod: string): Promise<void> => {
    const result = await lab.exec(
      `-n istio-system ${pod}`,
      'sh',
      '-c',
      'cat /proc/self/cgroup | grep ^0:: | cut -d: -f3',
    );
    const pids = readFileSync(join(cgroupRoot(), result.stdout.trim(), 'cgroup.procs'), 'utf8')
      .split('\n')
      .filter(Boolean)
      .map(Number);
    for (const pid of pids)
      if (readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('main.ts')) process.kill(pid, 'SIGKILL');
  };
  const restartsOf = async (pod: string): Promise<string> =>
    lab.mustKubectl([
      'get',
      'pod',
      '-n',
      'istio-system',
      pod,
      '-o',
      'jsonpath={.status.containerStatuses[0].restartCount}',
    ]);

  for (const [what, selector, node] of [
    ['the control plane', 'app=istiod', 'ambient-control-plane'],
    ['the node agent', 'k8s-app=istio-cni-node', 'ambient-worker'],
    ['a ztunnel of another node', 'app=ztunnel', 'ambient-control-plane'],
  ] as const)
    test(`SIGKILL of ${what}: open and new connections elsewhere go on, and it comes back`, async () => {
      const pod = await podOf(selector, node);
      const before = await restartsOf(pod);
      const running = download(3);
      await new Promise((resume) => setTimeout(resume, 500));
      await killMeshPod(pod);
      for (let i = 0; i < 5; i++) assert.equal((await meshCall()).code, 0);
      await eventually('its restart', async () => (await restartsOf(pod)) === String(Number(before) + 1));
      assert.deepEqual(await running, { code: 0, bytes: 600_000 });
      await eventually(
        'it to be ready again',
        async () => (await lab.aura('lab', 'status')).code === 0,
        40_000,
      );
      assert.equal((await meshCall()).code, 0);
    });

  test('SIGKILL of the client’s own ztunnel: its pods are served again by the next one', async () => {
    await killMeshPod(await podOf('app=ztunnel', 'ambient-worker'));
    await eventually('a call through the new one', async () => (await meshCall()).code === 0, 40_000);
    await eventually('readiness', async () => (await lab.aura('lab', 'status')).code === 0, 40_000);
  });

  test('SIGKILL of the API server and of the lab’s process: the mesh goes on', async () => {
    const running = download(3);
    const [api] = await lab.pids('apiserver', lab.paths.apiData);
    process.kill(await lab.supervisor(), 'SIGKILL');
    process.kill(api ?? -1, 'SIGKILL');
    for (let i = 0; i < 5; i++) assert.equal((await meshCall()).code, 0);
    assert.deepEqual(await running, { code: 0, bytes: 600_000 });
    await eventually('readiness', async () => (await lab.aura('lab', 'status')).code === 0, 40_000);
  });

  test('a pod that is made while the namespace is in the mesh starts inside it', async () => {
    await lab.mustKubectl(['delete', 'pod', '-n', 'ambient-demo', '-l', 'app=debug', '--wait=true']);
    await lab.mustKubectl(['rollout', 'status', '-n', 'ambient-demo', 'ds/debug', '--timeout=60s']);
    const json = await lab.mustKubectl([
      'get',
      'pods',
      '-n',
      'ambient-demo',
      '-l',
      'app=debug',
      '-o',
      'json',
    ]);
    const { items } = JSON.parse(json) as { items: { metadata: { annotations?: Record<string, string> } }[] };
    for (const { metadata } of items)
      assert.equal(metadata.annotations?.['ambient.istio.io/redirection'], 'enabled');
    await eventually('a call from the new pod', async () => (await meshCall()).code === 0);
  });

  test('garbage on the ZDS socket, the plugin’s socket and 15008 disturbs nobody', async () => {
    const { run } = nodePaths(lab.paths, 'ambient-worker');
    const noise = Buffer.from('\x16\x03\x01\xff\xffgarbage'.repeat(20), 'latin1');
    {
      const zds = await SeqpacketConnection.connect(join(run, 'ztunnel/ztunnel.sock'));
      await zds.send(noise.subarray(0, 200));
      await new Promise((resume) => setTimeout(resume, 200));
      zds.close();
    }
    await new Promise<void>((done) => {
      const plugin = connect(join(run, 'istio-cni/pluginevent.sock'), () => plugin.end(noise));
      plugin.on('close', () => done());
      plugin.on('error', () => done());
      plugin.resume();
    });
    const { stdout } = await lab.exec('-n ambient-demo deploy/httpbin', 'hostname', '-I');
    const ip = stdout.trim().split(' ')[0] ?? '';
    const kernel = linuxKernel();
    using netns = kernel.openNetns(nodePaths(lab.paths, 'ambient-worker').netns);
    await new Promise<void>((done) => {
      const socket = kernel.connect({ netns, ip, port: 15008 });
      socket.on('connect', () => socket.write(noise));
      socket.on('close', () => done());
      socket.on('error', () => done());
      socket.setTimeout(5000, () => socket.destroy());
      socket.resume();
    });
    for (let i = 0; i < 5; i++) assert.equal((await meshCall()).code, 0);
    assert.equal((await lab.aura('lab', 'status')).code, 0);
  });

  test('a policy with a bad CIDR is named in its status and refuses; corrected, it lets pass', async () => {
    const policy = (block: string): string => `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: typo, namespace: ambient-demo}
spec:
  selector: {matchLabels: {app: httpbin}}
  action: DENY
  rules: [{from: [{source: {ipBlocks: ["${block}"]}}]}]`;
    await lab.apply(policy('10.0.0.0/99'));
    await eventually('a condition that names the value', async () =>
      /10\.0\.0\.0\/99.*is not an IP/.test(
        (
          await lab.mustKubectl([
            'get',
            'authorizationpolicy',
            '-n',
            'ambient-demo',
            'typo',
            '-o',
            'jsonpath={.status}',
          ])
        ).replaceAll('\\n', ' '),
      ),
    );
    await eventually('a refusal', async () => (await meshCall()).code !== 0);
    await lab.apply(policy('203.0.113.0/24'));
    await eventually('a call', async () => (await meshCall()).code === 0);
    await lab.mustKubectl(['delete', 'authorizationpolicy', '-n', 'ambient-demo', 'typo']);
  });

  test('a ztunnel of somebody else gets upstream’s environment and serves the same pods', async () => {
    const seen = lab.file('environment', '');
    const script = lab.file(
      'other-ztunnel',
      `#!/bin/sh\n{ echo "args=$*"; env; } > ${seen}.$NODE_NAME\nexec ${aura} ztunnel\n`,
    );
    chmodSync(script, 0o755);
    const rootCert = lab.file(
      'root.pem',
      await lab.mustKubectl([
        'get',
        'configmap',
        '-n',
        'istio-system',
        'istio-ca-root-cert',
        '-o',
        'jsonpath={.data.root-cert\\.pem}',
      ]),
    );
    const address = 'https://istiod.istio-system.svc.cluster.local:15012';
    await lab.up(
      '--ztunnel',
      script,
      '--xds-address',
      address,
      '--ca-address',
      address,
      '--xds-root-ca',
      rootCert,
    );
    const env = readFileSync(`${seen}.ambient-worker`, 'utf8');
    assert.match(env, /^args=proxy ztunnel$/m);
    for (const name of ['XDS_ROOT_CA', 'CA_ROOT_CA', 'AUTH_TOKEN', 'INPOD_UDS', 'POD_NAME', 'INSTANCE_IP'])
      assert.match(env, new RegExp(`^${name}=.+$`, 'm'), name);
    for (const [name, value] of Object.entries({
      XDS_ADDRESS: address,
      CA_ADDRESS: address,
      NODE_NAME: 'ambient-worker',
      CLUSTER_ID: 'Kubernetes',
      POD_NAMESPACE: 'istio-system',
      SERVICE_ACCOUNT: 'ztunnel',
    }))
      assert.ok(env.includes(`${name}=${value}\n`), `${name}=${value}`);
    const mark = context.lab.mark();
    await eventually('a call through it', async () => (await meshCall()).code === 0, 40_000);
    const line = await context.lab.linesSince(mark, 'ztunnel', 'an access line', (lines) =>
      lines.map((one) => one.line).find((text) => text.includes('\taccess\t')),
    );
    assert.equal(logFields(line)['dst.service'], 'httpbin.ambient-demo.svc.cluster.local');
  });

  for (const { title, play } of tourSteps.slice(7))
    test(`tour: ${title}`, async () => {
      await play(context);
    });

  test('down leaves nothing', async () => {
    await lab.must('lab', 'down');
    assert.deepEqual(await lab.leftovers(), []);
    assert.equal(await hostNetwork(), host);
  });
});

test('the mesh on IPv6 alone: enrolment, mutual TLS, the client’s own address', async () => {
  await using lab = new TestLab();
  await lab.up('--nodes', '2', '--ip-families', 'ipv6', '-f', 'samples/ambient-demo.yaml');
  await lab.mustKubectl(['label', 'namespace', 'ambient-demo', 'istio.io/dataplane-mode=ambient']);
  const line = await eventually('an outbound line of a tunnel', async () => {
    await lab.exec(near, 'curl', '-sS', '-m', '5', 'http://httpbin/ip');
    const text = await lab.must('lab', 'logs', 'ztunnel', '--node', 'ambient-worker');
    return text.split('\n').find((one) => one.includes('dst.hbone_addr') && one.includes('outbound'));
  });
  const fields = logFields(line);
  assert.match(fields['dst.addr'] ?? '', /^\[fd00:10:244:[0-9a-f:]+\]:15008$/);
  assert.equal(fields['src.identity'], 'spiffe://cluster.local/ns/ambient-demo/sa/debug-sa');
  const answer = await lab.curl(near, 'http://httpbin/ip');
  assert.match(String(answer['origin']), /^fd00:10:244:1::/);
});
