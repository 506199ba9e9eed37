// Strategic merge patch: a merge patch that knows which lists merge by key, with directives for what plain merging
// cannot say ($patch, $retainKeys, $deleteFromPrimitiveList, $setElementOrder). Only for built-in kinds.
import { badRequest } from '../api-error.ts';
import { clone, equal, isObject, setField, type Json, type JsonObject } from '../json.ts';
import type { Schema } from '../schema/schema.ts';

const directive = '$patch';
const retainKeys = '$retainKeys';
const deletePrefix = '$deleteFromPrimitiveList/';
const orderPrefix = '$setElementOrder/';

/** Gives a new object; `target` is not changed. Throws 400 for a patch that cannot be understood. */
export function applyStrategicPatch(
  target: Json | undefined,
  patch: JsonObject,
  schema: Schema | undefined,
): JsonObject {
  const action = patch[directive];
  if (action === 'replace') {
    const { [directive]: _action, ...rest } = patch;
    return stripDirectives(rest) as JsonObject;
  }
  if (action === 'delete') return {};
  if (action !== undefined && action !== 'merge')
    throw badRequest(`strategic merge patch: there is no $patch "${JSON.stringify(action)}"`);
  const out: JsonObject = isObject(target) ? { ...target } : {};
  const retain = patch[retainKeys];
  if (retain !== undefined) {
    if (!Array.isArray(retain)) throw badRequest('strategic merge patch: $retainKeys is not a list');
    const keep = new Set(retain.map(String));
    for (const key of Object.keys(patch))
      if (!key.startsWith('$') && patch[key] !== null && !keep.has(key))
        throw badRequest(`strategic merge patch: ${key} is in the patch but not in $retainKeys`);
    for (const key of Object.keys(out)) if (!keep.has(key)) delete out[key];
  }
  // The directives for lists of scalars first, then the fields.
  for (const key of Object.keys(patch)) {
    if (!key.startsWith(deletePrefix)) continue;
    const field = key.slice(deletePrefix.length);
    const gone = patch[key];
    const list = out[field];
    if (!Array.isArray(gone)) throw badRequest(`strategic merge patch: ${key} is not a list`);
    if (Array.isArray(list)) out[field] = list.filter((entry) => !gone.some((value) => equal(value, entry)));
  }
  for (const key of Object.keys(patch)) {
    if (
      key === directive ||
      key === retainKeys ||
      key.startsWith(deletePrefix) ||
      key.startsWith(orderPrefix)
    )
      continue;
    const value = patch[key] as Json;
    const field = fieldSchema(schema, key);
    const present = Object.hasOwn(out, key) ? out[key] : undefined;
    if (value === null) {
      delete out[key];
      continue;
    }
    if (isObject(value)) {
      if (value[directive] === 'delete') {
        delete out[key];
        continue;
      }
      const replaced = field?.['x-kubernetes-patch-strategy'] === 'replace';
      setField(out, key, replaced ? stripDirectives(value) : applyStrategicPatch(present, value, field));
    } else if (Array.isArray(value)) {
      const order = patch[orderPrefix + key];
      setField(
        out,
        key,
        mergeList(
          Array.isArray(present) ? present : [],
          value,
          field,
          Array.isArray(order) ? order : undefined,
          key,
        ),
      );
    } else setField(out, key, value);
  }
  // An order without a change of the list itself.
  for (const key of Object.keys(patch)) {
    if (!key.startsWith(orderPrefix)) continue;
    const name = key.slice(orderPrefix.length);
    const list = out[name];
    const order = patch[key];
    if (patch[name] === undefined && Array.isArray(list) && Array.isArray(order))
      out[name] = reorder(list, order, mergeKeyOf(fieldSchema(schema, name)), list);
  }
  return out;
}

function fieldSchema(schema: Schema | undefined, key: string): Schema | undefined {
  if (schema?.properties !== undefined && Object.hasOwn(schema.properties, key))
    return schema.properties[key];
  return typeof schema?.additionalProperties === 'object' ? schema.additionalProperties : undefined;
}

const merges = (schema: Schema | undefined): boolean =>
  schema?.['x-kubernetes-patch-strategy']?.split(',').includes('merge') === true;

const mergeKeyOf = (schema: Schema | undefined): string | undefined =>
  schema?.['x-kubernetes-patch-merge-key'];

function mergeList(
  present: readonly Json[],
  patch: readonly Json[],
  schema: Schema | undefined,
  order: readonly Json[] | undefined,
  field: string,
): Json[] {
  const replaced = patch.find(
    (entry) => isObject(entry) && entry[directive] === 'replace' && Object.keys(entry).length === 1,
  );
  if (!merges(schema) || replaced !== undefined)
    return patch.filter((entry) => entry !== replaced).map((entry) => stripDirectives(entry));
  const key = mergeKeyOf(schema);
  if (key === undefined) {
    // A list of scalars: the union, in the order of what was there.
    const out = [...present];
    for (const entry of patch) if (!out.some((other) => equal(other, entry))) out.push(clone(entry));
    return order === undefined ? out : reorder(out, order, undefined, present);
  }
  let out: Json[] = [...present];
  for (const entry of patch) {
    if (!isObject(entry)) throw badRequest(`strategic merge patch: an entry of ${field} is not an object`);
    const id = entry[key];
    if (id === undefined)
      throw badRequest(`strategic merge patch: an entry of ${field} does not contain its merge key: ${key}`);
    const at = out.findIndex((other) => isObject(other) && equal(other[key], id));
    if (entry[directive] === 'delete') {
      out = out.filter((other) => !(isObject(other) && equal(other[key], id)));
    } else if (at >= 0) {
      // An element whose fields exclude each other keeps only those that are named.
      out[at] = applyStrategicPatch(out[at], entry, schema?.items);
    } else out.push(applyStrategicPatch(undefined, entry, schema?.items));
  }
  return order === undefined ? out : reorder(out, order, key, present);
}

/** Entries in the order that the client wants; those it does not know stay near where they were. */
function reorder(
  list: readonly Json[],
  order: readonly Json[],
  key: string | undefined,
  live: readonly Json[],
): Json[] {
  const idOf = (entry: Json): string =>
    JSON.stringify(key === undefined ? entry : isObject(entry) ? (entry[key] ?? null) : null);
  const rank = new Map(order.map((entry, i) => [idOf(entry), i]));
  const known = list.filter((entry) => rank.has(idOf(entry)));
  const foreign = list.filter((entry) => !rank.has(idOf(entry)));
  known.sort((a, b) => (rank.get(idOf(a)) as number) - (rank.get(idOf(b)) as number));
  const place = new Map(live.map((entry, i) => [idOf(entry), i]));
  const out: Json[] = [];
  let next = 0;
  for (const entry of foreign) {
    const at = place.get(idOf(entry)) ?? Infinity;
    while (next < known.length && (place.get(idOf(known[next] as Json)) ?? Infinity) < at)
      out.push(known[next++] as Json);
    out.push(entry);
  }
  while (next < known.length) out.push(known[next++] as Json);
  return out;
}

/** What is put in as new must not carry directives into the object. */
function stripDirectives(value: Json): Json {
  if (Array.isArray(value))
    return value
      .filter((entry) => !(isObject(entry) && entry[directive] === 'delete'))
      .map((entry) => stripDirectives(entry));
  if (!isObject(value)) return value;
  const out: JsonObject = {};
  for (const key of Object.keys(value)) {
    if (
      key === directive ||
      key === retainKeys ||
      key.startsWith(deletePrefix) ||
      key.startsWith(orderPrefix)
    )
      continue;
    if (value[key] === null) continue;
    setField(out, key, stripDirectives(value[key] as Json));
  }
  return out;
}
