import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { decodeAddress, workloadTypeUrl } from '#/wire/index.ts';
import { paths, pod, service, setUp } from './fake-world.ts';

/** Decoded in the envelope of an Address. */
function uidOf(bytes: Uint8Array = new Uint8Array()): string {
  const record = decodeAddress(new BinaryWriter().tag(1, WireType.LengthDelimited).bytes(bytes).finish());
  return record.kind === 'workload' ? record.uid : '';
}

test('whoever asks for workloads gets them bare, and no services', async (t) => {
  const { api, plain } = await setUp(t);
  const stream = plain().stream();
  stream.subscribe(workloadTypeUrl);
  const first = await stream.next(workloadTypeUrl);
  const names = first.resources.map(({ name }) => name).sort();
  assert.deepEqual(names, [
    'Kubernetes//Pod/istio-system/ztunnel-1',
    'Kubernetes//Pod/shop/far',
    'Kubernetes//Pod/shop/web',
  ]);
  for (const { name, resource } of first.resources) {
    assert.equal(resource?.typeUrl, workloadTypeUrl);
    assert.equal(uidOf(resource?.value), name);
  }
  // A change of services alone is nothing here: the next that comes is the pod's.
  api.put(paths.services, service('shop', 'new'));
  api.delete(paths.services, 'shop', 'new');
  api.put(paths.pods, pod('shop', 'late', { node: 'n3' }));
  const second = await stream.next(workloadTypeUrl);
  assert.deepEqual(
    [second.resources.map(({ name }) => name), second.removedResources],
    [['Kubernetes//Pod/shop/late'], []],
  );
  api.delete(paths.pods, 'shop', 'late');
  assert.deepEqual((await stream.next(workloadTypeUrl)).removedResources, ['Kubernetes//Pod/shop/late']);
});

test('a workload can be asked for by its address', async (t) => {
  const { plain } = await setUp(t);
  const stream = plain().stream();
  stream.send({ typeUrl: workloadTypeUrl, resourceNamesSubscribe: ['*'], resourceNamesUnsubscribe: ['*'] });
  assert.deepEqual((await stream.next(workloadTypeUrl)).resources, []);
  stream.send({
    typeUrl: workloadTypeUrl,
    resourceNamesSubscribe: ['Kubernetes//Pod/shop/web', '/10.99.99.99'],
  });
  const answer = await stream.next(workloadTypeUrl);
  assert.deepEqual(
    answer.resources.map(({ name }) => name),
    ['Kubernetes//Pod/shop/web'],
  );
  assert.deepEqual(answer.removedResources, ['/10.99.99.99']);
});
