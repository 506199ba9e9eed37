import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatDns } from './dns-log.ts';

const at = Date.UTC(2026, 7, 22, 10, 0, 0) + 0.004;
const record = {
  workload: 'client',
  namespace: 'default',
  query: 'A',
  domain: 'web.default.svc.cluster.local.',
  result: 'success',
  endpoints: 2,
};

test('a line of the DNS log', () => {
  assert.equal(
    formatDns(record, 'plain', at),
    '2026-08-22T10:00:00.000004Z\tdebug\tdns\tsrc.workload="client" src.namespace="default" query="A" ' +
      'domain="web.default.svc.cluster.local." result="success" endpoints=2',
  );
  assert.deepEqual(JSON.parse(formatDns(record, 'json', at)), {
    level: 'debug',
    time: '2026-08-22T10:00:00.000004Z',
    scope: 'dns',
    'src.workload': 'client',
    'src.namespace': 'default',
    query: 'A',
    domain: 'web.default.svc.cluster.local.',
    result: 'success',
    endpoints: 2,
  });
});

test('a pod that is not known, and text that would break the line', () => {
  assert.match(
    formatDns({ query: 'TYPE9', domain: 'a"b\n.', result: 'unknown source', endpoints: 0 }, 'plain', at),
    /src\.workload="unknown" src\.namespace="unknown" query="TYPE9" domain="a\\"b\\n\." result="unknown source" endpoints=0$/,
  );
});
