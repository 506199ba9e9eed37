import assert from 'node:assert/strict';
import { test } from 'node:test';
import { at } from '../../test/mesh-records.ts';
import { accessTime, formatAccess, quote, type AccessRecord } from './index.ts';

const ms = Date.UTC(2026, 7, 22, 10, 0, 0) + 0.001;

const outbound: AccessRecord = {
  level: 'info',
  message: 'connection complete',
  direction: 'outbound',
  source: {
    address: at('10.1.0.5:41022'),
    workload: 'web-1',
    namespace: 'shop',
    identity: 'spiffe://cluster.local/ns/shop/sa/web',
    cluster: 'Kubernetes',
  },
  destination: {
    address: at('10.1.2.9:15008'),
    workload: 'cart-1',
    namespace: 'shop',
    identity: 'spiffe://cluster.local/ns/shop/sa/cart',
    cluster: 'Kubernetes',
  },
  hboneAddress: '10.1.2.9:8080',
  service: 'cart.shop.svc.cluster.local',
  totals: { bytesSent: 120, bytesReceived: 880, durationMs: 4.9 },
};

const peers =
  'src.addr=10.1.0.5:41022 src.workload="web-1" src.namespace="shop" src.identity="spiffe://cluster.local/ns/shop/sa/web" src.cluster="Kubernetes" dst.addr=10.1.2.9:15008 dst.hbone_addr=10.1.2.9:8080 dst.service="cart.shop.svc.cluster.local" dst.workload="cart-1" dst.namespace="shop" dst.identity="spiffe://cluster.local/ns/shop/sa/cart" dst.cluster="Kubernetes"';

test('plain lines', () => {
  const rows: readonly [string, AccessRecord, string][] = [
    [
      'complete',
      outbound,
      `2026-08-22T10:00:00.000001Z\tinfo\taccess\tconnection complete\t${peers} direction="outbound" bytes_sent=120 bytes_recv=880 duration="4ms"`,
    ],
    [
      'failed',
      {
        ...outbound,
        level: 'error',
        direction: 'inbound',
        totals: { bytesSent: 0, bytesReceived: 0, durationMs: 0 },
        error: 'connection closed due to policy rejection: explicitly denied by: shop/deny-web',
      },
      `2026-08-22T10:00:00.000001Z\terror\taccess\tconnection complete\t${peers} direction="inbound" bytes_sent=0 bytes_recv=0 duration="0ms" error="connection closed due to policy rejection: explicitly denied by: shop/deny-web"`,
    ],
    [
      'opened',
      { ...outbound, level: 'debug', message: 'connection opened', totals: undefined },
      `2026-08-22T10:00:00.000001Z\tdebug\taccess\tconnection opened\t${peers} direction="outbound"`,
    ],
    [
      'refused early',
      {
        level: 'warn',
        message: 'connection failed',
        direction: 'outbound',
        source: { address: at('10.1.0.5:41030') },
        destination: { address: at('127.0.0.1:15001') },
        error: 'attempted recursive call to ourselves',
      },
      '2026-08-22T10:00:00.000001Z\twarn\taccess\tconnection failed\tsrc.addr=10.1.0.5:41030 dst.addr=127.0.0.1:15001 direction="outbound" error="attempted recursive call to ourselves"',
    ],
    [
      'nothing known, v6, a clock that went back',
      {
        level: 'info',
        message: 'connection complete',
        direction: 'inbound',
        source: { address: at('[fd00::1]:1'), workload: '', namespace: '' },
        destination: { address: at('[fd00::2]:80') },
        service: '',
        hboneAddress: '',
        totals: { bytesSent: 1, bytesReceived: 2, durationMs: -1 },
      },
      '2026-08-22T10:00:00.000001Z\tinfo\taccess\tconnection complete\tsrc.addr=[fd00::1]:1 dst.addr=[fd00::2]:80 direction="inbound" bytes_sent=1 bytes_recv=2 duration="0ms"',
    ],
  ];
  for (const [name, record, line] of rows) assert.equal(formatAccess(record, 'plain', ms), line, name);
});

test('JSON lines', () => {
  const line = formatAccess({ ...outbound, error: 'a "b"' }, 'json', ms);
  assert.equal(
    line,
    '{"level":"info","time":"2026-08-22T10:00:00.000001Z","scope":"access","message":"connection complete","src.addr":"10.1.0.5:41022","src.workload":"web-1","src.namespace":"shop","src.identity":"spiffe://cluster.local/ns/shop/sa/web","src.cluster":"Kubernetes","dst.addr":"10.1.2.9:15008","dst.hbone_addr":"10.1.2.9:8080","dst.service":"cart.shop.svc.cluster.local","dst.workload":"cart-1","dst.namespace":"shop","dst.identity":"spiffe://cluster.local/ns/shop/sa/cart","dst.cluster":"Kubernetes","direction":"outbound","bytes_sent":120,"bytes_recv":880,"duration":"4ms","error":"a \\"b\\""}',
  );
  const parsed = JSON.parse(
    formatAccess({ ...outbound, source: { address: at('1.2.3.4:5') }, totals: undefined }, 'json', ms),
  ) as Record<string, unknown>;
  assert.deepEqual(Object.keys(parsed).slice(4, 6), ['src.addr', 'dst.addr']);
});

test('text from others cannot forge a field or a line', () => {
  const rows: readonly [string, string][] = [
    ['plain', '"plain"'],
    ['', '""'],
    ['a "quoted" \\ text', '"a \\"quoted\\" \\\\ text"'],
    ['line\nbreak\r\ttab\0', '"line\\nbreak\\r\\ttab\\0"'],
    ['\u001b[31m\u0085\u2028', '"\\u{1b}[31m\\u{85}\\u{2028}"'],
    ["it's é 漢", '"it\'s é 漢"'],
  ];
  for (const [text, wanted] of rows) assert.equal(quote(text), wanted);
});

test('times have microseconds and roll over', () => {
  const start = Date.UTC(2026, 0, 1);
  assert.equal(accessTime(start), '2026-01-01T00:00:00.000000Z');
  assert.equal(accessTime(start + 1.5), '2026-01-01T00:00:00.001500Z');
  assert.equal(accessTime(start + 999.9992), '2026-01-01T00:00:00.999999Z');
  assert.equal(accessTime(start + 1000), '2026-01-01T00:00:01.000000Z');
  assert.equal(accessTime(start - 1), '2025-12-31T23:59:59.999000Z');
});
