// The samples that the applications are for: readable, complete, and of images that the lab knows.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Deployment, KubeService } from '#/kube/index.ts';
import { readManifests } from '../apply-manifests.ts';
import { containerCommand } from '../kubelet/images.ts';

const samples = join(import.meta.dirname, '../../../samples');

for (const name of ['bookinfo', 'echo'])
  test(`${name}.yaml`, () => {
    const objects = readManifests([join(samples, `${name}.yaml`)]).map(({ manifest }) => manifest);
    assert.equal(objects[0]?.kind, 'Namespace');
    const accounts = objects
      .filter(({ kind }) => kind === 'ServiceAccount')
      .map(({ metadata }) => metadata.name);
    const pods = objects
      .filter(({ kind }) => kind === 'Deployment')
      .map((object) => (object as unknown as Deployment).spec.template);
    for (const { metadata, spec } of pods) {
      assert.ok(accounts.includes(spec.serviceAccountName ?? ''));
      assert.ok(metadata?.labels?.['app'] !== undefined);
      for (const container of spec.containers) assert.ok(containerCommand(container, 'aura') !== undefined);
    }
    for (const object of objects.filter(({ kind }) => kind === 'Service')) {
      const { selector = {}, ports = [] } = (object as unknown as KubeService).spec;
      const found = pods.filter(({ metadata }) =>
        Object.entries(selector).every(([key, value]) => metadata?.labels?.[key] === value),
      );
      assert.ok(found.length > 0, `${object.metadata.name} selects nothing`);
      const numbers = found[0]?.spec.containers
        .flatMap((one) => one.ports ?? [])
        .map((one) => one.containerPort);
      for (const { port } of ports) assert.ok(numbers?.includes(port), `${object.metadata.name}:${port}`);
    }
    assert.ok(objects.every(({ kind, metadata }) => kind === 'Namespace' || metadata.namespace === name));
  });
