// The agent as a whole: real namespaces, rules and sockets; an API in memory; a scripted ztunnel. Its own network
// namespace is a test's, so the machine's stays as it is.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { connect } from 'node:net';
import { test, type TestContext } from 'node:test';
import { createLogger } from '#/kit/index.ts';
import { KubeError } from '#/kube/index.ts';
import { checkCommand, runCommand, sameNetns, type Netns } from '#/sys/index.ts';
import { startCniAgent, type CniAgent } from './agent.ts';
import { parseCniAgentConfig, type CniAgentConfig } from './config.ts';
import { TestCluster, uidOf } from './test-cluster.ts';
import { call, listener, testNetwork, type TestNetwork, type TestPod } from './test-network.ts';
import { Ztunnel } from './test-ztunnel.ts';

interface World {
  readonly network: TestNetwork;
  readonly cluster: TestCluster;
  readonly config: CniAgentConfig;
  readonly log: string[];
  agent: CniAgent;
  /** A new agent on the same node. */
  restart(change?: Partial<CniAgentConfig>): Promise<void>;
  /** A pod that runs: a namespace with addresses, and a process in /proc. */
  runs(name: string, n: number): Promise<TestPod>;
  ztunnel(): Promise<AutoZtunnel>;
  /** Posts to the plugin event socket. */
  post(body: string, path?: string): Promise<{ status: number; body: string }>;
  add(
    name: string,
    pod: { path: string; ipv4?: string; ipv6?: string },
  ): Promise<{ status: number; body: string }>;
  rules(netns: Netns): Promise<string>;
  exempt(): Promise<string[]>;
  until(what: string, test: () => boolean | Promise<boolean>): Promise<void>;
}

/** Acknowledges everything, and keeps what it heard. */
class AutoZtunnel {
  readonly connection: Ztunnel;
  readonly heard: string[] = [];
  refuse: string | undefined;

  constructor(connection: Ztunnel) {
    this.connection = connection;
    void this.#run();
  }

  netnsOf(uid: string): Netns | undefined {
    return this.connection.heard.findLast(({ request: heard }) => 'uid' in heard && heard.uid === uid)?.netns;
  }

  async #run(): Promise<void> {
    for (;;) {
      const next = await this.connection.next().catch(() => undefined);
      if (next === undefined) return;
      await this.connection.ack(this.refuse).catch(() => {});
      this.heard.push('uid' in next ? `${next.kind} ${next.uid}` : next.kind);
    }
  }
}

async function world(t: TestContext, change: Partial<CniAgentConfig> = {}): Promise<World> {
  const network = await testNetwork(t);
  const { dir, kernel } = network;
  const cluster = new TestCluster();
  const proc = `${dir}/proc`;
  mkdirSync(`${proc}/self/ns`, { recursive: true });
  symlinkSync(`${dir}/netns-host`, `${proc}/self/ns/net`);
  mkdirSync(`${dir}/net.d`);
  writeFileSync(
    `${dir}/net.d/10-bridge.conflist`,
    JSON.stringify({ cniVersion: '1.0.0', name: 'lab', plugins: [{ type: 'bridge' }] }),
    { mode: 0o644 },
  );
  const base = parseCniAgentConfig({
    NODE_NAME: 'n1',
    CNI_AGENT_RUN_DIR: `${dir}/run`,
    ZTUNNEL_UDS_ADDRESS: `${dir}/zds/ztunnel.sock`,
    HOST_PROC_DIR: proc,
    MOUNTED_CNI_NET_DIR: `${dir}/net.d`,
    CNI_BIN_TARGET_DIR: `${dir}`,
    CNI_AGENT_BIND_HOST: '127.0.0.1',
    HEALTH_PORT: '0',
    MONITORING_PORT: '0',
    LOG_LEVEL: 'debug',
  });
  const log: string[] = [];
  const server = await cluster.serve(t);
  const start = (config: CniAgentConfig) =>
    startCniAgent(config, {
      cluster: { server, namespace: 'default', token: () => 'secret' },
      kube: cluster.side(),
      kernel,
      hostNetns: network.host,
      log: createLogger({ level: 'debug', format: 'plain', write: (line) => log.push(line) }, 'cni-agent'),
    });
  cluster.namespace('shop');
  const config = { ...base, ...change };
  const post = (body: string, path = '/cmdadd') =>
    new Promise<{ status: number; body: string }>((resolve, reject) => {
      const outgoing = request(
        { socketPath: `${dir}/run/pluginevent.sock`, path, method: 'POST', agent: false },
        (response) => {
          let text = '';
          response.on('data', (chunk) => (text += String(chunk)));
          response.on('end', () => resolve({ status: response.statusCode ?? 0, body: text.trim() }));
        },
      );
      outgoing.on('error', reject);
      outgoing.end(body);
    });
  let pid = 1000;
  const w: World = {
    network,
    cluster,
    config,
    log,
    agent: await start(config),
    restart: async (other) => {
      w.agent = await start({ ...config, ...other });
    },
    runs: async (name, n) => {
      const pod = await network.pod(n);
      const folder = `${proc}/${++pid}`;
      mkdirSync(`${folder}/ns`, { recursive: true });
      symlinkSync(pod.path, `${folder}/ns/net`);
      writeFileSync(
        `${folder}/cgroup`,
        `0::/kubepods/besteffort/pod${uidOf(name).replaceAll('-', '_')}/c1\n`,
      );
      writeFileSync(`${folder}/stat`, `${pid} (a (b) c) S ${'0 '.repeat(18)}${pid} 0\n`);
      return pod;
    },
    ztunnel: async () => {
      const on = { kernel, path: config.ztunnelSocket };
      const z = new AutoZtunnel(await Ztunnel.connect(t, on));
      await w.until('snapshot', () => z.heard.includes('snapshot-sent'));
      return z;
    },
    post,
    add: (name, { path, ipv4, ipv6 }) =>
      post(
        JSON.stringify({
          Netns: path,
          PodName: name,
          PodNamespace: 'shop',
          IPs: [ipv4, ipv6].flatMap((ip) =>
            ip === undefined ? [] : [{ Interface: 1, Address: { IP: ip, Mask: '////AA==' }, Gateway: '' }],
          ),
        }),
      ),
    rules: async (netns) =>
      (await checkCommand(['iptables-save'], { netns })) +
      (await checkCommand(['ip6tables-save'], { netns })) +
      (await checkCommand(['ip', 'rule'], { netns })),
    exempt: async () => {
      const text = await checkCommand(['ipset', 'list'], { netns: network.host });
      return [...text.matchAll(/^([0-9a-f.:]+) comment "([^"]*)"/gm)]
        .map((m) => `${m[1]} ${m[2]}`)
        .toSorted();
    },
    until: async (what, check) => {
      const deadline = Date.now() + 8000;
      while (!(await check())) {
        if (Date.now() > deadline) assert.fail(`${what}: never happened; the log:\n${log.join('')}`);
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    },
  };
  t.after(() => w.agent.stop(true));
  return w;
}

const ambient = { 'istio.io/dataplane-mode': 'ambient' };
const annotation = 'ambient.istio.io/redirection';
const logged = (w: World, pattern: RegExp) => w.log.some((line) => pattern.test(line));

test('the plugin has a pod set up before it starts', async (t) => {
  const w = await world(t);
  const z = await w.ztunnel();
  w.cluster.namespace('shop', ambient);
  w.cluster.pod('shop', 'web');
  const pod = await w.network.pod(1);
  const answer = await w.add('web', pod);
  assert.deepEqual(answer, { status: 200, body: '' });
  const uid = uidOf('web');
  assert.deepEqual(z.heard, ['snapshot-sent', `add ${uid}`]);
  assert.ok(sameNetns(z.netnsOf(uid) as Netns, pod.netns));
  const added = z.connection.heard.at(-1)?.request;
  assert.deepEqual(added?.kind === 'add' && added.info, {
    name: 'web',
    namespace: 'shop',
    serviceAccount: 'web-sa',
  });
  assert.match(await w.rules(pod.netns), /REDIRECT --to-ports 15001/);
  assert.deepEqual(await w.exempt(), [`${pod.ipv4} ${uid}`, `${pod.ipv6} ${uid}`]);
  assert.equal(w.cluster.redirection('shop', 'web'), 'enabled');
  await listener(t, w.network, pod.netns, 15001, 'outbound');
  assert.equal(await call(w.network, pod.netns, '10.99.0.1', 80), 'outbound');
  for (const line of [
    /\tinfo\tambient\tnamespace shop is enabled in the ambient mesh/,
    /\tinfo\tambient\tin pod mode - adding pod shop\/web to ztunnel/,
    /\tinfo\tambient\tnetns received\tpod=shop\/web/,
    /\tinfo\tiptables\trunning iptables-restore --noflush -v --wait=30 with the following input:\n\*mangle\n/,
    /\tinfo\tiptables\trules applied\tpod=shop\/web/,
    /\tinfo\tzds\tsending pod to ztunnel\tpod=shop\/web/,
    /\tinfo\tambient\tpod added\tpod=shop\/web/,
  ])
    assert.ok(logged(w, line), String(line));

  // Its sandbox is made anew: another namespace for the same pod.
  const second = await w.network.pod(2);
  assert.equal((await w.add('web', second)).status, 200);
  assert.ok(sameNetns(z.netnsOf(uid) as Netns, second.netns));

  w.cluster.pods.remove('shop', 'web');
  await w.until('the pod is gone', () => z.heard.at(-1) === `del ${uid}`);
  assert.deepEqual(await w.exempt(), []);
});

test('running pods follow the labels, in and out', async (t) => {
  const w = await world(t);
  const z = await w.ztunnel();
  const [web, api] = [await w.runs('web', 1), await w.runs('api', 2)];
  w.cluster.pod('shop', 'web', { ips: [web.ipv4, web.ipv6] });
  w.cluster.pod('shop', 'api', { ips: [api.ipv4], labels: { 'istio.io/dataplane-mode': 'none' } });
  w.cluster.pod('shop', 'host', { ips: ['10.88.0.1'] }, { hostNetwork: true });
  const before = await w.rules(web.netns);
  w.cluster.namespace('shop', ambient);
  await w.until('web is in', () => w.cluster.redirection('shop', 'web') === 'enabled');
  assert.match(await w.rules(web.netns), /ISTIO_OUTPUT/);
  await w.agent.idle();
  assert.equal(w.cluster.redirection('shop', 'api'), undefined);
  assert.doesNotMatch(await w.rules(api.netns), /ISTIO/);
  w.cluster.change('shop', 'api', (pod) => ({ ...pod, metadata: { ...pod.metadata, labels: ambient } }));
  await w.until('api is in', () => w.cluster.redirection('shop', 'api') === 'enabled');
  assert.equal((await w.exempt()).length, 3);

  w.cluster.namespace('shop', {});
  await w.until('web is out', () => w.cluster.redirection('shop', 'web') === undefined);
  assert.equal(w.cluster.redirection('shop', 'api'), 'enabled', 'its own label');
  const after = await w.rules(web.netns);
  assert.doesNotMatch(after, /ISTIO|0x111/);
  assert.notEqual(before, '');
  assert.equal(z.heard.at(-1), `del ${uidOf('web')}`);
  assert.deepEqual(await w.exempt(), [`${api.ipv4} ${uidOf('api')}`]);
  assert.ok(logged(w, /namespace shop is no longer enabled in the ambient mesh/));

  w.cluster.change('shop', 'api', (pod) => ({
    ...pod,
    status: { ...pod.status, phase: 'Succeeded', podIPs: [] },
  }));
  await w.until('api has ended', () => z.heard.at(-1) === `del ${uidOf('api')}`);
  assert.deepEqual(await w.exempt(), []);

  // Somebody takes the annotation away: it comes back.
  w.cluster.namespace('shop', ambient);
  await w.until('web is in again', () => w.cluster.redirection('shop', 'web') === 'enabled');
  w.cluster.change('shop', 'web', (pod) => ({ ...pod, metadata: { ...pod.metadata, annotations: {} } }));
  await w.until('annotated again', () => w.cluster.redirection('shop', 'web') === 'enabled');
});

test('without ztunnel the plugin is refused, and running pods wait', async (t) => {
  const w = await world(t);
  const web = await w.runs('web', 1);
  w.cluster.namespace('shop', ambient);
  w.cluster.pod('shop', 'new');
  const fresh = await w.network.pod(2);
  const refused = await w.add('new', fresh);
  assert.equal(refused.status, 500);
  assert.match(refused.body, /no ztunnel is connected at .*ztunnel\.sock/);
  w.cluster.pod('shop', 'web', {});
  w.cluster.change('shop', 'web', (pod) => ({
    ...pod,
    status: { ...pod.status, podIPs: [{ ip: web.ipv4 }] },
  }));
  await w.until('pending', () => w.cluster.redirection('shop', 'web') === 'pending');
  assert.match(await w.rules(web.netns), /ISTIO_OUTPUT/, 'captured meanwhile: nothing leaves in plain text');
  const event = w.cluster.events.find(({ involvedObject }) => involvedObject.name === 'web');
  assert.match(event?.message ?? '', /pod shop\/web could not be added to the mesh: no ztunnel is connected/);
  assert.equal(event?.type, 'Warning');
  assert.equal(event?.involvedObject.uid, uidOf('web'));
  assert.equal(w.cluster.events.filter(({ involvedObject }) => involvedObject.name === 'web').length, 1);

  const z = await w.ztunnel();
  await w.until('enabled', () => w.cluster.redirection('shop', 'web') === 'enabled');
  assert.equal((await w.add('new', fresh)).status, 200);
  z.refuse = 'out of sockets';
  w.cluster.pod('shop', 'third');
  assert.match((await w.add('third', await w.network.pod(3))).body, /ztunnel refused add .*: out of sockets/);
});

test('a pod that cannot be set up is named with its reason, and others go on', async (t) => {
  const w = await world(t);
  await w.ztunnel();
  w.cluster.namespace('shop', ambient);
  const [bad, lost, good] = [await w.runs('bad', 1), await w.network.pod(2), await w.runs('good', 3)];
  const pods: [string, string, object][] = [
    ['bad', bad.ipv4, { 'istio.io/reroute-virtual-interfaces': 'eth0; reboot' }],
    ['lost', lost.ipv4, {}],
    ['good', good.ipv4, {}],
  ];
  for (const [name, ip, annotations] of pods) {
    w.cluster.pod('shop', name, { annotations: annotations as Record<string, string> });
    w.cluster.change('shop', name, (pod) => ({ ...pod, status: { ...pod.status, podIPs: [{ ip }] } }));
  }
  await w.until('good is in', () => w.cluster.redirection('shop', 'good') === 'enabled');
  await w.agent.idle();
  const messages = w.cluster.events.map(({ message }) => message ?? '').toSorted((a, b) => (a < b ? -1 : 1));
  assert.match(messages[0] ?? '', /pod shop\/bad could not be added .*interface name "eth0; reboot"/);
  assert.match(messages[1] ?? '', /pod shop\/lost could not be added .*no process of it runs/);
  assert.equal(messages.length, 2);
  assert.doesNotMatch(await w.rules(bad.netns), /ISTIO/);
  assert.ok(logged(w, /\terror\tambient\tpod shop\/bad could not be added to the mesh\t.*eth0; reboot/));

  // A namespace in which none of the pod's addresses is: it is another pod's.
  w.cluster.pod('shop', 'thief');
  w.cluster.change('shop', 'thief', (pod) => ({
    ...pod,
    metadata: { ...pod.metadata, uid: uidOf('good') },
    status: { ...pod.status, podIPs: [{ ip: '10.99.9.9' }] },
  }));
  assert.equal(w.cluster.redirection('shop', 'thief'), undefined);
});

test('a restarted agent knows its pods, repairs their rules and tells ztunnel of them', async (t) => {
  const w = await world(t);
  const z = await w.ztunnel();
  w.cluster.namespace('shop', ambient);
  const [web, api, gone] = [await w.runs('web', 1), await w.runs('api', 2), await w.network.pod(3)];
  for (const [name, pod] of [
    ['web', web],
    ['api', api],
    ['gone', gone],
  ] as const) {
    w.cluster.pod('shop', name, { ips: [pod.ipv4, pod.ipv6] });
    assert.equal((await w.add(name, pod)).status, 200);
  }
  const good = await w.rules(web.netns);
  await w.agent.stop(false);
  assert.equal(await z.connection.socket.receive().catch(() => undefined), undefined);
  assert.match(await w.rules(web.netns), /ISTIO_OUTPUT/, 'traffic stays captured without an agent');
  assert.equal((await w.exempt()).length, 6, 'probes go on without an agent');

  // While it is away: rules are damaged, a pod goes, another leaves the mesh, a socket file of a killed agent stays.
  await checkCommand(['iptables', '-t', 'nat', '-F', 'ISTIO_OUTPUT'], { netns: web.netns });
  w.cluster.change('shop', 'api', (pod) => ({
    ...pod,
    metadata: { ...pod.metadata, labels: { 'istio.io/dataplane-mode': 'none' } },
  }));
  writeFileSync(`${w.config.runDir}/pluginevent.sock`, '');
  await w.restart();
  assert.equal(countRules(await w.rules(web.netns)), countRules(good));
  assert.ok(logged(w, /rules differ from what they should be: replacing them\tpod=shop\/web/));
  const again = await w.ztunnel();
  await w.until('api is out', () => w.cluster.redirection('shop', 'api') === undefined);
  assert.doesNotMatch(await w.rules(api.netns), /ISTIO/);
  assert.ok(again.heard.includes(`add ${uidOf('web')}`));
  assert.ok(sameNetns(again.netnsOf(uidOf('web')) as Netns, web.netns));
  assert.ok(
    again.heard.includes(`keep ${uidOf('gone')}`),
    'no process of it is found: ztunnel keeps what it has',
  );
  assert.equal(w.cluster.redirection('shop', 'web'), 'enabled');
  await w.until('exempt', async () => (await w.exempt()).length === 4);

  // Another in the place of a living one is refused.
  await assert.rejects(w.restart(), /in use: another node agent runs here/);
});

const countRules = (text: string) => text.split('\n').filter((line) => line.startsWith('-A')).length;

test('namespaces that are excluded lose their pods', async (t) => {
  const w = await world(t);
  await w.ztunnel();
  w.cluster.namespace('shop', ambient);
  const web = await w.runs('web', 1);
  w.cluster.pod('shop', 'web', { ips: [web.ipv4] });
  assert.equal((await w.add('web', web)).status, 200);
  await w.agent.stop(false);
  await w.restart({ excludeNamespaces: ['shop'] });
  await w.until('web is out', () => w.cluster.redirection('shop', 'web') === undefined);
  assert.doesNotMatch(await w.rules(web.netns), /ISTIO/);
  const refused = await w.add('web', web);
  assert.equal(refused.status, 500);
  assert.match(refused.body, /pod shop\/web is not eligible for the mesh: namespace shop is excluded/);
});

test('the plugin cannot have a wrong namespace redirected', async (t) => {
  const w = await world(t);
  await w.ztunnel();
  w.cluster.namespace('shop', ambient);
  w.cluster.pod('shop', 'web');
  const [mine, other] = [await w.network.pod(1), await w.network.pod(2)];
  await checkCommand(['mkfifo', `${w.network.dir}/pipe`]);
  const cases: [string, object, RegExp][] = [
    ["the node's", { path: `${w.network.dir}/netns-host`, ipv4: '10.88.1.1' }, /is the node's own/],
    [
      "another pod's",
      { ...other, ipv4: mine.ipv4, ipv6: undefined },
      /has none of the addresses 10\.88\.1\.2/,
    ],
    ['nothing', { ...mine, path: '/nonexistent' }, /ENOENT/],
    ['a file', { ...mine, path: '/etc/passwd' }, /not a network namespace/],
    ['a pipe', { ...mine, path: `${w.network.dir}/pipe` }, /not a network namespace/],
  ];
  for (const [name, given, reason] of cases) {
    const { status, body } = await w.add('web', given as TestPod);
    assert.equal(status, 500, name);
    assert.match(body, reason, name);
  }
  assert.match((await w.add('unknown', mine)).body, /pod shop\/unknown is not eligible.*does not know it/);
  assert.doesNotMatch(await w.rules(w.network.host), /ISTIO_OUTPUT/);
  assert.doesNotMatch(await w.rules(other.netns), /ISTIO/);
  assert.equal((await w.add('web', mine)).status, 200);
});

test('garbage on the plugin sockets is answered and hurts nobody', async (t) => {
  const w = await world(t);
  await w.ztunnel();
  const cases: [string, string, number, RegExp][] = [
    ['{', '/cmdadd', 400, /the body is not JSON/],
    ['{"Netns":1}', '/cmdadd', 400, /Netns is not/],
    [`"${'x'.repeat(200_000)}"`, '/cmdadd', 413, /larger than 65536 bytes/],
    ['{}', '/other', 404, /only POST \/cmdadd/],
  ];
  for (const [body, path, status, text] of cases) {
    const answer = await w.post(body, path);
    assert.equal(answer.status, status, text.source);
    assert.match(answer.body, text);
  }
  for (const name of ['pluginevent.sock', 'log.sock']) {
    const socket = connect(`${w.config.runDir}/${name}`);
    socket.write('\u0000\u0001 nonsense\r\n\r\n');
    let text = '';
    socket.on('data', (chunk) => (text += String(chunk)));
    await once(socket, 'close');
    assert.match(text, /^HTTP\/1\.1 400 /);
  }
  // Half a request: the others do not wait for it.
  const slow = connect(`${w.config.runDir}/pluginevent.sock`);
  slow.on('error', () => {});
  slow.write('POST /cmdadd HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{');
  w.cluster.namespace('shop', ambient);
  w.cluster.pod('shop', 'web');
  assert.equal((await w.add('web', await w.network.pod(1))).status, 200);
  slow.destroy();
  assert.equal(statSync(`${w.config.runDir}/pluginevent.sock`).mode & 0o777, 0o600);
});

const get = async (port: number, path: string) => {
  const response = await fetch(`http://127.0.0.1:${port}${path}`);
  return { status: response.status, text: await response.text() };
};

test('health and metrics tell the state', async (t) => {
  const w = await world(t);
  const { healthPort, metricsPort } = w.agent.addresses;
  assert.deepEqual(await get(healthPort, '/healthz'), { status: 200, text: 'ok\n' });
  assert.deepEqual(await get(healthPort, '/readyz'), { status: 200, text: 'ready\n' });
  assert.equal((await get(healthPort, '/other')).status, 404);
  await w.ztunnel();
  w.cluster.namespace('shop', ambient);
  w.cluster.pod('shop', 'web');
  await w.add('web', await w.network.pod(1));
  await w.post('{');
  const { text } = await get(metricsPort, '/metrics');
  for (const line of [
    /^istio_cni_installs_total\{result="success"\} 1$/m,
    /^istio_cni_install_ready 1$/m,
    /^nodeagent_reconcile_events_total\{type="add"\} 1$/m,
    /^ztunnel_connected 1$/m,
    /^istio_cni_plugin_requests_total\{response_code="200"\} 1$/m,
    /^istio_cni_plugin_requests_total\{response_code="400"\} 1$/m,
    /^aura_cni_pods 1$/m,
  ])
    assert.match(text, line);
  rmSync(`${w.config.install.confDir}/10-bridge.conflist`);
  await w.until('not ready', async () => (await get(healthPort, '/readyz')).status === 503);
  assert.match((await get(healthPort, '/readyz')).text, /waiting for CNI configuration/);
});

for (const [name, change] of [
  ['legacy iptables', { iptables: 'legacy' }],
  ['nftables', { nativeNftables: true }],
] as const)
  test(`the same with ${name}`, async (t) => {
    const w = await world(t, change);
    const z = await w.ztunnel();
    const web = await w.runs('web', 1);
    w.cluster.pod('shop', 'web', { ips: [web.ipv4, web.ipv6] });
    w.cluster.namespace('shop', ambient);
    await w.until('web is in', () => w.cluster.redirection('shop', 'web') === 'enabled');
    await listener(t, w.network, web.netns, 15001, 'outbound');
    assert.equal(await call(w.network, web.netns, '10.99.0.1', 80), 'outbound');
    await w.agent.stop(false);
    await w.restart(change);
    const again = await w.ztunnel();
    assert.ok(again.heard.includes(`add ${uidOf('web')}`));
    assert.equal(await call(w.network, web.netns, '10.99.0.1', 80), 'outbound');
    w.cluster.namespace('shop', {});
    await w.until('web is out', () => w.cluster.redirection('shop', 'web') === undefined);
    const left = await Promise.all(
      [['iptables-legacy-save'], ['iptables-save'], ['nft', 'list', 'tables']].map((argv) =>
        checkCommand(argv, { netns: web.netns }),
      ),
    );
    assert.doesNotMatch(left.join(''), /ISTIO|istio/);
    assert.notEqual(z, again);
  });

test('an upgrade leaves everything in place, a removal nothing', async (t) => {
  const w = await world(t);
  const conf = `${w.config.install.confDir}/10-bridge.conflist`;
  const types = () =>
    (JSON.parse(readFileSync(conf, 'utf8')) as { plugins: { type: string }[] }).plugins.map(
      ({ type }) => type,
    );
  assert.deepEqual(types(), ['bridge', 'aura-cni']);
  const set = (more: object = {}, template: object = {}) => ({
    metadata: { name: 'istio-cni-node', ...more },
    spec: { template: { spec: template } },
  });
  const host = async () =>
    (await checkCommand(['iptables-save'], { netns: w.network.host })) +
    (await runCommand(['ipset', 'list', '-n'], { netns: w.network.host })).stdout;
  const cases: [string, () => object, boolean][] = [
    ['the DaemonSet stays', () => set(), false],
    [
      'the API is away',
      () => {
        throw new Error('connect ECONNREFUSED');
      },
      false,
    ],
    ['it is being deleted', () => set({ deletionTimestamp: '2026-01-01T00:00:00Z' }), true],
    ['it runs elsewhere', () => set({}, { nodeSelector: { zone: 'b' } }), true],
    [
      'our credentials are gone',
      () => {
        throw new KubeError(401, 'Unauthorized', 'Unauthorized');
      },
      true,
    ],
  ];
  for (const [name, daemonSet, removed] of cases) {
    w.cluster.daemonSet = daemonSet;
    await w.agent.stop();
    await w.agent.done;
    assert.deepEqual(types(), removed ? ['bridge'] : ['bridge', 'aura-cni'], name);
    assert.equal(/ISTIO_POSTRT|istio-inpod/.test(await host()), !removed, name);
    assert.throws(() => statSync(w.config.ztunnelSocket), name);
    assert.throws(() => statSync(`${w.config.runDir}/pluginevent.sock`), name);
    await w.restart();
    assert.deepEqual(types(), ['bridge', 'aura-cni'], name);
  }
});

test('the installed plugin, started as a runtime starts it, reaches the agent', async (t) => {
  const w = await world(t);
  await w.ztunnel();
  w.cluster.namespace('shop', ambient);
  w.cluster.pod('shop', 'web');
  w.cluster.pod('shop', 'outsider', { labels: { 'istio.io/dataplane-mode': 'none' } });
  const pod = await w.network.pod(1);
  const conflist = JSON.parse(readFileSync(`${w.config.install.confDir}/10-bridge.conflist`, 'utf8'));
  const entry = conflist.plugins.at(-1) as { type: string };
  const prevResult = {
    cniVersion: '1.0.0',
    interfaces: [{ name: 'eth0', sandbox: pod.path }],
    ips: [{ address: `${pod.ipv4}/24`, interface: 0 }],
  };
  const start = async (name: string) => {
    const child = spawn(`${w.config.install.binDir}/${entry.type}`, {
      env: {
        CNI_COMMAND: 'ADD',
        CNI_CONTAINERID: 'c1',
        CNI_NETNS: pod.path,
        CNI_IFNAME: 'eth0',
        CNI_ARGS: `K8S_POD_NAME=${name};K8S_POD_NAMESPACE=shop`,
      },
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    let stdout = '';
    child.stdout.on('data', (chunk) => (stdout += String(chunk)));
    child.stdin.end(
      JSON.stringify({ ...entry, cniVersion: conflist.cniVersion, name: conflist.name, prevResult }),
    );
    const [code] = await once(child, 'close');
    return { code: code as number, answer: JSON.parse(stdout) };
  };
  assert.deepEqual(await start('outsider'), { code: 0, answer: prevResult });
  assert.doesNotMatch(await w.rules(pod.netns), /ISTIO/);
  assert.deepEqual(await start('web'), { code: 0, answer: prevResult });
  assert.match(await w.rules(pod.netns), /ISTIO_OUTPUT/);
  assert.equal(w.cluster.redirection('shop', 'web'), 'enabled');
  await w.until('its log', () => logged(w, /\tinfo\tcni-plugin\tpod added to the mesh\t.*pod=shop\/web/));
  assert.equal(statSync(`${w.config.runDir}/istio-cni-kubeconfig`).mode & 0o777, 0o600);
  await w.agent.stop(false);
  const { code, answer } = await start('web');
  assert.equal(code, 1);
  assert.match(answer.msg, /the node agent does not answer at .*pluginevent\.sock/);
});

test('an API that takes no writes does not keep a pod from being protected', async (t) => {
  const w = await world(t);
  await w.ztunnel();
  w.cluster.namespace('shop', ambient);
  w.cluster.pod('shop', 'web');
  const pod = await w.network.pod(1);
  w.cluster.broken = new Error('connect ECONNREFUSED');
  assert.equal((await w.add('web', pod)).status, 200);
  assert.equal(w.cluster.redirection('shop', 'web'), undefined);
  w.cluster.change('shop', 'web', (p) => ({ ...p, status: { ...p.status, podIPs: [{ ip: pod.ipv4 }] } }));
  w.cluster.broken = undefined;
  await w.until(
    'annotated',
    () => w.cluster.pods.get('shop', 'web')?.metadata.annotations?.[annotation] === 'enabled',
  );
});
