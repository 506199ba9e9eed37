import assert from 'node:assert/strict';
import { test } from 'node:test';
import { errorRegistry, MeshError, type ErrorCode } from '#/errors/index.ts';
import type { LogLevel } from '#/kit/index.ts';
import type { Identity } from '#/model/index.ts';
import { at, aService, aWorkload } from '../../test/mesh-records.ts';
import { Ledger, openMetrics, TrafficMetrics, type LedgerEntry, type OpenConnection } from './index.ts';

const web = 'spiffe://cluster.local/ns/shop/sa/web' as Identity;
const source = aWorkload('web-1', { namespace: 'shop', serviceAccount: 'web', canonicalName: 'web' });
const destination = aWorkload('cart-1', { namespace: 'shop', serviceAccount: 'cart', canonicalName: 'cart' });
const connection: OpenConnection = {
  reporter: 'source',
  source,
  destination,
  service: aService('cart.shop'),
  mutualTls: true,
  sourceIdentity: web,
  sourceAddress: at('10.1.0.5:41022'),
  destinationAddress: at('10.1.2.9:15008'),
  hboneAddress: '10.1.2.9:8080',
};

function setUp(levels: readonly LogLevel[] = ['info', 'warn', 'error']) {
  const lines: string[] = [];
  let clock = Date.UTC(2026, 0, 1);
  const metrics = new TrafficMetrics();
  const ledger = new Ledger({
    log: { format: 'plain', enabled: (level) => levels.includes(level), write: (line) => lines.push(line) },
    metrics,
    now: () => clock,
  });
  const count = (name: string, flag = ''): number =>
    [...openMetrics(metrics.collect())]
      .join('')
      .split('\n')
      .filter(
        (line) => line.startsWith(`istio_tcp_${name}_total{`) && line.includes(`response_flags="${flag}`),
      )
      .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
  return { lines, metrics, ledger, count, pass: (ms: number) => (clock += ms) };
}

test('who is named depends on the identity of each connection, not on the last one of the same workload', () => {
  const { ledger, lines } = setUp();
  const other = 'spiffe://cluster.local/ns/shop/sa/other' as Identity;
  const ways: readonly Partial<OpenConnection>[] = [
    {},
    { mutualTls: false },
    { sourceIdentity: other },
    {},
    { mutualTls: false },
    { sourceAddress: at('10.1.0.6:1') },
  ];
  for (const way of ways) ledger.open({ ...connection, ...way }).complete();
  const seen = lines.map((line) => line.match(/src\.addr=\S+|src\.identity="[^"]*"/g)?.join(' '));
  assert.deepEqual(seen, [
    `src.addr=10.1.0.5:41022 src.identity="${web}"`,
    'src.addr=10.1.0.5:41022',
    `src.addr=10.1.0.5:41022 src.identity="${other}"`,
    `src.addr=10.1.0.5:41022 src.identity="${web}"`,
    'src.addr=10.1.0.5:41022',
    `src.addr=10.1.0.6:1 src.identity="${web}"`,
  ]);
});

const failures = Object.keys(errorRegistry) as ErrorCode[];

test('each way in which a connection can end gives one line and one closed connection', () => {
  const endings: readonly [string, (entry: LedgerEntry) => void, LogLevel, string, string | undefined][] = [
    ['complete', (entry) => entry.complete(), 'info', '-', undefined],
    ['left alone', () => {}, 'error', '-', errorRegistry.DRAINED.text],
    [
      'an error of the registry',
      (entry) => entry.fail(new MeshError('CERTIFICATE_REVOKED')),
      'error',
      'CERT_REVOKED',
      errorRegistry.CERTIFICATE_REVOKED.text,
    ],
    [
      'an error with a cause',
      (entry) => entry.fail(new MeshError('TLS_FAILED', 'tls error', { cause: new Error('expired') })),
      'error',
      'TLS_FAILURE',
      'tls error: expired',
    ],
    ['any error', (entry) => entry.fail(new Error('boom')), 'error', 'CONNECT', 'connection failed: boom'],
    [
      'a reason',
      (entry) => entry.fail({ code: 'HTTP_STATUS', reason: 'http status: 401 Unauthorized' }),
      'error',
      'CONNECT',
      'http status: 401 Unauthorized',
    ],
    ...failures.map((code): [string, (entry: LedgerEntry) => void, LogLevel, string, string] => [
      code,
      (entry) => entry.fail({ code }),
      'error',
      errorRegistry[code].flag,
      errorRegistry[code].text,
    ]),
  ];
  for (const [name, end, level, flag, error] of endings) {
    const { lines, ledger, count } = setUp();
    {
      using entry = ledger.open(connection);
      end(entry);
      end(entry);
      if (name !== 'left alone') assert.equal(entry.open, false, name);
    }
    assert.equal(lines.length, 1, name);
    assert.equal(lines[0]?.split('\t')[1], level, name);
    assert.equal(/ error="(.*)"$/.exec(lines.join())?.[1], error, name);
    assert.equal(count('connections_opened', '-'), 1, name);
    assert.equal(count('connections_closed'), 1, name);
    assert.equal(count('connections_closed', flag), 1, name);
    assert.equal(count('connections_failed'), flag === '-' ? 0 : 1, name);
  }
});

test('whichever end comes first is the outcome', () => {
  const { lines, ledger } = setUp();
  using entry = ledger.open(connection);
  entry.fail({ code: 'POLICY_CHANGED' });
  entry.complete();
  entry.fail({ code: 'DRAINED' });
  assert.equal(lines.length, 1);
  assert.match(lines[0] as string, /error="connection closed due to policy change"$/);
});

test('bytes: the log tells them as the proxy saw them, the metrics from client to server', () => {
  for (const [reporter, sent, received] of [
    ['source', 7, 30],
    ['destination', 30, 7],
  ] as const) {
    const { lines, ledger, count, pass } = setUp();
    using entry = ledger.open({ ...connection, reporter });
    entry.addToServer(3);
    entry.addToServer(4);
    entry.addToClient(30);
    assert.equal(count('received_bytes'), 7, 'while it is open');
    assert.equal(count('sent_bytes'), 30);
    pass(4.6);
    entry.complete();
    assert.match(
      lines[0] as string,
      new RegExp(` bytes_sent=${sent} bytes_recv=${received} duration="4ms"$`),
    );
    assert.deepEqual(entry.bytes, { toServer: 7, toClient: 30 });
  }
});

test('the parties of a line', () => {
  const line = (fields: Partial<OpenConnection>): string => {
    const { lines, ledger } = setUp();
    ledger.open({ ...connection, ...fields }).complete();
    const text = lines[0] as string;
    return text.slice(text.indexOf('src.addr'), text.indexOf(' bytes_sent'));
  };
  assert.equal(
    line({}),
    'src.addr=10.1.0.5:41022 src.workload="web-1" src.namespace="shop" src.identity="spiffe://cluster.local/ns/shop/sa/web" src.cluster="Kubernetes" dst.addr=10.1.2.9:15008 dst.hbone_addr=10.1.2.9:8080 dst.service="cart.shop" dst.workload="cart-1" dst.namespace="shop" dst.identity="spiffe://cluster.local/ns/shop/sa/cart" dst.cluster="Kubernetes" direction="outbound"',
  );
  assert.equal(
    line({ mutualTls: false, sourceIdentity: undefined, hboneAddress: undefined, service: undefined }),
    'src.addr=10.1.0.5:41022 src.workload="web-1" src.namespace="shop" src.cluster="Kubernetes" dst.addr=10.1.2.9:15008 dst.workload="cart-1" dst.namespace="shop" dst.cluster="Kubernetes" direction="outbound"',
  );
  assert.equal(
    line({ reporter: 'destination', source: undefined, destination: { ...destination, name: '' } }),
    'src.addr=10.1.0.5:41022 src.identity="spiffe://cluster.local/ns/shop/sa/web" dst.addr=10.1.2.9:15008 dst.hbone_addr=10.1.2.9:8080 dst.service="cart.shop" dst.workload="cart" dst.namespace="shop" dst.identity="spiffe://cluster.local/ns/shop/sa/cart" dst.cluster="Kubernetes" direction="inbound"',
  );
  const baggage = { workloadName: 'far', serviceName: 'far-app', namespace: 'x', clusterId: 'c2' };
  assert.match(
    line({ source: undefined, sourceBaggage: baggage }),
    /^src\.addr=\S+ src\.workload="far-app" src\.namespace="x" src\.identity="\S+" src\.cluster="c2" dst/,
  );
  assert.match(
    line({ destinationBaggage: baggage, destinationIdentity: web }),
    / dst\.workload="far" dst\.namespace="x" dst\.identity="spiffe:\/\/cluster\.local\/ns\/shop\/sa\/web" dst\.cluster="c2" direction/,
  );
});

test('a refusal before there was a plan: one line, no connections counted', () => {
  const { lines, ledger, metrics } = setUp();
  ledger.refuse({
    reporter: 'destination',
    sourceAddress: at('10.1.0.5:1'),
    destinationAddress: at('10.1.2.9:15006'),
    reason: 'attempted recursive call to ourselves',
  });
  assert.deepEqual(lines, [
    '2026-01-01T00:00:00.000000Z\twarn\taccess\tconnection failed\tsrc.addr=10.1.0.5:1 dst.addr=10.1.2.9:15006 direction="inbound" error="attempted recursive call to ourselves"',
  ]);
  assert.equal(metrics.size, 0);
});

test('levels: opened at debug, nothing where nothing is wanted', () => {
  const debug = setUp(['debug', 'info']);
  debug.ledger.open(connection).complete();
  assert.deepEqual(
    debug.lines.map((line) => line.split('\t').slice(1, 4).join(' ')),
    ['debug access connection opened', 'info access connection complete'],
  );
  const quiet = setUp([]);
  quiet.ledger.open(connection).complete();
  quiet.ledger.refuse({
    reporter: 'source',
    sourceAddress: at('1.1.1.1:1'),
    destinationAddress: at('1.1.1.1:1'),
    reason: '',
  });
  assert.deepEqual(quiet.lines, []);
  assert.equal(quiet.count('connections_closed'), 1, 'but it is counted');
});

test('open sockets go up and down, once each', () => {
  const { ledger, metrics } = setUp();
  const text = () => [...openMetrics(metrics.collect())].join('');
  const socket = ledger.socketOpened('destination');
  assert.match(text(), /istio_tcp_sockets_open\{reporter="destination"\} 1\n/);
  socket[Symbol.dispose]();
  socket[Symbol.dispose]();
  assert.match(text(), /istio_tcp_sockets_open\{reporter="destination"\} 0\n/);
});

test('a connection that was accepted earlier counts from then', () => {
  const { lines, ledger, pass } = setUp();
  const startedAt = Date.UTC(2026, 0, 1);
  pass(50);
  const entry = ledger.open({ ...connection, startedAt });
  pass(10);
  entry.complete();
  assert.match(lines[0] as string, / duration="60ms"$/);
});
