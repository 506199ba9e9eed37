// Objects and field sets by schema: which fields an object has, how two differ, how an applied configuration is
// laid over a live object, how fields are taken out. The rules are those of structured merge: structs and maps go
// by field, lists by key or as sets or as a whole, as the schema says.
import { equal, isObject, setField, type Json, type JsonObject } from '../json.ts';
import type { Schema } from '../schema/schema.ts';
import { at, elements, isEmpty, isMember, self, type FieldSet } from './field-set.ts';

const unknownField: Schema = { 'x-kubernetes-preserve-unknown-fields': true };

export function fieldSchema(schema: Schema, key: string): Schema {
  if (schema.properties !== undefined && Object.hasOwn(schema.properties, key))
    return schema.properties[key] as Schema;
  return typeof schema.additionalProperties === 'object' ? schema.additionalProperties : unknownField;
}

/** Whether a key is a field of a struct, as opposed to an entry of a map. */
const isField = (schema: Schema, key: string): boolean =>
  schema.properties !== undefined && Object.hasOwn(schema.properties, key);

const isAtomic = (value: Json, schema: Schema): boolean => {
  if (isObject(value)) return schema['x-kubernetes-map-type'] === 'atomic';
  if (!Array.isArray(value)) return true;
  const type = schema['x-kubernetes-list-type'];
  return type !== 'map' && type !== 'set';
};

/** The path element of a list's entry; undefined if it lacks its keys. */
function elementOf(entry: Json, schema: Schema): string | undefined {
  if (schema['x-kubernetes-list-type'] === 'set') return `v:${JSON.stringify(entry)}`;
  if (!isObject(entry)) return undefined;
  const keys: JsonObject = {};
  for (const key of [...(schema['x-kubernetes-list-map-keys'] ?? [])].sort()) {
    const value = entry[key] ?? schema.items?.properties?.[key]?.default;
    if (value !== undefined) keys[key] = value;
  }
  return Object.keys(keys).length === 0 ? undefined : `k:${JSON.stringify(keys)}`;
}

/** The entries by path element; undefined if two have the same one: then the list counts as a whole. */
export function byElement(list: readonly Json[], schema: Schema): Map<string, Json> | undefined {
  const out = new Map<string, Json>();
  for (const entry of list) {
    const element = elementOf(entry, schema);
    if (element === undefined || out.has(element)) return undefined;
    out.set(element, entry);
  }
  return out;
}

/** The fields that an object sets. */
export function fieldsOf(value: Json, schema: Schema): FieldSet {
  const out: FieldSet = {};
  if (isObject(value)) {
    if (isAtomic(value, schema)) return out;
    for (const key of Object.keys(value)) {
      const entry = value[key] as Json;
      const inner = fieldSchema(schema, key);
      const below = fieldsOf(entry, inner);
      const emptyMap = isObject(entry) && Object.keys(entry).length === 0;
      const leaf = isEmpty(below) && (!Array.isArray(entry) || isAtomic(entry, inner));
      // A struct's field that has fields of its own is not owned itself; a map's entry is.
      if (leaf || emptyMap) out[`f:${key}`] = {};
      else if (!isEmpty(below))
        out[`f:${key}`] =
          isField(schema, key) ||
          (schema.properties === undefined && schema.additionalProperties === undefined)
            ? below
            : { [self]: {}, ...below };
    }
    return out;
  }
  if (Array.isArray(value) && !isAtomic(value, schema)) {
    for (const [element, entry] of byElement(value, schema) ?? []) {
      const below = fieldsOf(entry, schema.items ?? unknownField);
      out[element] = isEmpty(below) ? {} : { [self]: {}, ...below };
    }
  }
  return out;
}

/** Like `fieldsOf`, with every container on the way: what appears or goes when a value appears or goes. */
function everything(value: Json, schema: Schema): FieldSet {
  const out: FieldSet = {};
  if (isAtomic(value, schema)) return out;
  if (isObject(value))
    for (const key of Object.keys(value))
      out[`f:${key}`] = whole(value[key] as Json, fieldSchema(schema, key));
  else if (Array.isArray(value))
    for (const [element, entry] of byElement(value, schema) ?? [])
      out[element] = whole(entry, schema.items ?? unknownField);
  return out;
}

function whole(value: Json, schema: Schema): FieldSet {
  const below = everything(value, schema);
  return isEmpty(below) ? {} : { [self]: {}, ...below };
}

export interface Comparison {
  readonly added: FieldSet;
  readonly modified: FieldSet;
  readonly removed: FieldSet;
}

export function compare(old: Json, now: Json, schema: Schema): Comparison {
  const out: Comparison = { added: {}, modified: {}, removed: {} };
  compareInto(old, now, schema, out);
  return out;
}

const put = (set: FieldSet, key: string, value: FieldSet): void => {
  if (!isEmpty(value)) set[key] = value;
};

function compareInto(old: Json, now: Json, schema: Schema, out: Comparison): void {
  const entries = (value: Json): Map<string, Json> | undefined => {
    if (isObject(value)) return new Map(Object.entries(value).map(([key, entry]) => [`f:${key}`, entry]));
    return Array.isArray(value) ? byElement(value, schema) : undefined;
  };
  const before = entries(old) ?? new Map<string, Json>();
  const after = entries(now) ?? new Map<string, Json>();
  const inner = (element: string): Schema =>
    element.startsWith('f:') ? fieldSchema(schema, element.slice(2)) : (schema.items ?? unknownField);
  for (const [element, value] of after) {
    const type = inner(element);
    if (!before.has(element)) {
      out.added[element] = whole(value, type);
      continue;
    }
    const was = before.get(element) as Json;
    if (value === was) continue;
    const sameForm = (isObject(value) && isObject(was)) || (Array.isArray(value) && Array.isArray(was));
    const byParts =
      sameForm &&
      !isAtomic(value, type) &&
      (!Array.isArray(value) ||
        (byElement(value, type) !== undefined && byElement(was as Json[], type) !== undefined));
    if (!byParts) {
      if (!equal(value, was)) out.modified[element] = {};
      continue;
    }
    const part: Comparison = { added: {}, modified: {}, removed: {} };
    compareInto(was, value, type, part);
    put(out.added, element, part.added);
    put(out.modified, element, part.modified);
    put(out.removed, element, part.removed);
  }
  for (const [element, was] of before)
    if (!after.has(element)) out.removed[element] = whole(was, inner(element));
}

/** `config` laid over `live`. Gives a new value where they differ. */
export function merge(live: Json | undefined, config: Json, schema: Schema): Json {
  if (isObject(config) && isObject(live) && !isAtomic(config, schema)) {
    const out: JsonObject = { ...live };
    for (const key of Object.keys(config))
      setField(
        out,
        key,
        merge(
          Object.hasOwn(live, key) ? live[key] : undefined,
          config[key] as Json,
          fieldSchema(schema, key),
        ),
      );
    return out;
  }
  if (Array.isArray(config) && Array.isArray(live) && !isAtomic(config, schema)) {
    const mine = byElement(live, schema);
    const theirs = byElement(config, schema);
    return mine === undefined || theirs === undefined ? config : mergeLists(mine, theirs, schema);
  }
  return config;
}

/** In the order of the configuration; what it does not name keeps its place among what it does. */
function mergeLists(
  live: ReadonlyMap<string, Json>,
  config: ReadonlyMap<string, Json>,
  schema: Schema,
): Json[] {
  const out: Json[] = [];
  const left = [...live.keys()];
  const done = new Set<string>();
  let next = 0;
  for (const [element, entry] of config) {
    // What stands in the live list before this entry, and is nobody's business here, comes first.
    if (live.has(element) && !done.has(element)) {
      while (next < left.length && left[next] !== element) {
        const other = left[next++] as string;
        if (!config.has(other)) out.push(live.get(other) as Json);
      }
      next++;
    }
    done.add(element);
    out.push(merge(live.get(element), entry, schema.items ?? unknownField));
  }
  for (; next < left.length; next++)
    if (!config.has(left[next] as string)) out.push(live.get(left[next] as string) as Json);
  // Entries that were passed over because the configuration has them in another order were emitted above.
  const emitted = new Set(out);
  for (const [element, entry] of live) if (!config.has(element) && !emitted.has(entry)) out.push(entry);
  return out;
}

/**
 * `value` without the fields in `gone`. A list's entry goes as a whole when it is in `gone` itself and nothing of it
 * is in `kept`; so does a container that `gone` has emptied.
 */
export function removeFields(value: Json, gone: FieldSet, kept: FieldSet | undefined, schema: Schema): Json {
  if (isObject(value)) {
    const out: JsonObject = { ...value };
    for (const element of elements(gone)) {
      const key = element.slice(2);
      if (!element.startsWith('f:') || !Object.hasOwn(out, key)) continue;
      const inner = at(gone, element) as FieldSet;
      const keep = at(kept, element);
      if (isLeaf(inner)) {
        if (keep === undefined) delete out[key];
        continue;
      }
      const rest = removeFields(out[key] as Json, inner, keep, fieldSchema(schema, key));
      if (keep === undefined && isHollow(rest)) delete out[key];
      else setField(out, key, rest);
    }
    return out;
  }
  if (!Array.isArray(value)) return value;
  const out: Json[] = [];
  for (const entry of value) {
    const element = elementOf(entry, schema);
    const inner = element === undefined ? undefined : at(gone, element);
    if (inner === undefined || element === undefined) {
      out.push(entry);
      continue;
    }
    const keep = at(kept, element);
    if (isMember(inner) && keep === undefined) continue;
    out.push(isLeaf(inner) ? entry : removeFields(entry, inner, keep, schema.items ?? unknownField));
  }
  return out;
}

const isLeaf = (set: FieldSet): boolean => elements(set).length === 0;
const isHollow = (value: Json): boolean =>
  Array.isArray(value) ? value.length === 0 : isObject(value) && Object.keys(value).length === 0;
