import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Identity } from '#/model/index.ts';
import { aService, aWorkload } from '../../test/mesh-records.ts';
import {
  families,
  labelsWithFlag,
  MetricSet,
  metricsContentType,
  openMetrics,
  trafficLabelNames,
  trafficLabels,
  TrafficMetrics,
  type MetricFamily,
  type TrafficParties,
} from './index.ts';

const source = aWorkload('web-1', {
  namespace: 'shop',
  workloadName: 'web',
  canonicalName: 'web-app',
  canonicalRevision: 'v1',
  serviceAccount: 'web',
  locality: { region: 'r1', zone: 'z1', subzone: '' },
});
const destination = aWorkload('cart-1', {
  namespace: 'shop',
  workloadName: 'cart',
  canonicalName: 'cart-app',
  serviceAccount: 'cart',
});
const service = aService('cart.shop.svc.cluster.local', { namespace: 'shop' });
const web = 'spiffe://cluster.local/ns/shop/sa/web' as Identity;
const parties: TrafficParties = {
  reporter: 'source',
  source,
  destination,
  service,
  mutualTls: true,
  sourceIdentity: web,
};

const textOf = (metrics: {
  collect(): Iterable<Parameters<typeof openMetrics>[0] extends Iterable<infer F> ? F : never>;
}) => [...openMetrics(metrics.collect())].join('');

/** The labels as an object. */
function parse(labels: string): Record<string, string> {
  return Object.fromEntries(
    [...labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, key, value]) => [key, value]),
  );
}

test('the labels of a connection, in order', () => {
  assert.equal(
    labelsWithFlag(trafficLabels(parties), '-'),
    'reporter="source",source_workload="web",source_canonical_service="web-app",source_canonical_revision="v1",source_workload_namespace="shop",source_principal="spiffe://cluster.local/ns/shop/sa/web",source_app="web-app",source_version="v1",source_cluster="Kubernetes",destination_service="cart.shop.svc.cluster.local",destination_service_namespace="shop",destination_service_name="cart",destination_workload="cart",destination_canonical_service="cart-app",destination_canonical_revision="unknown",destination_workload_namespace="shop",destination_principal="spiffe://cluster.local/ns/shop/sa/cart",destination_app="cart-app",destination_version="unknown",destination_cluster="Kubernetes",request_protocol="tcp",response_flags="-",connection_security_policy="mutual_tls",source_region="r1",source_zone="z1",destination_region="unknown",destination_zone="unknown"',
  );
  assert.deepEqual(Object.keys(parse(labelsWithFlag(trafficLabels(parties), 'DENY'))), [
    ...trafficLabelNames,
  ]);
});

test('what is not known is unknown, and locality is left out where nobody is known', () => {
  const labels = parse(labelsWithFlag(trafficLabels({ reporter: 'destination', mutualTls: false }), '-'));
  assert.deepEqual(Object.keys(labels), trafficLabelNames.slice(0, -4));
  const values = new Set(
    Object.entries(labels).flatMap(([key, value]) => (/^(source|destination)_/.test(key) ? [value] : [])),
  );
  assert.deepEqual([...values], ['unknown']);
  assert.equal(labels['connection_security_policy'], 'unknown');
  const plaintext = parse(
    labelsWithFlag(trafficLabels({ ...parties, mutualTls: false, sourceIdentity: undefined }), '-'),
  );
  assert.equal(plaintext['source_principal'], 'unknown');
  assert.equal(plaintext['destination_principal'], 'spiffe://cluster.local/ns/shop/sa/cart');
});

test('baggage speaks only for those who are not known', () => {
  const baggage = {
    workloadName: 'far',
    serviceName: 'far-app',
    revision: 'v9',
    namespace: 'x',
    clusterId: 'c2',
    region: 'r9',
  };
  const known = parse(labelsWithFlag(trafficLabels({ ...parties, sourceBaggage: baggage }), '-'));
  assert.equal(known['source_workload'], 'web');
  const unknown = parse(
    labelsWithFlag(trafficLabels({ ...parties, source: undefined, sourceBaggage: baggage }), '-'),
  );
  assert.deepEqual(
    [
      'workload',
      'canonical_service',
      'canonical_revision',
      'workload_namespace',
      'principal',
      'app',
      'version',
      'cluster',
      'region',
      'zone',
    ].map((name) => unknown[`source_${name}`]),
    ['far', 'far-app', 'v9', 'x', web, 'far', 'v9', 'c2', 'r9', 'unknown'],
  );
  const behind = parse(
    labelsWithFlag(trafficLabels({ ...parties, destinationBaggage: baggage, destinationIdentity: web }), '-'),
  );
  assert.equal(behind['destination_workload'], 'far');
  assert.equal(behind['destination_principal'], web, 'from the handshake, not from the gateway');
});

test('labels are made once for the same parties', () => {
  assert.equal(trafficLabels(parties), trafficLabels({ ...parties }));
  assert.notEqual(trafficLabels(parties), trafficLabels({ ...parties, service: undefined }));
  assert.notEqual(trafficLabels(parties), trafficLabels({ ...parties, reporter: 'destination' }));
  assert.notEqual(
    trafficLabels(parties),
    trafficLabels({ ...parties, source: { ...source, workloadName: 'b' } }),
  );
  for (let i = 0; i < 40; i++) trafficLabels({ ...parties, service: aService(`s${i}`) });
  assert.match(trafficLabels(parties).head, /destination_service_name="cart"/, 'also after many others');
});

test('a name cannot break out of its label', () => {
  const evil = aWorkload('x', { workloadName: 'a",b="\\\n' });
  const { head } = trafficLabels({ reporter: 'source', source: evil, mutualTls: false });
  assert.match(head, /source_workload="a\\",b=\\"\\\\\\n",/);
});

test('the text of the traffic families', () => {
  const metrics = new TrafficMetrics();
  assert.equal(textOf(metrics), '# EOF\n');
  const labels = trafficLabels({ reporter: 'source', mutualTls: false });
  const series = metrics.hold(labels);
  series.counts.opened++;
  using _ = metrics.socketOpened('source');
  const braces = (flag: '-' | 'CONNECT') => `{${labelsWithFlag(labels, flag)}}`;
  assert.equal(
    textOf(metrics),
    `# HELP istio_tcp_connections_opened TCP connections opened.\n# TYPE istio_tcp_connections_opened counter\nistio_tcp_connections_opened_total${braces('-')} 1\n` +
      `# HELP istio_tcp_received_bytes Bytes from client to server.\n# TYPE istio_tcp_received_bytes counter\nistio_tcp_received_bytes_total${braces('-')} 0\n` +
      `# HELP istio_tcp_sent_bytes Bytes from server to client.\n# TYPE istio_tcp_sent_bytes counter\nistio_tcp_sent_bytes_total${braces('-')} 0\n` +
      '# HELP istio_tcp_sockets_open Sockets of applications and peers that are open.\n# TYPE istio_tcp_sockets_open gauge\nistio_tcp_sockets_open{reporter="source"} 1\n' +
      '# EOF\n',
  );
  const failed = metrics.flagged(labels, 'CONNECT');
  failed.closed++;
  failed.failed++;
  const text = textOf(metrics);
  assert.match(text, /\nistio_tcp_connections_closed_total\{.*response_flags="CONNECT".*\} 1\n/);
  assert.match(text, /\nistio_tcp_connections_failed_total\{.*response_flags="CONNECT".*\} 1\n/);
  assert.equal(
    text.match(/istio_tcp_connections_opened_total/g)?.length,
    1,
    'the opened series carries no flag',
  );
});

test('what workers count is merged', () => {
  const main = new TrafficMetrics();
  const workers = [new TrafficMetrics(), new TrafficMetrics()];
  const labels = trafficLabels(parties);
  const sockets = workers.map((worker) => worker.socketOpened('source'));
  const held = workers.map((worker) => worker.hold(labels));
  for (const { counts } of held) {
    counts.opened++;
    counts.sent += 10;
  }
  const flush = () => {
    for (const worker of workers) main.merge(structuredClone(worker.drain()));
  };
  flush();
  flush();
  assert.match(textOf(main), /istio_tcp_connections_opened_total\{.*\} 2\n/);
  assert.match(textOf(main), /istio_tcp_sent_bytes_total\{.*\} 20\n/);
  assert.match(textOf(main), /istio_tcp_sockets_open\{reporter="source"\} 2\n/);
  assert.equal(workers[0]?.size, 1, 'a connection is still open');
  for (const one of held) {
    one.counts.sent += 5;
    one.counts.closed++;
    one[Symbol.dispose]();
    one[Symbol.dispose]();
  }
  for (const socket of sockets) socket[Symbol.dispose]();
  flush();
  assert.match(textOf(main), /istio_tcp_sent_bytes_total\{.*\} 30\n/);
  assert.match(textOf(main), /istio_tcp_sockets_open\{reporter="source"\} 0\n/);
  assert.equal(workers[0]?.size, 0, 'nobody holds it');
  const again = workers[0]?.hold(labels);
  if (again) again.counts.opened++;
  flush();
  assert.match(textOf(main), /istio_tcp_connections_opened_total\{.*\} 3\n/, 'a series that left comes back');
});

test('beyond the limit, sums stay right and the overflow is told', () => {
  const metrics = new TrafficMetrics({ limit: 3 });
  for (let i = 0; i < 10; i++) {
    const labels = trafficLabels({ ...parties, service: aService(`s${i}`) });
    metrics.hold(labels).counts.opened++;
  }
  assert.equal(metrics.size, 4);
  assert.equal(metrics.overflowed, 7);
  const text = textOf(metrics);
  assert.match(text, /\naura_metric_series_overflow_total 7\n/);
  const opened = [...text.matchAll(/^istio_tcp_connections_opened_total\{.*\} (\d+)$/gm)];
  assert.equal(
    opened.reduce((sum, [, count]) => sum + Number(count), 0),
    10,
  );
});

test('other families: counters, gauges, histograms, merged and bounded', () => {
  const make = (limit?: number) =>
    new MetricSet(
      [
        families.build,
        families.xdsMessages,
        families.dnsUpstreamDuration,
        families.activeProxies,
        families.proxiesStarted,
      ],
      limit,
    );
  const set = make();
  assert.equal(textOf(set), '# EOF\n');
  set.set(families.build, ['ztunnel', 'v1.2'], 1);
  set.set(families.activeProxies, [], 4);
  set.add(families.proxiesStarted, []);
  set.add(families.xdsMessages, ['a"b'], 2);
  for (const seconds of [0.0001, 0.005, 0.5, 20])
    set.observe(families.dnsUpstreamDuration, ['A', 'udp', '', undefined], seconds);
  const labels =
    'request_query_type="A",request_protocol="udp",source_canonical_service="unknown",source_canonical_revision="unknown"';
  const bucket = (le: string, count: number) =>
    `istio_dns_upstream_request_duration_seconds_bucket{${labels},le="${le}"} ${count}\n`;
  const wanted =
    '# HELP istio_build The version that runs.\n# TYPE istio_build gauge\nistio_build{component="ztunnel",tag="v1.2"} 1\n' +
    '# HELP istio_xds_message Messages from the control plane.\n# TYPE istio_xds_message counter\nistio_xds_message_total{url="a\\"b"} 2\n' +
    '# HELP istio_dns_upstream_request_duration_seconds Time until a name server answered.\n# TYPE istio_dns_upstream_request_duration_seconds histogram\n# UNIT istio_dns_upstream_request_duration_seconds seconds\n' +
    `istio_dns_upstream_request_duration_seconds_sum{${labels}} 20.5051\n` +
    `istio_dns_upstream_request_duration_seconds_count{${labels}} 4\n` +
    bucket('0.0005', 1) +
    bucket('0.001', 1) +
    bucket('0.01', 2) +
    bucket('0.1', 2) +
    bucket('1.0', 3) +
    bucket('5.0', 3) +
    bucket('+Inf', 4) +
    '# HELP workload_manager_active_proxy_count Pods that have a proxy.\n# TYPE workload_manager_active_proxy_count gauge\nworkload_manager_active_proxy_count 4\n' +
    '# HELP workload_manager_proxies_started Pod proxies started.\n# TYPE workload_manager_proxies_started counter\nworkload_manager_proxies_started_total 1\n' +
    '# EOF\n';
  assert.equal(textOf(set), wanted);

  const main = make();
  main.merge(structuredClone(set.drain()));
  assert.equal(textOf(main), wanted);
  assert.equal(textOf(set), '# EOF\n');

  const small = make(2);
  for (let i = 0; i < 5; i++) small.add(families.xdsMessages, [`u${i}`]);
  assert.match(textOf(small), /istio_xds_message_total\{url="unknown"\} 3\n/);
  assert.equal(small.overflowed, 3);
  const foreign: MetricFamily = { name: 'x', type: 'counter', help: '', labels: [] };
  assert.throws(() => small.add(foreign, []), /no such metric family: "x"/);
});

test('large answers come in pieces', () => {
  const metrics = new TrafficMetrics();
  for (let i = 0; i < 200; i++)
    metrics.hold(trafficLabels({ ...parties, service: aService(`s${i}`) })).counts.opened++;
  const pieces = [...openMetrics(metrics.collect())];
  assert.ok(pieces.length > 3);
  assert.ok(pieces.every((piece) => piece.length < 80_000));
  assert.ok(pieces.at(-1)?.endsWith('# EOF\n'));
});

test('the content type follows the Accept header', () => {
  const plain = 'text/plain; charset=utf-8';
  const open = 'application/openmetrics-text;charset=utf-8;version=1.0.0';
  const rows: readonly [string | undefined, string][] = [
    [undefined, plain],
    ['*/*', plain],
    ['application/json', plain],
    ['application/json, application/openmetrics-text; version=1.0.0;q=0.5', open],
    ['Application/OpenMetrics-Text', open],
    ['x;application/openmetrics-text', plain],
  ];
  for (const [accept, wanted] of rows) assert.equal(metricsContentType(accept), wanted, String(accept));
});
