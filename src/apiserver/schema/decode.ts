// Turns what a client sent for a built-in kind into an object of that kind: wrong types are an error that names
// the field, unknown fields are taken out and reported, nulls mean "not set", defaults are filled in.
import { badRequest } from '../api-error.ts';
import { clone, isObject, setField, type Item, type Json, type JsonObject } from '../json.ts';
import type { CustomRules } from '../kinds/kind.ts';
import type { Schema } from './schema.ts';

/** How many unknown fields are reported; an object may have thousands. */
const maxReported = 32;

export interface Decoded {
  /** Paths of fields that the kind does not have. */
  readonly unknown: string[];
}

/** Cleans `item` in place. Throws 400 for a value of the wrong type. */
export function decodeItem(item: Item, schema: Schema, custom?: CustomRules): Decoded {
  const unknown: string[] = [];
  if (custom !== undefined) {
    pruneItem(item, schema, custom, unknown);
    return { unknown };
  }
  decodeObject(item as unknown as JsonObject, schema, '', item.kind, unknown);
  return { unknown };
}

const join = (path: string, key: string): string => (path === '' ? key : `${path}.${key}`);

function decodeObject(
  object: JsonObject,
  schema: Schema,
  path: string,
  typeName: string,
  unknown: string[],
): void {
  const properties = schema.properties;
  if (properties === undefined) return;
  for (const key of Object.keys(object)) {
    const field = Object.hasOwn(properties, key) ? properties[key] : undefined;
    if (field === undefined) {
      if (schema['x-kubernetes-preserve-unknown-fields'] === true) continue;
      if (unknown.length < maxReported) unknown.push(join(path, key));
      delete object[key];
      continue;
    }
    const value = object[key] as Json;
    if (value === null) {
      delete object[key];
      continue;
    }
    object[key] = decodeValue(value, field, join(path, key), schema.typeName ?? typeName, unknown);
  }
}

function decodeValue(value: Json, schema: Schema, path: string, typeName: string, unknown: string[]): Json {
  if (schema.type === undefined) return value;
  switch (schema.type) {
    case 'object': {
      if (!isObject(value)) throw mismatch(value, typeName, path, schema.typeName ?? 'map');
      if (schema.properties !== undefined) decodeObject(value, schema, path, typeName, unknown);
      else if (isSchema(schema.additionalProperties)) {
        const inner = schema.additionalProperties;
        for (const key of Object.keys(value)) {
          const entry = value[key] as Json;
          // A null in a map of strings is an empty string, as in Go.
          const decoded =
            entry === null ? zero(inner) : decodeValue(entry, inner, `${path}.${key}`, typeName, unknown);
          setField(value, key, decoded);
        }
      }
      return value;
    }
    case 'array': {
      if (!Array.isArray(value))
        throw mismatch(value, typeName, path, `[]${schema.items?.typeName ?? schema.items?.type ?? ''}`);
      const items = schema.items;
      if (items === undefined) return value;
      for (let i = 0; i < value.length; i++) {
        const entry = value[i] as Json;
        value[i] =
          entry === null ? zero(items) : decodeValue(entry, items, `${path}[${i}]`, typeName, unknown);
      }
      return value;
    }
    case 'string':
      return decodeString(value, schema, path, typeName);
    case 'integer':
      if (
        typeof value !== 'number' ||
        !Number.isInteger(value) ||
        (schema.format === 'int32' && (value > 2147483647 || value < -2147483648))
      )
        throw mismatch(value, typeName, path, schema.format ?? 'int64');
      return value;
    case 'number':
      if (typeof value !== 'number') throw mismatch(value, typeName, path, 'float64');
      return value;
    case 'boolean':
      if (typeof value !== 'boolean') throw mismatch(value, typeName, path, 'bool');
      return value;
  }
}

function decodeString(value: Json, schema: Schema, path: string, typeName: string): Json {
  switch (schema.format) {
    case 'int-or-string':
      if (typeof value !== 'string' && !(typeof value === 'number' && Number.isInteger(value)))
        throw mismatch(value, typeName, path, 'IntOrString');
      return value;
    case 'quantity': {
      const text = typeof value === 'number' ? String(value) : value;
      if (typeof text !== 'string') throw mismatch(value, typeName, path, 'Quantity');
      if (!quantityPattern.test(text))
        throw badRequest(
          `${path}: quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$', not ${JSON.stringify(text)}`,
        );
      return text;
    }
    case 'date-time':
      if (typeof value !== 'string') throw mismatch(value, typeName, path, 'Time');
      if (value !== '' && !timePattern.test(value))
        throw badRequest(`${path}: parsing time ${JSON.stringify(value)}: it is not in the form of RFC 3339`);
      return value;
    case 'byte':
      if (typeof value !== 'string') throw mismatch(value, typeName, path, '[]uint8');
      if (!base64Pattern.test(value.replace(/[\r\n]/g, ''))) throw badRequest(`${path}: illegal base64 data`);
      return value;
    default:
      if (typeof value !== 'string') throw mismatch(value, typeName, path, 'string');
      return value;
  }
}

const quantityPattern =
  /^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)(m|u|n|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][+-]?[0-9]+)?$/;
const timePattern = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/;
const base64Pattern = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

const goKind = (value: Json): string => {
  if (Array.isArray(value)) return 'array';
  if (typeof value === 'number') return 'number';
  return typeof value === 'boolean' ? 'bool' : typeof value;
};

/** In the words of Go's decoder, which people search for, with the whole path. */
function mismatch(value: Json, typeName: string, path: string, wanted: string): Error {
  return badRequest(
    `json: cannot unmarshal ${goKind(value)} into Go struct field ${typeName}.${path} of type ${wanted}`,
  );
}

const isSchema = (value: Schema | boolean | undefined): value is Schema => typeof value === 'object';

function zero(schema: Schema): Json {
  if (schema.type === undefined) return null;
  switch (schema.type) {
    case 'object':
      return {};
    case 'array':
      return [];
    case 'integer':
    case 'number':
      return 0;
    case 'boolean':
      return false;
    case 'string':
      return '';
  }
}

/** Fills in what is left out, in place. Goes only where there is an object to fill. */
export function applyDefaults(value: Json | undefined, schema: Schema): void {
  if (Array.isArray(value)) {
    const items = schema.items;
    if (items !== undefined && hasDefaults(items)) for (const entry of value) applyDefaults(entry, items);
    return;
  }
  if (!isObject(value)) return;
  if (schema.properties !== undefined) {
    for (const [key, field] of defaulted(schema)) {
      const present = Object.hasOwn(value, key);
      if (!present && field.default === undefined) continue;
      if (!present || (value[key] === null && field.nullable !== true && field.default !== undefined))
        setField(value, key, clone(field.default as Json));
      applyDefaults(value[key], field);
    }
  }
  if (isSchema(schema.additionalProperties) && hasDefaults(schema.additionalProperties)) {
    for (const key of Object.keys(value))
      if (schema.properties === undefined || !Object.hasOwn(schema.properties, key))
        applyDefaults(value[key], schema.additionalProperties);
  }
}

/** The properties at or below which there is a default, so that the walk leaves out the rest. */
function defaulted(schema: Schema): readonly (readonly [string, Schema])[] {
  let found = defaultedCache.get(schema);
  if (found === undefined) {
    found = Object.entries(schema.properties ?? {}).filter(
      ([, field]) => field.default !== undefined || hasDefaults(field),
    );
    defaultedCache.set(schema, found);
  }
  return found;
}

const defaultedCache = new WeakMap<Schema, readonly (readonly [string, Schema])[]>();
const hasDefaultsCache = new WeakMap<Schema, boolean>();

function hasDefaults(schema: Schema): boolean {
  const known = hasDefaultsCache.get(schema);
  if (known !== undefined) return known;
  // Types may contain themselves: while one is being looked at it counts as having none.
  hasDefaultsCache.set(schema, false);
  const below = (part: Schema | boolean | undefined): boolean =>
    isSchema(part) && (part.default !== undefined || hasDefaults(part));
  const found =
    Object.values(schema.properties ?? {}).some(below) ||
    below(schema.items) ||
    below(schema.additionalProperties);
  hasDefaultsCache.set(schema, found);
  return found;
}

/** For custom kinds: metadata is checked as for all kinds, the rest is left to validation but for unknown fields. */
function pruneItem(item: Item, schema: Schema, custom: CustomRules, unknown: string[]): void {
  const metadata = schema.properties?.['metadata'];
  if (metadata !== undefined)
    decodeValue(item.metadata as unknown as Json, metadata, 'metadata', 'ObjectMeta', unknown);
  if (custom.preserveUnknown) return;
  prune(item as unknown as JsonObject, schema, '', unknown, true);
}

/** Takes out what the schema does not have, in place. */
function prune(value: Json, schema: Schema, path: string, unknown: string[], root = false): void {
  if (Array.isArray(value)) {
    const { items } = schema;
    if (items !== undefined) value.forEach((entry, i) => prune(entry, items, `${path}[${i}]`, unknown));
    return;
  }
  if (!isObject(value)) return;
  const embedded = schema['x-kubernetes-embedded-resource'] === true;
  const keeps = schema['x-kubernetes-preserve-unknown-fields'] === true;
  for (const key of Object.keys(value)) {
    if (root && (key === 'metadata' || key === 'kind' || key === 'apiVersion')) continue;
    const field =
      schema.properties !== undefined && Object.hasOwn(schema.properties, key)
        ? schema.properties[key]
        : undefined;
    if (field !== undefined) {
      prune(value[key] as Json, field, join(path, key), unknown);
      continue;
    }
    if (embedded && (key === 'metadata' || key === 'kind' || key === 'apiVersion')) continue;
    if (isSchema(schema.additionalProperties)) {
      prune(value[key] as Json, schema.additionalProperties, join(path, key), unknown);
      continue;
    }
    if (schema.additionalProperties === true || keeps) continue;
    if (unknown.length < maxReported) unknown.push(join(path, key));
    delete value[key];
  }
}
