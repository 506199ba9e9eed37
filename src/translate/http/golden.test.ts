// One folder per case under golden/, as in translate/golden.test.ts: input.yaml, what waypoints are told of it, and
// what the objects' status says. UPDATE_GOLDEN=1 writes them anew.
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseAllDocuments } from 'yaml';
import { formatCidr, type Cidr } from '#/kit/index.ts';
import { decodeWaypointResource, encodeWaypointResource } from '#/wire/index.ts';
import { kinds, type Kind } from '../kinds.ts';
import { MeshIndex, type Origin } from '../mesh-index.ts';
import { compareText, type SourceObject } from '../object.ts';
import { defaultSettings, type MeshSettings } from '../settings.ts';
import type { WaypointRecord } from './waypoint-record.ts';

const folder = join(import.meta.dirname, 'golden');
const update = process.env['UPDATE_GOLDEN'] === '1';

/** Kinds whose status is of no interest here: the cases of translate/golden have it. */
const elsewhere: readonly string[] = ['Service', 'ServiceEntry'];

function run(objects: readonly SourceObject[], settings: MeshSettings) {
  const records = new Map<string, WaypointRecord>();
  const status = new Map<string, Record<string, unknown>>();
  const put = (origin: Origin, part: string, list: readonly unknown[]) => {
    if (elsewhere.includes(origin.kind)) return;
    const key = `${origin.kind} ${origin.key}`;
    const { [part]: _old, ...rest } = status.get(key) ?? {};
    const next = list.length === 0 ? rest : { ...rest, [part]: list };
    if (Object.keys(next).length === 0) status.delete(key);
    else status.set(key, next);
  };
  const index = new MeshIndex(settings, {
    upsert: () => {},
    upsertWaypoint: (record, name) => records.set(name, record),
    remove: (table, name) => {
      if (table === 'waypoint') records.delete(name);
    },
    conditions: (origin, conditions) => put(origin, 'conditions', conditions),
    problems: (origin, problems) => put(origin, 'problems', problems),
    parents: (origin, parents) => put(origin, 'parents', parents),
  });
  for (const object of objects) {
    assert.ok(kinds.includes(object.kind as Kind), `unknown kind ${object.kind} in a golden case`);
    index.set(object.kind as Kind, object);
    index.work();
  }
  return { records, status };
}

const readable = (_key: string, value: unknown): unknown =>
  typeof value === 'object' && value !== null && (value as Cidr).base instanceof Uint8Array
    ? formatCidr(value as Cidr)
    : value;

const stringify = (value: unknown): string => `${JSON.stringify(value, readable, 2)}\n`;

const sorted = <T>(map: ReadonlyMap<string, T>): Record<string, T> =>
  Object.fromEntries([...map].sort(([a], [b]) => compareText(a, b)));

const files = ({ records, status }: ReturnType<typeof run>): Readonly<Record<string, string>> => ({
  'waypoints.json': stringify(sorted(records)),
  'status.json': stringify(sorted(status)),
});

for (const name of readdirSync(folder).sort()) {
  test(name.replaceAll('-', ' '), () => {
    const objects: SourceObject[] = [];
    let settings = defaultSettings;
    // What most cases begin with: a waypoint `shop/way`, services `web`, `api`, and a namespace `other` without any.
    const common = join(import.meta.dirname, 'golden-common.yaml');
    for (const file of [common, join(folder, name, 'input.yaml')]) {
      for (const document of parseAllDocuments(readFileSync(file, 'utf8'))) {
        const value = document.toJS() as SourceObject | null;
        if (value === null) continue;
        if (value.kind === 'MeshSettings')
          settings = { ...settings, ...(value.spec as Partial<MeshSettings>) };
        else objects.push(value);
      }
    }
    const output = run(objects, settings);
    const actual = files(output);
    for (const [file, text] of Object.entries(actual)) {
      const path = join(folder, name, file);
      if (update) writeFileSync(path, text);
      assert.ok(existsSync(path), `${name}/${file} is missing`);
      assert.equal(text, readFileSync(path, 'utf8'), `${name}/${file} has drifted`);
    }
    // The order of arrival must not matter.
    assert.deepEqual(files(run(objects.toReversed(), settings)), actual);
    for (const { resource } of output.records.values())
      assert.deepEqual(decodeWaypointResource(encodeWaypointResource(resource)), resource);
  });
}
