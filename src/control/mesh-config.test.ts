import assert from 'node:assert/strict';
import { test } from 'node:test';
import { defaultSettings } from '#/translate/index.ts';
import { liveChange, parseMeshConfig, withMeshConfig } from './mesh-config.ts';

const map = (mesh: string) => ({ metadata: { name: 'istio' }, data: { mesh } });
const free = { trustDomain: false, rootNamespace: false };

test('the mesh sets trust domain, root namespace and visibility', () => {
  const mesh = parseMeshConfig(
    map(`
trustDomain: example.org
rootNamespace: mesh-root
accessLogFile: /dev/stdout
serviceEntryVisibility:
  - visibility: NAMESPACE
    namespaceSelector: { matchLabels: { tenant: a } }
  - visibility: NONE
`),
  );
  const settings = withMeshConfig(defaultSettings, mesh, free);
  assert.equal(settings.trustDomain, 'example.org');
  assert.equal(settings.rootNamespace, 'mesh-root');
  assert.deepEqual(settings.serviceEntryVisibility, [
    { visibility: 'NAMESPACE', namespaceSelector: { matchLabels: { tenant: 'a' }, matchExpressions: [] } },
    { visibility: 'NONE' },
  ]);
  const own = withMeshConfig(defaultSettings, mesh, { trustDomain: true, rootNamespace: true });
  assert.equal(own.trustDomain, 'cluster.local');
  assert.equal(own.rootNamespace, 'istio-system');
});

test('the mesh says which services are for all clusters', () => {
  const mesh = parseMeshConfig(
    map(`
serviceScopeConfigs:
  - servicesSelector: { matchExpressions: [{ key: istio.io/global, operator: Exists }] }
    scope: GLOBAL
  - namespaceSelector: { matchLabels: { share: all } }
`),
  );
  assert.deepEqual(withMeshConfig(defaultSettings, mesh, free).serviceScopes, [
    {
      scope: 'GLOBAL',
      servicesSelector: {
        matchLabels: {},
        matchExpressions: [{ key: 'istio.io/global', operator: 'Exists', values: [] }],
      },
    },
    { scope: 'LOCAL', namespaceSelector: { matchLabels: { share: 'all' }, matchExpressions: [] } },
  ]);
});

test('what waypoints are told of the mesh is passed on as it stands, and goes when it is gone', () => {
  const mesh = parseMeshConfig(
    map('accessLogFile: /dev/stdout\nextensionProviders: [{ name: a }]\nother: 1'),
  );
  const settings = withMeshConfig(defaultSettings, mesh, free);
  assert.deepEqual(settings.meshConfig, {
    accessLogFile: '/dev/stdout',
    extensionProviders: [{ name: 'a' }],
  });
  assert.equal(withMeshConfig(settings, parseMeshConfig(map('other: 1')), free).meshConfig, undefined);
});

test('nothing set is nothing changed', () => {
  assert.deepEqual(withMeshConfig(defaultSettings, parseMeshConfig(undefined), free), defaultSettings);
  assert.deepEqual(withMeshConfig(defaultSettings, parseMeshConfig(map('[]')), free), defaultSettings);
});

test('what cannot be read is refused by name', () => {
  assert.throws(
    () => parseMeshConfig(map('serviceEntryVisibility: [{ visibility: SOME }]')),
    /\[0\].*"SOME"/,
  );
  assert.throws(() => parseMeshConfig(map('serviceScopeConfigs: [{ scope: WIDE }]')), /\[0\].*"WIDE"/);
  assert.throws(() => parseMeshConfig(map('a: [')));
});

test('identities and roots do not change under a running mesh', () => {
  const next = { ...defaultSettings, trustDomain: 'x', serviceEntryVisibility: [] };
  const change = liveChange(defaultSettings, next);
  assert.deepEqual(change.restart, ['trustDomain']);
  assert.equal(change.settings.trustDomain, 'cluster.local');
  assert.deepEqual(change.settings.serviceEntryVisibility, []);
});
