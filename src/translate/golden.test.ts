// One folder per case under golden/: its name is a sentence, input.yaml holds all of the input, the JSON files what
// must come out. UPDATE_GOLDEN=1 writes them anew; look at the difference before you commit it.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseAllDocuments } from 'yaml';
import { formatCidr, type Cidr } from '#/kit/index.ts';
import { decodeAddress, decodePolicy, encodeAddress, encodePolicy, resourceName } from '#/wire/index.ts';
import { kinds, type Kind } from './kinds.ts';
import { MeshIndex, type Origin } from './mesh-index.ts';
import { NetworkMerge } from './network-merge.ts';
import { compareText, type SourceObject } from './object.ts';
import { defaultSettings, type MeshSettings } from './settings.ts';
import type { MeshRecord, Problem, WantedCondition } from './translation.ts';

const folder = join(import.meta.dirname, 'golden');
const update = process.env['UPDATE_GOLDEN'] === '1';

interface Output {
  readonly records: Map<string, MeshRecord>;
  readonly status: Map<
    string,
    { readonly conditions?: readonly WantedCondition[]; readonly problems?: readonly Problem[] }
  >;
}

/** An object, and the cluster that it is in: empty for our own. */
interface Placed {
  readonly cluster: string;
  readonly object: SourceObject;
}

function run(objects: readonly Placed[], settings: MeshSettings): Output {
  const records = new Map<string, MeshRecord>();
  const status: Output['status'] = new Map();
  const put = (origin: Origin, part: 'conditions' | 'problems', list: readonly unknown[]) => {
    const key = `${origin.kind} ${origin.key}`;
    const { [part]: _old, ...rest } = status.get(key) ?? {};
    const next = list.length === 0 ? rest : { ...rest, [part]: list };
    if (Object.keys(next).length === 0) status.delete(key);
    else status.set(key, next);
  };
  const merge = new NetworkMerge({
    localCluster: settings.clusterId,
    localNetwork: () => index.network,
    trustDomain: settings.trustDomain,
    output: {
      upsert: (record, name) => {
        assert.equal(name, resourceName(record));
        records.set(`${'kind' in record ? 'address' : 'policy'}:${name}`, record);
      },
      remove: (table, name) => records.delete(`${table}:${name}`),
    },
  });
  const index: MeshIndex = new MeshIndex(settings, {
    ...merge.local,
    conditions: (origin, conditions) => put(origin, 'conditions', conditions),
    problems: (origin, problems) => put(origin, 'problems', problems),
  });
  const remote = new Map<string, MeshIndex>();
  const indexOf = (cluster: string): MeshIndex => {
    if (cluster === '') return index;
    let found = remote.get(cluster);
    if (found === undefined) {
      const { sink, activate } = merge.join(cluster);
      found = new MeshIndex({ ...settings, clusterId: cluster, remoteCluster: true }, sink);
      activate();
      remote.set(cluster, found);
    }
    return found;
  };
  for (const { cluster, object } of objects) {
    assert.ok(kinds.includes(object.kind as Kind), `unknown kind ${object.kind} in a golden case`);
    indexOf(cluster).set(object.kind as Kind, object);
    // One at a time, so that every case also tries what a later object does to an earlier one.
    indexOf(cluster).work();
    merge.flush();
  }
  return { records, status };
}

function isRange(value: unknown): value is Cidr {
  return typeof value === 'object' && value !== null && (value as Cidr).base instanceof Uint8Array;
}

/** Ranges as text; of a policy's match only the fields that restrict. */
function readable(_key: string, value: unknown): unknown {
  if (isRange(value)) return formatCidr(value);
  if (typeof value === 'object' && value !== null && 'notPrincipals' in value)
    return Object.fromEntries(Object.entries(value).filter(([, list]) => (list as unknown[]).length > 0));
  return value;
}

function stringify(value: unknown): string {
  return `${JSON.stringify(value, readable, 2)}\n`;
}

function files({ records, status }: Output): Readonly<Record<string, string>> {
  const sorted = [...records].sort(([a], [b]) => compareText(a, b)).map(([, record]) => record);
  const of = (kind: string) =>
    sorted.filter((record) => ('kind' in record ? record.kind : 'policy') === kind);
  return {
    'workloads.json': stringify(of('workload')),
    'services.json': stringify(of('service')),
    'policies.json': stringify(of('policy')),
    'status.json': stringify(Object.fromEntries([...status].sort(([a], [b]) => compareText(a, b)))),
  };
}

for (const name of readdirSync(folder).sort()) {
  test(name.replaceAll('-', ' '), () => {
    const documents = parseAllDocuments(readFileSync(join(folder, name, 'input.yaml'), 'utf8'));
    const objects: Placed[] = [];
    let cluster = '';
    let settings = defaultSettings;
    for (const document of documents) {
      const value = document.toJS() as SourceObject | null;
      if (value === null) continue;
      if (value.kind === 'MeshSettings') settings = { ...settings, ...(value.spec as Partial<MeshSettings>) };
      // What follows is in another cluster.
      else if (value.kind === 'RemoteCluster') cluster = value.metadata.name ?? '';
      else objects.push({ cluster, object: value });
    }
    const output = run(objects, settings);
    const actual = files(output);
    for (const [file, text] of Object.entries(actual)) {
      const path = join(folder, name, file);
      if (update) writeFileSync(path, text);
      assert.equal(text, readFileSync(path, 'utf8'), `${name}/${file} has drifted`);
    }
    // The order of arrival must not matter.
    assert.deepEqual(files(run(objects.toReversed(), settings)), actual);
    // Whatever comes out can stand on the wire, and comes back as it was.
    for (const record of output.records.values()) {
      if ('kind' in record) assert.deepEqual(decodeAddress(encodeAddress(record)), record);
      else assert.deepEqual(decodePolicy(encodePolicy(record)), record);
    }
  });
}
