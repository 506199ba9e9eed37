// The tour, step by step. Each step says what it does, does it on real traffic, shows what can be seen, and checks
// it; a check that fails ends the tour with a sentence.
import { readManifests, applyManifests } from '../apply-manifests.ts';
import { run } from '../command.ts';
import { execInPod } from '../exec-in-pod.ts';
import { waitForWorkloads } from '../wait-workloads.ts';
import { PacketCapture } from './packet-capture.ts';
import { expectThat, logFields, type TourLab } from './tour-lab.ts';

export interface Narrator {
  /** A new step. */
  step(number: number, title: string): void;
  say(text: string): void;
  /** A command that a user would type for what happens next. */
  command(text: string): void;
  /** Something that was seen: a log line, a rule, a packet. */
  show(text: string): void;
}

export interface TourContext {
  readonly lab: TourLab;
  readonly tell: Narrator;
  /** Folder of the sample manifests. */
  readonly samples: string;
}

/** In the order in which they are played: each builds on what the ones before have made. */
export type TourSteps<Context = TourContext> = readonly {
  readonly title: string;
  readonly play: (context: Context) => Promise<void> | void;
}[];

const url = 'http://httpbin/get';
const near = 'ambient-worker';
const far = 'ambient-worker2';
const debug = { namespace: 'ambient-demo', name: 'ds/debug', node: near } as const;
const guest = { namespace: 'ambient-demo', name: 'guest' } as const;
const outsider = { namespace: 'outside', name: 'outsider' } as const;
/** What httpbin writes into every answer, in the clear. */
const readable = 'aura-httpbin';
const outsideUrl = 'http://httpbin.ambient-demo/get';

const isAccess = (line: string): boolean => line.split('\t')[2] === 'access';

type Entry = { readonly node: string; readonly line: string; readonly fields: Record<string, string> };

const accessEntries = (lines: readonly { node: string; line: string }[]): Entry[] =>
  lines
    .filter(({ line }) => isAccess(line))
    .map(({ node, line }) => ({ node, line, fields: logFields(line) }));

async function apply({ lab, tell, samples }: TourContext, file: string): Promise<void> {
  tell.command(`kubectl apply -f samples/${file}`);
  const applied = await applyManifests(lab.client, readManifests([`${samples}/${file}`]), 'aura-demo');
  await waitForWorkloads(lab.client, applied, () => {});
}

async function before({ lab, tell }: TourContext): Promise<void> {
  tell.step(1, 'Before: the mesh is installed, but nothing is in it');
  tell.say(
    `A client on ${near} calls the Service httpbin; a replica on ${far} answers. We listen on the node's link.`,
  );
  tell.command(`aura lab exec -n ambient-demo ds/debug --node ${near} -- curl ${url}`);
  await using capture = await PacketCapture.start(lab.paths, lab.nodeNetns(near), 'eth0', 'tcp');
  const { answer } = await lab.callUntil(debug, url, far, 'before, plain');
  await capture.stop();
  tell.show(`answer of ${answer?.pod}: origin ${answer?.origin}`);
  expectThat(
    capture.bytes().includes('GET /get HTTP/1.1'),
    'the capture should show the request in the clear',
  );
  expectThat(capture.bytes().includes(readable), 'the capture should show the answer in the clear');
  const text = (await capture.lines('-A')).filter((line) => /GET \/get|Host:|Server:|server:/.test(line));
  for (const line of text.slice(0, 4))
    tell.show(`on the wire: ${line.replace(/^.*?(GET|Host|Server|server)/, '$1').trim()}`);
  tell.say('Everybody on the path can read it.');
}

async function enrol({ lab, tell }: TourContext): Promise<void> {
  tell.step(2, 'The namespace joins the mesh: one label, no restart, no sidecar');
  const mark = lab.mark();
  tell.command('kubectl label namespace ambient-demo istio.io/dataplane-mode=ambient');
  await lab.label('ambient-demo', 'ambient');
  const pods = await lab.enrolled('ambient-demo', true);
  const httpbin = pods.find(
    (pod) => pod.metadata.labels?.['app'] === 'httpbin' && pod.spec.nodeName === near,
  );
  expectThat(httpbin !== undefined, `httpbin should have a replica on ${near}`);
  const name = `ambient-demo/${httpbin.metadata.name}`;
  tell.say(`What the node agent on ${near} says about ${name}:`);
  const agent = await lab.linesSince(mark, 'istio-cni-node', `lines about ${name}`, (lines) => {
    const own = lines.filter(({ line }) => line.includes(name) || line.includes(httpbin.metadata.uid ?? '-'));
    const done = ['rules applied', 'pod added'].every((words) =>
      own.some(({ line }) => line.includes(words)),
    );
    return done ? own : undefined;
  });
  for (const { line } of agent.filter(({ line: text }) => !text.startsWith('-')).slice(0, 6)) tell.show(line);
  tell.say('And what ztunnel says, which got the network namespace of the pod and listens inside it:');
  const words = ['received netns', ':15008', ':15006', ':15001'];
  const proxy = await lab.linesSince(mark, 'ztunnel', `lines with ${words.join(', ')}`, (lines) => {
    const own = lines.filter(({ line }) => line.includes(name));
    const first = words.map((word) => own.find(({ line }) => line.includes(word)));
    return first.every((found) => found !== undefined) ? first : undefined;
  });
  for (const found of proxy) tell.show(found?.line ?? '');
  tell.say('The rules inside the pod, and nowhere else:');
  const rules = await lab.rules(httpbin);
  for (const port of ['15001', '15006'])
    expectThat(
      rules.some((rule) => rule.includes(`REDIRECT --to-ports ${port}`)),
      `the pod's rules should redirect to ${port}:\n${rules.join('\n')}`,
    );
  for (const rule of rules.filter((line) => line.startsWith('-A ISTIO'))) tell.show(rule);
  await untilTunnelled(lab);
}

/**
 * The control plane tells the proxies a moment after the agent has enrolled a pod; calls before that are still
 * plain. Calls until both replicas are reached by the tunnel.
 */
async function untilTunnelled(lab: TourLab): Promise<void> {
  const mark = lab.mark();
  const until = Date.now() + 15_000;
  const reached = new Set<string>();
  while (reached.size < 2) {
    expectThat(
      Date.now() < until,
      'after 15 s calls inside the mesh should go to port 15008 of both replicas',
    );
    await execInPod(lab.paths, debug, ['curl', '-sS', '-m', '5', url]);
    await new Promise((resolve) => setTimeout(resolve, 50));
    for (const { fields } of accessEntries(lab.since(mark, 'ztunnel')))
      if (fields['direction'] === 'outbound' && fields['dst.hbone_addr'] !== undefined)
        reached.add(fields['dst.workload'] ?? '');
  }
}

async function sameNode({ lab, tell }: TourContext): Promise<void> {
  tell.step(3, 'Same node: one ztunnel is both ends');
  const mark = lab.mark();
  tell.command(`aura lab exec -n ambient-demo ds/debug --node ${near} -- curl ${url}`);
  const { answer } = await lab.callUntil(debug, url, near, 'mesh, same node');
  const both = await lab.linesSince(
    mark,
    'ztunnel',
    'an outbound and an inbound line on one node',
    (lines) => {
      const own = accessEntries(lines).filter(
        ({ fields, node }) => fields['dst.workload'] === answer?.pod && node === near,
      );
      const pair = ['outbound', 'inbound'].map((direction) =>
        own.find(({ fields }) => fields['direction'] === direction),
      );
      return pair.every((entry) => entry !== undefined) ? pair : undefined;
    },
  );
  for (const { line, node } of both) tell.show(`${node}: ${line}`);
  for (const { fields } of both) {
    expectThat(
      fields['src.identity'] === 'spiffe://cluster.local/ns/ambient-demo/sa/debug-sa',
      'src.identity should be that of debug-sa',
    );
    expectThat(
      fields['dst.identity'] === 'spiffe://cluster.local/ns/ambient-demo/sa/httpbin-sa',
      'dst.identity should be that of httpbin-sa',
    );
    expectThat(
      fields['dst.service'] === 'httpbin.ambient-demo.svc.cluster.local',
      'dst.service should be httpbin',
    );
  }
}

async function acrossNodes({ lab, tell }: TourContext): Promise<void> {
  tell.step(4, 'Across nodes: one line on each side, and only TLS in between');
  const mark = lab.mark();
  await using capture = await PacketCapture.start(lab.paths, lab.nodeNetns(near), 'eth0', 'tcp');
  tell.command(`aura lab exec -n ambient-demo ds/debug --node ${near} -- curl ${url}`);
  const { answer, client } = await lab.callUntil(debug, url, far, 'mesh, across nodes');
  await capture.stop();
  const both = await lab.linesSince(
    mark,
    'ztunnel',
    `an outbound line on ${near} and an inbound line on ${far}`,
    (lines) => {
      const own = accessEntries(lines).filter(({ fields }) => fields['dst.workload'] === answer?.pod);
      const out = own.find(({ fields, node }) => fields['direction'] === 'outbound' && node === near);
      const into = own.find(({ fields, node }) => fields['direction'] === 'inbound' && node === far);
      return out === undefined || into === undefined ? undefined : [out, into];
    },
  );
  for (const { line, node } of both) tell.show(`${node}: ${line}`);
  const ip = client.status?.podIP ?? '';
  const packets = await capture.lines(`host ${ip} and tcp port 15008`);
  expectThat(packets.length > 0, `the link should carry packets of ${ip} to port 15008`);
  for (const line of packets.slice(0, 3)) tell.show(`on the wire: ${line}`);
  for (const words of ['GET /get', readable, 'ambient-demo'])
    expectThat(!capture.bytes().includes(words), `nothing readable should be on the link, but "${words}" is`);
  // A TLS record of application data, version 1.2 on the wire as RFC 8446 asks.
  expectThat(capture.bytes().includes('\x17\x03\x03'), 'the link should carry TLS records');
  tell.say('Nothing of the request can be read: it is inside TLS 1.3, to port 15008.');
}

async function fromOutside(context: TourContext): Promise<void> {
  const { lab, tell } = context;
  tell.step(5, 'From a pod outside the mesh: plain text, caught on 15006');
  const mark = lab.mark();
  await using capture = await PacketCapture.start(lab.paths, lab.nodeNetns(near), 'eth0', 'tcp');
  tell.command(`aura lab exec -n outside outsider -- curl ${outsideUrl}`);
  const { answer, client } = await lab.callUntil(outsider, outsideUrl, far, 'from outside the mesh');
  await capture.stop();
  expectThat(
    capture.bytes().includes('GET /get HTTP/1.1'),
    'the outsider’s request should be plain on the link',
  );
  const entry = await lab.linesSince(mark, 'ztunnel', 'an inbound line for the outsider', (lines) =>
    accessEntries(lines).find(
      ({ fields }) =>
        fields['direction'] === 'inbound' &&
        // Calls before this one may have been answered by the other replica.
        fields['dst.workload'] === answer?.pod &&
        fields['src.addr']?.startsWith(`${client.status?.podIP}:`) === true,
    ),
  );
  tell.show(`${entry.node}: ${entry.line}`);
  expectThat(entry.fields['src.identity'] === undefined, 'a plain connection has no src.identity');
  tell.say('No src.identity: the proxy saw it, but nobody proved who it is.');
}

async function denyOne(context: TourContext): Promise<void> {
  const { lab, tell } = context;
  tell.step(6, 'An AuthorizationPolicy refuses one service account');
  const allowed = await lab.call(guest, url, 'guest, before the policy');
  expectThat(allowed.code === 0, `before the policy the guest should be served: ${allowed.complaint}`);
  const mark = lab.mark();
  await apply(context, 'tour/deny-guest.yaml');
  tell.command(`aura lab exec -n ambient-demo guest -- curl ${url}`);
  const refused = await untilRefused(() => lab.call(guest, url, 'guest, while the policy travels'));
  expectThat(refused !== undefined, 'the guest should be refused, but is still served 15 s after the policy');
  tell.show(`curl: ${refused.complaint}`);
  const entry = await lab.linesSince(mark, 'ztunnel', 'a line that names the policy', (lines) =>
    accessEntries(lines).find(
      ({ fields }) =>
        fields['direction'] === 'inbound' && fields['error']?.includes('ambient-demo/deny-guest') === true,
    ),
  );
  tell.show(`${entry.node}: ${entry.line}`);
  const other = await lab.call(debug, url, 'debug, while guest is denied');
  expectThat(other.code === 0, `others should go on, but debug-sa got: ${other.complaint}`);
  tell.say('The log names the policy. The debug client, with another service account, is still served.');
}

/** A policy reaches the proxies a moment after it was applied. */
async function untilRefused<T extends { readonly code: number }>(
  call: () => Promise<T>,
): Promise<T | undefined> {
  const until = Date.now() + 15_000;
  while (Date.now() < until) {
    const result = await call();
    if (result.code !== 0) return result;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return undefined;
}

async function strict(context: TourContext): Promise<void> {
  const { lab, tell } = context;
  tell.step(7, 'PeerAuthentication STRICT: without an identity there is no way in');
  const mark = lab.mark();
  await apply(context, 'tour/strict.yaml');
  tell.command(`aura lab exec -n outside outsider -- curl ${outsideUrl}`);
  const refused = await untilRefused(() => lab.call(outsider, outsideUrl, 'outsider, while it travels'));
  expectThat(refused !== undefined, 'the outsider should be refused, but is still served 15 s after STRICT');
  tell.show(`curl: ${refused.complaint}`);
  const entry = await lab.linesSince(mark, 'ztunnel', 'a line that refuses the outsider', (lines) =>
    accessEntries(lines).find(
      ({ fields }) =>
        fields['error']?.includes('policy rejection') === true &&
        fields['src.addr']?.startsWith(`${refused.client.status?.podIP}:`) === true,
    ),
  );
  tell.show(`${entry.node}: ${entry.line}`);
  const other = await lab.call(debug, url, 'debug, strict');
  expectThat(other.code === 0, `a client in the mesh should be served, but got: ${other.complaint}`);
}

function peerAddresses({ lab, tell }: TourContext): void {
  tell.step(8, 'What the application saw as its peer: in every case the client pod itself');
  const cases = new Map<string, { client: string; origin: string }>();
  for (const { client, answer, how } of lab.seen) {
    const ips = (client.status?.podIPs ?? []).map(({ ip }) => ip);
    expectThat(
      ips.includes(answer.origin),
      `${how}: httpbin saw ${answer.origin}, but ${client.metadata.name} has ${ips.join(', ')}`,
    );
    cases.set(how, { client: `${client.metadata.name} (${ips.join(', ')})`, origin: answer.origin });
  }
  for (const [how, { client, origin }] of cases)
    tell.show(`${how.padEnd(32)} client ${client.padEnd(28)} peer ${origin}`);
  expectThat(cases.size >= 6, 'there should have been calls before, inside and from outside the mesh');
}

async function leave({ lab, tell }: TourContext): Promise<void> {
  tell.step(9, 'The label goes: rules gone, plain again');
  tell.command('kubectl label namespace ambient-demo istio.io/dataplane-mode-');
  await lab.label('ambient-demo', null);
  const pods = await lab.enrolled('ambient-demo', false);
  for (const pod of pods) {
    const left = (await lab.rules(pod)).filter((line) => line.includes('ISTIO'));
    expectThat(left.length === 0, `${pod.metadata.name} should have no rules left:\n${left.join('\n')}`);
    const routes = await run([
      'nsenter',
      `--net=${lab.paths.netnsDir}/pod-${pod.metadata.uid}`,
      'ip',
      'rule',
    ]);
    expectThat(!routes.stdout.includes('fwmark'), `${pod.metadata.name} should have no routing rule left`);
  }
  tell.show(`iptables-save in ${pods.length} pods: no ISTIO chain`);
  await using capture = await PacketCapture.start(lab.paths, lab.nodeNetns(near), 'eth0', 'tcp');
  tell.command(`aura lab exec -n ambient-demo ds/debug --node ${near} -- curl ${url}`);
  await lab.callUntil(debug, url, far, 'after, plain');
  await capture.stop();
  expectThat(capture.bytes().includes('GET /get HTTP/1.1'), 'the request should be plain on the link again');
  tell.say('The request is in the clear again. The pods were never restarted:');
  for (const pod of pods) {
    const restarts = (pod.status?.containerStatuses ?? []).reduce(
      (sum, { restartCount }) => sum + restartCount,
      0,
    );
    expectThat(restarts === 0, `${pod.metadata.name} was restarted ${restarts} times`);
  }
  tell.show(`restarts: 0 in ${pods.length} pods`);
}

export const tourSteps: TourSteps = [
  { title: 'before: plain text on the link', play: before },
  { title: 'enrolment: lines of agent and ztunnel, rules in the pod', play: enrol },
  { title: 'same node: one ztunnel logs both directions', play: sameNode },
  { title: 'across nodes: a line on each side, TLS in between', play: acrossNodes },
  { title: 'from outside the mesh: caught on 15006', play: fromOutside },
  { title: 'a policy refuses one service account', play: denyOne },
  { title: 'STRICT refuses the outsider', play: strict },
  { title: 'the application sees the client pod’s own address', play: peerAddresses },
  { title: 'the label goes: rules gone, plain again', play: leave },
];
