// Server-side apply, as two managers of one object see it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  configMaps,
  deployments,
  isConflict,
  services,
  type ConfigMap,
  type Deployment,
  type KubeError,
} from '#/kube/index.ts';
import { sharedServer } from '../test-server.ts';
import { difference, intersection, paths, union } from './field-set.ts';

const shared = sharedServer();
const { fresh } = shared;

interface Entry {
  readonly apiVersion: string;
  readonly manager: string;
  readonly operation: string;
  readonly subresource?: string;
  readonly fieldsV1: object;
}
const managers = (object: { metadata: { managedFields?: readonly unknown[] } }): Entry[] =>
  (object.metadata.managedFields ?? []) as Entry[];
const fieldsOf = (object: { metadata: { managedFields?: readonly unknown[] } }, manager: string): string[] =>
  managers(object)
    .filter((entry) => entry.manager === manager)
    .flatMap((entry) => paths(entry.fieldsV1 as never));

test('sets of fields', () => {
  const a = { 'f:x': {}, 'f:y': { 'f:p': {}, 'f:q': {} }, 'f:z': { '.': {}, 'f:r': {} } };
  const b = { 'f:y': { 'f:q': {} }, 'f:z': { 'f:r': {} }, 'f:w': {} };
  assert.deepEqual(difference(a, b), { 'f:x': {}, 'f:y': { 'f:p': {} }, 'f:z': {} });
  assert.deepEqual(intersection(a, b), { 'f:y': { 'f:q': {} }, 'f:z': { 'f:r': {} } });
  assert.deepEqual(union(a, b), { ...a, 'f:w': {} });
  assert.deepEqual(union({ 'f:a': {} }, { 'f:a': { 'f:b': {} } }), { 'f:a': { '.': {}, 'f:b': {} } });
  assert.deepEqual(paths({ 'f:spec': { 'f:c': { 'k:{"name":"x"}': { '.': {}, 'f:image': {} } } } }), [
    '.spec.c[name="x"]',
    '.spec.c[name="x"].image',
  ]);
});

test('apply creates, owns what it names, and takes away what it no longer names', async () => {
  const { client } = shared;
  const ns = await fresh();
  const apply = (data: object, manager = 'one', force = false): Promise<ConfigMap> =>
    client.patch(configMaps, ns, 'a', { metadata: { name: 'a' }, data }, 'apply', {
      fieldManager: manager,
      force,
    });
  const made = await apply({ x: '1', y: '1' });
  assert.deepEqual(fieldsOf(made, 'one'), ['.data.x', '.data.y']);
  const again = await apply({ x: '1', y: '1' });
  assert.equal(again.metadata.resourceVersion, made.metadata.resourceVersion);
  await apply({ z: '1' }, 'two');
  const less = await apply({ x: '1' });
  assert.deepEqual(less.data, { x: '1', z: '1' });
  // What two own stays when one lets go.
  await apply({ x: '1', z: '1' }, 'two');
  assert.deepEqual((await apply({})).data, { x: '1', z: '1' });
  assert.deepEqual((await apply({}, 'two')).data, {});
});

test('a field of another manager is a conflict, unless one insists', async () => {
  const { client } = shared;
  const ns = await fresh();
  const apply = (value: string, manager: string, force = false): Promise<ConfigMap> =>
    client.patch(configMaps, ns, 'a', { metadata: { name: 'a' }, data: { x: value } }, 'apply', {
      fieldManager: manager,
      force,
    });
  await apply('1', 'one');
  await assert.rejects(apply('2', 'two'), (error: KubeError) => {
    assert.ok(isConflict(error));
    assert.equal(error.message, 'Apply failed with 1 conflict: conflict with "one": .data.x');
    assert.deepEqual(error.details?.causes, [
      { reason: 'FieldManagerConflict', message: 'conflict with "one"', field: '.data.x' },
    ]);
    return true;
  });
  // The same value is no conflict: then both own it.
  assert.deepEqual(
    managers(await apply('1', 'two'))
      .map(({ manager }) => manager)
      .sort(),
    ['one', 'two'],
  );
  const forced = await apply('2', 'two', true);
  assert.deepEqual([forced.data?.['x'], managers(forced).map(({ manager }) => manager)], ['2', ['two']]);
});

test('an apply may write the version of a core kind as istiod does', async () => {
  const { client } = shared;
  const ns = await fresh();
  const version = (apiVersion: string): Promise<ConfigMap> =>
    client.patch(configMaps, ns, 'slash', { apiVersion, kind: 'ConfigMap', data: { x: '1' } }, 'apply', {
      fieldManager: 'one',
    });
  const made = await version('/v1');
  assert.equal(made.apiVersion, 'v1');
  assert.deepEqual(
    managers(made).map((entry) => entry.apiVersion),
    ['v1'],
  );
  await assert.rejects(version('v2'), /API version in the data \(v2\) does not match .*\(v1\)/);
});

test('a plain write takes ownership, and an apply then sees a conflict', async () => {
  const { client } = shared;
  const ns = await fresh();
  const body = {
    metadata: { name: 'd' },
    spec: {
      replicas: 2,
      selector: { matchLabels: { app: 'd' } },
      template: {
        metadata: { labels: { app: 'd' } },
        spec: { containers: [{ name: 'c', image: 'x:1', ports: [{ containerPort: 80 }] }] },
      },
    },
  };
  const apply = (image: string, more: object = {}): Promise<Deployment> => {
    const copy = structuredClone(body);
    Object.assign(copy.spec, more);
    (copy.spec.template.spec.containers[0] as { image: string }).image = image;
    return client.patch(deployments, ns, 'd', copy, 'apply', { fieldManager: 'me' });
  };
  const made = await apply('x:1');
  assert.deepEqual(fieldsOf(made, 'me').slice(0, 3), [
    '.spec.replicas',
    '.spec.selector',
    '.spec.template.metadata.labels.app',
  ]);
  await client.patch(
    deployments,
    ns,
    'd',
    { spec: { template: { spec: { containers: [{ name: 'c', image: 'x:2' }] } } } },
    'strategic',
    { fieldManager: 'other' },
  );
  await assert.rejects(
    apply('x:3'),
    /conflict with "other" using apps\/v1 at .*: .spec.template.spec.containers\[name="c"\].image/,
  );
  // A container that another one adds stays.
  await client.patch(
    deployments,
    ns,
    'd',
    { spec: { template: { spec: { containers: [{ name: 'side', image: 'y' }] } } } },
    'strategic',
    { fieldManager: 'injector' },
  );
  const merged = await apply('x:2');
  assert.deepEqual(merged.spec.template.spec.containers.map(({ name }) => name).sort(), ['c', 'side']);
});

test('lists merge by key: entries that are no longer named go', async () => {
  const { client } = shared;
  const ns = await fresh();
  const apply = (ports: object[]) =>
    client.patch(services, ns, 's', { metadata: { name: 's' }, spec: { ports } }, 'apply', {
      fieldManager: 'me',
    });
  await apply([
    { name: 'a', port: 80 },
    { name: 'b', port: 81 },
  ]);
  const made = await apply([
    { name: 'b', port: 81 },
    { name: 'c', port: 82 },
  ]);
  assert.deepEqual(
    made.spec.ports?.map(({ port }) => port),
    [81, 82],
  );
  await apply([
    { name: 'c', port: 82 },
    { name: 'b', port: 81 },
  ]);
  const ordered = await apply([
    { name: 'c', port: 82 },
    { name: 'b', port: 81 },
  ]);
  assert.deepEqual(
    ordered.spec.ports?.map(({ port }) => port),
    [82, 81],
  );
});

test('the status has managers of its own', async () => {
  const { client } = shared;
  const ns = await fresh();
  await client.create(services, ns, { metadata: { name: 's' }, spec: { ports: [{ port: 80 }] } });
  const condition = (status: string) => ({
    type: 'istio.io/WaypointBound',
    status,
    reason: 'x',
    message: '',
    lastTransitionTime: '2026-01-01T00:00:00Z',
  });
  const apply = (conditions: object[]) =>
    client.patch(services, ns, 's', { metadata: { name: 's' }, status: { conditions } }, 'apply', {
      subresource: 'status',
      fieldManager: 'istio-ambient-service',
      force: true,
    });
  const made = await apply([condition('True')]);
  assert.deepEqual(
    made.status?.conditions?.map(({ type }) => type),
    ['istio.io/WaypointBound'],
  );
  assert.equal(
    managers(made).find(({ manager }) => manager === 'istio-ambient-service')?.subresource,
    'status',
  );
  const gone = await apply([]);
  assert.equal(gone.status?.conditions, undefined);
  assert.equal(gone.spec.ports?.length, 1);
});

test('an apply without a manager, with owners or for another name is refused', async () => {
  const { client } = shared;
  const ns = await fresh();
  const apply = (body: object, manager?: string) =>
    client.patch(configMaps, ns, 'a', body, 'apply', manager === undefined ? {} : { fieldManager: manager });
  await assert.rejects(apply({ metadata: { name: 'a' } }), /fieldManager: Required value/);
  await assert.rejects(apply({ metadata: { name: 'b' } }, 'me'), /does not match the name on the URL/);
  await assert.rejects(
    apply({ metadata: { name: 'a', managedFields: [{ manager: 'x' }] } }, 'me'),
    /managedFields must be nil/,
  );
  await assert.rejects(
    apply({ metadata: { name: 'a' }, dat: {} }, 'me')
      .then(() => shared.raw('GET', `/api/v1/namespaces/${ns}/configmaps/b`))
      .then(({ code }) => assert.equal(code, 200)),
    /404/,
  );
});

test('owners are counted also for plain writes, and not without end', async () => {
  const { client } = shared;
  const ns = await fresh();
  await client.create(configMaps, ns, { metadata: { name: 'a' }, data: { x: '0' } }, { fieldManager: 'm0' });
  for (let i = 1; i < 20; i++)
    await client.patch(configMaps, ns, 'a', { data: { [`k${i}`]: '1' } }, 'merge', { fieldManager: `m${i}` });
  const last = await client.get(configMaps, ns, 'a');
  const names = managers(last).map(({ manager }) => manager);
  assert.equal(names.length, 10);
  assert.ok(names.includes('ancient-changes') && names.includes('m19'));
  const reset = await client.patch(configMaps, ns, 'a', { metadata: { managedFields: [{}] } }, 'merge');
  assert.deepEqual(managers(reset), []);
});
