// The cases of the Gateway API's conformance suite that a mesh can have, rebuilt: what each feature means, with requests
// of real clients through a waypoint, and what the GatewayClass claims of them.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { gatewayClasses } from '#/kube/index.ts';
import { eventually } from '../lab/test-lab.ts';
import { ConformanceLab } from './conformance/conformance-lab.ts';
import { features } from './conformance/features.ts';

describe('conformance with the Gateway API', () => {
  const lab = new ConformanceLab();
  before(() => lab.start(features.map(({ manifest }) => manifest).join('')));
  after(() => lab[Symbol.asyncDispose]());

  for (const { name, tests } of features) describe(name, () => tests(lab));

  test('the GatewayClass claims the features that are shown here, and no others', async () => {
    const claimed = await eventually('the class says what it supports', async () => {
      const { status } = await lab.lab.client.get(gatewayClasses, undefined, 'istio-waypoint');
      const list = (status as { supportedFeatures?: { name: string }[] } | undefined)?.supportedFeatures;
      return list?.map(({ name }) => name);
    });
    assert.deepEqual(claimed, features.map(({ name }) => name).toSorted());
  });
});
