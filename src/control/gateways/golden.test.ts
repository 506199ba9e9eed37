// One folder per case under golden/: its name is a sentence, input.yaml holds a Gateway and the ConfigMaps that change
// it, in order; objects.yaml what it must consist of. UPDATE_GOLDEN=1 writes anew; look at the difference.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseAllDocuments, stringify } from 'yaml';
import type { ConfigMap } from '#/kube/index.ts';
import type { Gateway } from './gateway-object.ts';
import { waypointObjects } from './waypoint-objects.ts';

const folder = join(import.meta.dirname, 'golden');

for (const name of readdirSync(folder))
  test(name.replaceAll('-', ' '), () => {
    const documents = parseAllDocuments(readFileSync(join(folder, name, 'input.yaml'), 'utf8'));
    const [gateway, ...maps] = documents.map((document) => document.toJS() as unknown) as [
      Gateway,
      ...ConfigMap[],
    ];
    const objects = waypointObjects(
      gateway,
      {
        image: 'aura/aura',
        revision: 'default',
        systemNamespace: 'istio-system',
        clusterId: 'Kubernetes',
        clusterDomain: 'cluster.local',
        trustDomain: 'cluster.local',
        network: name.startsWith('labels') ? 'net-1' : '',
        xdsAddress: 'https://istiod.istio-system.svc:15012',
        caAddress: 'https://istiod.istio-system.svc:15012',
        graceSeconds: 30,
      },
      maps.map(({ metadata, data = {} }) => ({ title: metadata.name, data })),
    );
    const text = Object.values(objects)
      .map((object) => stringify(object, { aliasDuplicateObjects: false }))
      .join('---\n');
    const file = join(folder, name, 'objects.yaml');
    if (process.env['UPDATE_GOLDEN'] === '1') writeFileSync(file, text);
    assert.equal(text, readFileSync(file, 'utf8'));
  });
