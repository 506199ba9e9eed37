// Over HTTPS, as a client sees it: lists and watches.
import assert from 'node:assert/strict';
import { connect } from 'node:tls';
import { test, type TestContext } from 'node:test';
import { configMaps, isGone, type KubeError, loadKubeconfig, pods, type ConfigMap } from '#/kube/index.ts';
import { map, pod, sharedServer, testServer } from '../test-server.ts';

const shared = sharedServer();
const { fresh } = shared;

test('a watch begins after a version, follows a selector, and ends in time', async () => {
  const { client } = shared;
  const ns = await fresh();
  const first = await client.create(configMaps, ns, {
    ...map('a'),
    metadata: { name: 'a', labels: { on: 'yes' } },
  });
  const events: string[] = [];
  await client.create(configMaps, ns, map('ignored'));
  await client.patch(configMaps, ns, 'a', { data: { x: '1' } }, 'merge');
  await client.patch(configMaps, ns, 'a', { metadata: { labels: { on: 'no' } } }, 'merge');
  await client.patch(configMaps, ns, 'a', { metadata: { labels: { on: 'yes' } } }, 'merge');
  await client.delete(configMaps, ns, 'a');
  for await (const event of client.watch(configMaps, {
    namespace: ns,
    labelSelector: 'on=yes',
    resourceVersion: first.metadata.resourceVersion as string,
    timeoutSeconds: 1,
  }))
    events.push(event.type === 'BOOKMARK' ? 'BOOKMARK' : `${event.type} ${event.object.metadata.name}`);
  assert.deepEqual(events, ['MODIFIED a', 'DELETED a', 'ADDED a', 'DELETED a', 'BOOKMARK']);
});

test('a watch can begin with all that is there', async () => {
  const { client } = shared;
  const ns = await fresh();
  await client.create(configMaps, ns, map('a'));
  const path = `/api/v1/namespaces/${ns}/configmaps?watch=1&allowWatchBookmarks=true&timeoutSeconds=1&fieldSelector=metadata.name%3Da`;
  const plain = (await shared.raw('GET', path)).text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { type: string });
  assert.deepEqual(
    plain.map(({ type }) => type),
    ['ADDED', 'BOOKMARK'],
  );
  const streamed = await shared.raw(
    'GET',
    `${path}&sendInitialEvents=true&resourceVersionMatch=NotOlderThan`,
  );
  const lines = streamed.text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { type: string; object: ConfigMap });
  assert.deepEqual(
    lines.map(({ type }) => type),
    ['ADDED', 'BOOKMARK', 'BOOKMARK'],
  );
  assert.equal(lines[1]?.object.metadata.annotations?.['k8s.io/initial-events-end'], 'true');
  assert.equal((await shared.raw('GET', `${path}&sendInitialEvents=true`)).code, 400);
});

test('lists in pages show one moment, however much changes in between', async () => {
  const { client } = shared;
  const ns = await fresh();
  for (const name of ['a', 'b', 'c', 'd']) await client.create(pods, ns, pod(name));
  const first = await client.list(pods, { namespace: ns, limit: 2 });
  assert.deepEqual(
    first.items.map(({ metadata }) => metadata.name),
    ['a', 'b'],
  );
  await client.delete(pods, ns, 'd');
  await client.create(pods, ns, pod('bb'));
  const second = await client.list(pods, { namespace: ns, limit: 2, continue: first.continue as string });
  assert.deepEqual(
    second.items.map(({ metadata }) => metadata.name),
    ['c', 'd'],
  );
  assert.deepEqual([second.continue, second.resourceVersion], [undefined, first.resourceVersion]);
  const exact = await client.list(pods, {
    namespace: ns,
    resourceVersion: first.resourceVersion,
    resourceVersionMatch: 'Exact',
  });
  assert.deepEqual(
    exact.items.map(({ metadata }) => metadata.name),
    ['a', 'b', 'c', 'd'],
  );
  await assert.rejects(client.list(pods, { continue: 'nonsense' }), /continue key is not valid/);
  await assert.rejects(
    client.list(pods, { resourceVersion: '99999999' }),
    (error: KubeError) => error.code === 504,
  );
});

test('a watch from before the log began is told to list again', async (t: TestContext) => {
  const small = await testServer(t, { history: { entries: 10, size: 1e6 } });
  const first = await small.client.create(configMaps, 'default', map('first'));
  for (let i = 0; i < 20; i++)
    await small.client.patch(configMaps, 'default', 'first', { data: { i: String(i) } }, 'merge');
  await assert.rejects(async () => {
    for await (const event of small.client.watch(configMaps, {
      resourceVersion: first.metadata.resourceVersion as string,
      timeoutSeconds: 1,
    }))
      void event;
  }, isGone);
  await assert.rejects(async () => {
    for await (const event of small.client.watch(configMaps, {
      resourceVersion: '999999',
      timeoutSeconds: 1,
    }))
      void event;
  }, isGone);
});

test('a watcher that does not read costs nothing and is ended', async (t: TestContext) => {
  const small = await testServer(t, {
    history: { entries: 50, size: 1e8 },
    watch: { bookmarkMs: 100, stalledMs: 300 },
  });
  const { server, ca, clientCert, clientKey } = loadKubeconfig(small.server.kubeconfig);
  const { hostname, port } = new URL(server);
  const socket = connect({
    host: hostname,
    port: Number(port),
    ca,
    cert: clientCert,
    key: clientKey,
  });
  await new Promise<void>((resolve) => socket.once('secureConnect', () => resolve()));
  socket.write('GET /api/v1/configmaps?watch=1 HTTP/1.1\r\nhost: x\r\n\r\n');
  await new Promise<void>((resolve) => socket.once('readable', () => resolve()));
  // From here on nothing is read.
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  await small.client.create(configMaps, 'default', map('big'));
  const before = process.memoryUsage().rss;
  for (let i = 0; i < 60; i++)
    await small.client.patch(
      configMaps,
      'default',
      'big',
      { data: { x: String(i).padEnd(300_000, 'x') } },
      'merge',
    );
  assert.ok(process.memoryUsage().rss - before < 250e6);
  await new Promise((resolve) => setTimeout(resolve, 600));
  socket.resume();
  await closed;
  assert.equal((await small.raw('GET', '/readyz')).text, 'ok');
});
