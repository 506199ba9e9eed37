import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Pod } from '#/kube/index.ts';
import type { EnvContext } from './pod-env.ts';
import { accountDir, planVolume, withAccountVolume } from './volume-plan.ts';

const pod: Pod = {
  metadata: { name: 'p', namespace: 'ns', labels: { a: 'b' } },
  spec: { containers: [{ name: 'c' }] },
};
const context: EnvContext = {
  pod,
  podIps: [],
  hostIps: [],
  capacity: { cpu: 1, memory: 1 },
  configMap: (name) => (name === 'cm' ? { metadata: { name }, data: { x: '1', y: '2' } } : undefined),
  secret: (name) => (name === 's' ? { metadata: { name }, data: { z: 'MQ==' } } : undefined),
};
const plan = (volume: object) => planVolume(context, { name: 'v', ...volume });

const contents = (volume: object): Record<string, string> => {
  const planned = plan(volume);
  assert.equal(planned.kind, 'files');
  return Object.fromEntries(
    (planned.kind === 'files' ? planned.files : []).map(({ path, content }) => [
      path,
      'token' in content ? JSON.stringify(content.token) : Buffer.from(content).toString(),
    ]),
  );
};

test('ConfigMaps and Secrets become files', () => {
  assert.deepEqual(contents({ configMap: { name: 'cm' } }), { x: '1', y: '2' });
  assert.deepEqual(contents({ configMap: { name: 'cm', items: [{ key: 'x', path: 'd/e' }] } }), {
    'd/e': '1',
  });
  assert.deepEqual(contents({ secret: { secretName: 's' } }), { z: '1' });
  assert.deepEqual(contents({ configMap: { name: 'no', optional: true } }), {});
});

test('a projected volume puts its sources together', () => {
  assert.deepEqual(
    contents({
      projected: {
        sources: [
          { serviceAccountToken: { path: 't', audience: 'istio-ca', expirationSeconds: 43200 } },
          { configMap: { name: 'cm', items: [{ key: 'x', path: 'x' }] } },
          { downwardAPI: { items: [{ path: 'labels', fieldRef: { fieldPath: 'metadata.labels' } }] } },
        ],
      },
    }),
    { t: '{"audience":"istio-ca","expirationSeconds":43200}', x: '1', labels: 'a="b"' },
  );
});

const bad: readonly (readonly [volume: object, complaint: RegExp])[] = [
  [{ configMap: { name: 'no' } }, /volume "v": configmap "no" not found/],
  [{ configMap: { name: 'cm', items: [{ key: 'q', path: 'q' }] } }, /has no key "q"/],
  [{ configMap: { name: 'cm', items: [{ key: 'x', path: '../x' }] } }, /must not contain "\.\."/],
  [{ persistentVolumeClaim: { claimName: 'c' } }, /does not have persistentVolumeClaim: use emptyDir/],
  [{ projected: { sources: [{ clusterTrustBundle: {} }] } }, /does not know this projected source/],
];
for (const [volume, complaint] of bad)
  test(`refused: ${JSON.stringify(volume)}`, () => assert.throws(() => plan(volume), complaint));

test('every container gets the account’s files, unless it has its own or wants none', () => {
  const mounted = withAccountVolume(pod, true);
  assert.equal(mounted.spec.containers[0]?.volumeMounts?.[0]?.mountPath, accountDir);
  assert.equal(mounted.spec.volumes?.length, 1);
  assert.deepEqual(withAccountVolume(mounted, true), mounted);
  assert.equal(withAccountVolume(pod, false), pod);
  const never: Pod = { ...pod, spec: { ...pod.spec, automountServiceAccountToken: false } };
  assert.equal(withAccountVolume(never, true), never);
});
