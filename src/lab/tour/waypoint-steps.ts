// The tour's second part: what a waypoint adds to the mesh, on a book shop. Each step says what it does, does it on
// real traffic, shows what can be seen, and checks it.
import { namespaces, pods } from '#/kube/index.ts';
import {
  applyFile,
  ask,
  askMany,
  connectionLines,
  requestLine,
  requestLines,
  runAura,
  shop,
  tally,
  until,
  type Served,
  type WaypointContext,
} from './waypoint-calls.ts';
import { allHops, denyPath, tokens } from './waypoint-policy-steps.ts';
import { expectThat } from './tour-lab.ts';
import type { TourSteps } from './tour-steps.ts';

const reviews = 'http://reviews:9080/reviews/0';
const details = 'http://details:9080/details/0';
const waypointPods = 'gateway.networking.k8s.io/gateway-name=waypoint';

const versions = (answers: readonly Served[]): Set<string> => new Set(answers.map(({ by }) => by));
const allServed = (answers: readonly Served[]): boolean => answers.every(({ status }) => status === 200);

async function before({ lab, tell }: WaypointContext): Promise<void> {
  tell.step(1, 'Before: tunnels and identities, but nobody who understands HTTP');
  tell.command(`kubectl label namespace ${shop} istio.io/dataplane-mode=ambient`);
  await lab.label(shop, 'ambient');
  await lab.enrolled(shop, true);
  const mark = lab.mark();
  await until(
    'calls should go through the tunnel',
    async () => {
      await ask(lab, reviews);
      return connectionLines(lab.since(mark, 'ztunnel'));
    },
    (lines) => lines.some(({ fields }) => fields['dst.hbone_addr'] !== undefined),
  );
  tell.command(`aura lab exec -n ${shop} deploy/curl -- curl '${reviews}?[1-12]'`);
  const answers = await askMany(lab, reviews, 12);
  tell.show(tally(answers));
  expectThat(
    allServed(answers) && versions(answers).size === 1,
    'one connection should have gone to one replica',
  );
  tell.say('Twelve requests, one connection: ztunnel carries it to one replica, whatever is said in it.');
}

async function applyWaypoint(context: WaypointContext): Promise<void> {
  const { lab, tell } = context;
  tell.step(2, 'A waypoint for the namespace: one command');
  await runAura(context, 'waypoint', 'apply', '-n', shop, '--enroll-namespace', '--wait');
  const { items } = await lab.client.list(pods, { namespace: shop, labelSelector: waypointPods });
  expectThat(items.length === 1, `the waypoint should have one pod, not ${items.length}`);
  tell.command(`kubectl get pods -n ${shop} -l ${waypointPods} -o wide`);
  for (const { metadata, status, spec } of items)
    tell.show(`${metadata.name}   ${status?.phase}   ${status?.podIP}   ${spec.nodeName}`);
  tell.say('A pod like any other. A Telemetry object switches its access log on:');
  await applyFile(context, 'access-log.yaml');
  const mark = lab.mark();
  await until(
    'the waypoint should write lines in the format of access-log.yaml',
    async () => {
      await ask(lab, reviews);
      return requestLines(lab.since(mark, 'waypoint'));
    },
    (lines) => lines.some(({ fields }) => fields['attempts'] !== undefined),
  );
  const answers = await askMany(lab, reviews, 60);
  tell.command(`aura lab exec -n ${shop} deploy/curl -- curl '${reviews}?[1-60]'`);
  tell.show(tally(answers));
  expectThat(versions(answers).size === 3, 'each of the three versions should have had requests');
  expectThat(allServed(answers), 'all requests should have been served');
  tell.say('One connection still, but each request goes its own way now.');
}

async function byHeader(context: WaypointContext): Promise<void> {
  const { lab, tell } = context;
  tell.step(3, 'A route by header: jason sees version 2, everybody else version 1');
  await applyFile(context, 'by-user.yaml');
  const others = await until(
    'all requests without the header should go to reviews-v1',
    () => askMany(lab, reviews, 20),
    (answers) => versions(answers).size === 1 && answers[0]?.by === 'reviews-v1',
  );
  tell.show(`nobody in particular: ${tally(others)}`);
  const mark = lab.mark();
  const jason = await askMany(lab, reviews, 20, { 'end-user': 'jason' });
  tell.show(`end-user: jason:      ${tally(jason)}`);
  expectThat(
    versions(jason).size === 1 && jason[0]?.by === 'reviews-v2' && allServed(jason),
    'all requests of jason should go to reviews-v2',
  );
  await requestLine(
    context,
    mark,
    'a line of the route "jason"',
    ({ fields }) => fields['route'] === 'jason' && fields['status'] === '200',
  );
}

async function canary(context: WaypointContext): Promise<void> {
  const { lab, tell } = context;
  tell.step(4, 'A canary: one request in ten to version 3');
  await applyFile(context, 'canary.yaml');
  await until(
    'some requests should go to reviews-v3',
    () => askMany(lab, reviews, 50),
    (answers) => versions(answers).has('reviews-v3'),
  );
  const answers = await askMany(lab, reviews, 300);
  tell.show(tally(answers));
  const share = answers.filter(({ by }) => by === 'reviews-v3').length;
  // Six standard deviations around 30.
  expectThat(share > 0 && share <= 62, `about 30 of 300 requests should go to reviews-v3, not ${share}`);
  expectThat(
    allServed(answers) && versions(answers).size === 2,
    'all should be served, by versions 1 and 3 only',
  );
}

async function fault(context: WaypointContext): Promise<void> {
  const { lab, tell } = context;
  tell.step(5, 'A fault: for jason, there are no ratings');
  await applyFile(context, 'fault.yaml');
  const mark = lab.mark();
  const headers = { 'end-user': 'jason' };
  const page = await until(
    'the page should say that there are no ratings',
    () => ask(lab, reviews, headers),
    ({ body }) => body.includes('there are no ratings just now'),
  );
  tell.command(`aura lab exec -n ${shop} deploy/curl -- curl -H 'end-user: jason' ${reviews}`);
  tell.show(`${page.status} ${page.by}: ${/"rating":\{[^}]*\}/.exec(page.body)?.[0] ?? ''}`);
  expectThat(page.status === 200, 'reviews should answer without ratings');
  const injected = await requestLine(
    context,
    mark,
    'a line with the flag FI',
    ({ fields }) => fields['flags'] === 'FI' && fields['status'] === '503',
  );
  expectThat(
    injected.fields['identity'] === 'spiffe://cluster.local/ns/bookinfo/sa/bookinfo-reviews',
    'the fault should have met the request of reviews',
  );
  const id = injected.fields['request_id'];
  await requestLine(
    context,
    mark,
    `a line of reviews with request_id=${id}`,
    ({ fields }) => fields['request_id'] === id && fields['service'] === 'reviews:9080',
  );
  const other = await ask(lab, 'http://ratings:9080/ratings/0');
  expectThat(other.status === 200, `others should have ratings, not ${other.status}`);
  tell.say('Both lines have one request id: reviews hands it on. Requests of others get their ratings.');
}

async function retry(context: WaypointContext): Promise<void> {
  const { lab, tell } = context;
  tell.step(6, 'Retries: an application that fails every second time');
  const failing = (key: string) => ({ 'x-fault': `fail=500; every=2; key=${key}; service=details` });
  const bare = await askMany(lab, details, 10, failing('before'));
  tell.show(`before: ${tally(bare)}`);
  expectThat(bare.filter(({ status }) => status === 500).length === 5, 'five of ten should fail');
  await applyFile(context, 'retry.yaml');
  await until(
    'requests should be tried again',
    () => askMany(lab, details, 4, failing('probe')),
    (answers) => allServed(answers),
  );
  const mark = lab.mark();
  const helped = await askMany(lab, details, 10, failing('after'));
  tell.show(`after:  ${tally(helped)}`);
  expectThat(allServed(helped), 'with retries all ten should be served');
  await requestLine(
    context,
    mark,
    'a line with attempts=2',
    ({ fields }) => fields['attempts'] === '2' && fields['status'] === '200',
  );
}

async function timeout(context: WaypointContext): Promise<void> {
  const { lab, tell } = context;
  tell.step(7, 'A timeout: an application that takes three seconds, a route that gives it half of one');
  const headers = { 'x-fault': 'delay=3000; service=details' };
  await applyFile(context, 'timeout.yaml');
  const mark = lab.mark();
  const late = await until(
    'the request should be given up',
    () => ask(lab, details, headers),
    ({ status }) => status === 504,
  );
  tell.show(`${late.status} ${late.body}`);
  expectThat(late.body === 'upstream request timeout', 'the body should name the timeout');
  await requestLine(
    context,
    mark,
    'a line with the flag UT',
    ({ fields }) => fields['flags'] === 'UT' && fields['details'] === 'response_timeout',
  );
}

async function leave(context: WaypointContext): Promise<void> {
  const { lab, tell } = context;
  tell.step(11, 'The waypoint goes, the traffic stays');
  tell.command(`kubectl label namespace ${shop} istio.io/use-waypoint-`);
  await lab.client.patch(
    namespaces,
    undefined,
    shop,
    { metadata: { labels: { 'istio.io/use-waypoint': null } } },
    'merge',
  );
  await runAura(context, 'waypoint', 'delete', 'waypoint', '-n', shop);
  await until(
    'the pod of the waypoint should be gone',
    async () => (await lab.client.list(pods, { namespace: shop, labelSelector: waypointPods })).items.length,
    (count) => count === 0,
  );
  const mark = lab.mark();
  const answers = await until(
    'one replica should serve all twelve',
    () => askMany(lab, reviews, 12),
    (seen) => allServed(seen) && versions(seen).size === 1,
  );
  tell.show(tally(answers));
  const direct = await lab.linesSince(mark, 'ztunnel', 'a line straight to reviews', (lines) =>
    connectionLines(lines).find(
      ({ fields }) =>
        fields['direction'] === 'outbound' && fields['dst.workload']?.startsWith('reviews-') === true,
    ),
  );
  tell.show(`${direct.node}: ${direct.line}`);
  const { items } = await lab.client.list(pods, { namespace: shop });
  for (const { metadata, status } of items)
    expectThat(
      (status?.containerStatuses ?? []).every(({ restartCount }) => restartCount === 0),
      `${metadata.name} was restarted`,
    );
  tell.say('Straight to a replica, still encrypted and with both identities. No pod was restarted.');
}

export const waypointSteps: TourSteps<WaypointContext> = [
  { title: 'before: one connection goes to one replica', play: before },
  { title: 'a waypoint for the namespace, and each request goes its own way', play: applyWaypoint },
  { title: 'a route by header', play: byHeader },
  { title: 'a split by weight', play: canary },
  { title: 'a fault for one user', play: fault },
  { title: 'retries hide failures', play: retry },
  { title: 'a timeout is a 504', play: timeout },
  { title: 'a path is denied, however it is written', play: denyPath },
  { title: 'a token is asked for', play: tokens },
  { title: 'the lines of every hop, and what the application sees', play: allHops },
  { title: 'the waypoint goes, the traffic stays', play: leave },
];
