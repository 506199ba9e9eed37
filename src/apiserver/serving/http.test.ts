// Over HTTPS, as a client sees it: requests.
import assert from 'node:assert/strict';
import { connect } from 'node:tls';
import { test } from 'node:test';
import { configMaps, pods } from '#/kube/index.ts';
import { map, pod, sharedServer } from '../test-server.ts';

const shared = sharedServer();
const { fresh } = shared;

test('unknown fields are an error, a warning or nothing, as the client asks', async () => {
  const ns = await fresh();
  const body = JSON.stringify({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'a' },
    dat: {},
    data: { a: 'b' },
  });
  const path = `/api/v1/namespaces/${ns}/configmaps`;
  const strict = await shared.raw('POST', `${path}?fieldValidation=Strict`, { body });
  assert.equal(strict.code, 400);
  assert.match(
    strict.json.message ?? '',
    /ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: unknown field "dat"/,
  );
  const warned = await shared.raw('POST', `${path}?fieldValidation=Warn`, { body });
  assert.equal(warned.code, 201);
  assert.equal(warned.headers['warning'], '299 - "unknown field \\"dat\\""');
  assert.equal(warned.json['dat'], undefined);
  const quiet = await shared.raw('PUT', `${path}/a?fieldValidation=Ignore`, { body });
  assert.deepEqual([quiet.code, quiet.headers['warning']], [200, undefined]);
});

test('hostile bodies get a clear error and nothing else happens', async () => {
  const ns = await fresh();
  const path = `/api/v1/namespaces/${ns}/configmaps`;
  const post = (body: string | Buffer, headers: Record<string, string> = {}) =>
    shared.raw('POST', path, { body, headers });
  const deep = await post(`{"metadata":{"name":"a"},"x":${'['.repeat(100_000)}${']'.repeat(100_000)}}`);
  assert.deepEqual([deep.code, deep.json.message], [400, 'the body is nested more than 128 levels deep']);
  const text = await post(Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x3a, 0x31, 0x7d]));
  assert.deepEqual([text.code, text.json.message], [400, 'the body is not valid UTF-8']);
  const large = await post(JSON.stringify(map('a', { x: 'x'.repeat(4 * 1024 * 1024) }))).catch(
    (error: Error) => error,
  );
  assert.ok(large instanceof Error || large.code === 413);
  assert.match((await post('{')).json.message ?? '', /the body is not JSON/);
  assert.match((await post('[]')).json.message ?? '', /the body is not an object/);
  assert.equal((await post('{}', { 'content-type': 'text/csv' })).code, 415);
  assert.match(
    (await post('{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a"}}')).json.message ?? '',
    /cannot be handled as a ConfigMap/,
  );
  const bomb = `a: &a [1,1,1,1,1,1,1,1,1]\n${Array.from({ length: 9 }, (_, i) => `b${i}: &b${i} [*${i === 0 ? 'a' : `b${i - 1}`},*${i === 0 ? 'a' : `b${i - 1}`},*${i === 0 ? 'a' : `b${i - 1}`},*${i === 0 ? 'a' : `b${i - 1}`},*${i === 0 ? 'a' : `b${i - 1}`},*${i === 0 ? 'a' : `b${i - 1}`},*${i === 0 ? 'a' : `b${i - 1}`},*${i === 0 ? 'a' : `b${i - 1}`},*${i === 0 ? 'a' : `b${i - 1}`}]`).join('\n')}`;
  assert.equal((await post(bomb, { 'content-type': 'application/yaml' })).code, 400);
  assert.equal((await shared.raw('GET', '/api/v1/namespaces/%zz/pods')).code, 400);
  assert.equal(
    (await shared.client.list(configMaps, { namespace: ns })).items.filter(
      ({ metadata }) => metadata.name === 'a',
    ).length,
    0,
  );
});

test('bytes that are no TLS, and TLS that is no HTTP, disturb nobody', async () => {
  const { hostname, port } = new URL(shared.server.url);
  const socket = connect({ host: hostname, port: Number(port), rejectUnauthorized: false });
  await new Promise<void>((resolve) => {
    socket.on('error', () => resolve());
    socket.on('close', () => resolve());
    socket.on('secureConnect', () => socket.write('\x00\x01garbage\r\n\r\n'));
    socket.resume();
  });
  assert.equal((await shared.raw('GET', '/readyz')).text, 'ok');
});

test('tables have the columns of kubectl', async () => {
  const { client } = shared;
  const ns = await fresh();
  await client.create(pods, ns, pod('p', 'n1'));
  await client.patch(
    pods,
    ns,
    'p',
    {
      status: {
        phase: 'Running',
        podIP: '10.1.2.3',
        podIPs: [{ ip: '10.1.2.3' }],
        containerStatuses: [
          {
            name: 'c',
            image: 'x',
            imageID: '',
            ready: false,
            restartCount: 3,
            state: { waiting: { reason: 'CrashLoopBackOff' } },
          },
        ],
      },
    },
    'merge',
    { subresource: 'status' },
  );
  const accept = { accept: 'application/json;as=Table;v=v1;g=meta.k8s.io,application/json' };
  const table = (await shared.raw('GET', `/api/v1/namespaces/${ns}/pods`, { headers: accept }))
    .json as unknown as {
    kind: string;
    columnDefinitions: { name: string; priority: number }[];
    rows: { cells: unknown[]; object: { kind: string } }[];
  };
  assert.equal(table.kind, 'Table');
  assert.deepEqual(
    table.columnDefinitions.map(({ name }) => name),
    ['Name', 'Ready', 'Status', 'Restarts', 'Age', 'IP', 'Node', 'Nominated Node', 'Readiness Gates'],
  );
  const cells = table.rows[0]?.cells ?? [];
  assert.deepEqual(
    [...cells.slice(0, 4), cells[5], cells[6]],
    ['p', '0/1', 'CrashLoopBackOff', '3', '10.1.2.3', 'n1'],
  );
  assert.equal(table.rows[0]?.object.kind, 'PartialObjectMetadata');
  const partial = await shared.raw('GET', `/api/v1/namespaces/${ns}/pods`, {
    headers: { accept: 'application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io' },
  });
  assert.deepEqual(Object.keys((partial.json['items'] as object[])[0] as object), [
    'kind',
    'apiVersion',
    'metadata',
  ]);
  const yaml = await shared.raw('GET', `/api/v1/namespaces/${ns}/pods/p`, {
    headers: { accept: 'application/yaml' },
  });
  assert.match(yaml.text, /^kind: Pod\n/);
  assert.equal(
    (await shared.raw('GET', `/api/v1/namespaces/${ns}/pods`, { headers: { accept: 'image/png' } })).code,
    406,
  );
});

test('unknown paths and verbs', async () => {
  for (const [method, path, code] of [
    ['GET', '/apis/nowhere/v1', 404],
    ['GET', '/api/v1/unknowns', 404],
    ['GET', '/apis/apps/v1/pods', 404],
    ['POST', '/api/v1/namespaces/default/pods/x', 405],
    ['GET', '/api/v1/namespaces/default/pods/x/nonsense', 404],
    ['GET', '/apis/authentication.k8s.io/v1/tokenreviews', 405],
    ['GET', '/nonsense', 404],
  ] as const) {
    const answer = await shared.raw(method, path);
    assert.deepEqual([answer.code, answer.json['kind']], [code, 'Status'], `${method} ${path}`);
  }
});
