// Checks of a custom object against its schema. What has not changed since the object was stored is not checked
// again, so that a schema that became stricter does not lock up what is there.
import { causeNotSupported, causeRequired, quoteValue, type Cause } from '../api-error.ts';
import { equal, isObject, type Item, type Json, type JsonObject } from '../json.ts';
import type { Schema } from '../schema/schema.ts';

const maxCauses = 25;
/** A pattern may take time that grows with the square of the text; beyond this none is tried. */
const maxPatternText = 16_384;

const kindOf = (value: Json): string => {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  if (typeof value === 'number') return Number.isInteger(value) ? 'integer' : 'number';
  return typeof value;
};

const hasType = (value: Json, type: NonNullable<Schema['type']>): boolean =>
  kindOf(value) === type || (type === 'number' && typeof value === 'number');

const patterns = new Map<string, RegExp | null>();

/** Undefined if this runtime cannot read the pattern: then it is not enforced. */
function compiled(pattern: string): RegExp | undefined {
  let found = patterns.get(pattern);
  if (found === undefined) {
    try {
      found = new RegExp(pattern, 'u');
    } catch {
      try {
        found = new RegExp(pattern);
      } catch {
        found = null;
      }
    }
    if (patterns.size > 10_000) patterns.clear();
    patterns.set(pattern, found);
  }
  return found ?? undefined;
}

export function validateItem(item: Item, schema: Schema, old: Item | undefined): Cause[] {
  const causes: Cause[] = [];
  const before = old as unknown as JsonObject | undefined;
  for (const [key, field] of Object.entries(schema.properties ?? {})) {
    if (key === 'metadata' || key === 'kind' || key === 'apiVersion') continue;
    const value = item[key] as Json | undefined;
    if (value !== undefined) check(value, field, key, before?.[key], causes);
  }
  for (const key of schema.required ?? []) if (item[key] === undefined) causes.push(causeRequired(key));
  return causes;
}

function check(value: Json, schema: Schema, path: string, old: Json | undefined, causes: Cause[]): void {
  if (causes.length >= maxCauses || (old !== undefined && equal(value, old))) return;
  if (value === null && schema.nullable === true) return;
  const add = (reason: string, message: string): void => {
    causes.push({ reason, message, field: path });
  };
  const wrong = (why: string): void =>
    add('FieldValueInvalid', `Invalid value: ${quoteValue(value)}: ${path} in body ${why}`);
  if (schema['x-kubernetes-int-or-string'] === true) {
    if (typeof value !== 'string' && !(typeof value === 'number' && Number.isInteger(value))) {
      add(
        'FieldValueTypeInvalid',
        `Invalid value: ${quoteValue(kindOf(value))}: ${path} in body must be of type integer or string: ${quoteValue(kindOf(value))}`,
      );
      return;
    }
  } else if (schema.type !== undefined && !hasType(value, schema.type)) {
    add(
      'FieldValueTypeInvalid',
      `Invalid value: ${quoteValue(kindOf(value))}: ${path} in body must be of type ${schema.type}: ${quoteValue(kindOf(value))}`,
    );
    return;
  }
  if (schema.enum !== undefined && !schema.enum.some((allowed) => equal(allowed, value)))
    causes.push(
      causeNotSupported(
        path,
        value,
        schema.enum.map((allowed) => (typeof allowed === 'string' ? allowed : JSON.stringify(allowed))),
      ),
    );
  if (typeof value === 'string') checkText(value, schema, wrong, add);
  else if (typeof value === 'number') checkNumber(value, schema, wrong);
  else if (Array.isArray(value)) checkList(value, schema, path, old, causes, add);
  else if (isObject(value)) checkObject(value, schema, path, old, causes, add);
  checkCombinations(value, schema, path, causes);
}

function checkText(
  value: string,
  schema: Schema,
  wrong: (why: string) => void,
  add: (reason: string, message: string) => void,
): void {
  const { maxLength, minLength, pattern, format } = schema;
  // In characters, not in UTF-16 units.
  const length = maxLength !== undefined || minLength !== undefined ? Array.from(value).length : 0;
  if (maxLength !== undefined && length > maxLength) {
    add('FieldValueTooLong', `Too long: may not be more than ${maxLength} bytes`);
    return;
  }
  if (minLength !== undefined && length < minLength) wrong(`should be at least ${minLength} chars long`);
  if (pattern !== undefined) {
    if (value.length > maxPatternText) wrong(`should match '${pattern}', and is too long to be compared`);
    else if (compiled(pattern)?.test(value) === false) wrong(`should match '${pattern}'`);
  }
  if (format !== undefined && !fits(value, format)) wrong(`must be of type ${format}: ${quoteValue(value)}`);
}

function fits(value: string, format: string): boolean {
  switch (format) {
    case 'date-time':
      return /^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/.test(value);
    case 'date':
      return /^\d{4}-\d\d-\d\d$/.test(value);
    case 'byte':
      return /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(value);
    case 'ipv4':
      return /^(\d{1,3}\.){3}\d{1,3}$/.test(value);
    case 'ipv6':
      return value.includes(':') && /^[0-9a-fA-F:.]+$/.test(value);
    case 'uuid':
      return /^[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}$/.test(value);
    case 'uri':
      return URL.canParse(value) || value.startsWith('/');
    case 'duration':
      return (
        /^[+-]?(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+$/.test(value) ||
        value === '0' ||
        /^\d+ (seconds?|minutes?|hours?|days?|weeks?)$/.test(value)
      );
    default:
      return true;
  }
}

function checkNumber(value: number, schema: Schema, wrong: (why: string) => void): void {
  const { minimum, maximum, multipleOf } = schema;
  if (minimum !== undefined && (schema.exclusiveMinimum === true ? value <= minimum : value < minimum))
    wrong(`should be greater than${schema.exclusiveMinimum === true ? '' : ' or equal to'} ${minimum}`);
  if (maximum !== undefined && (schema.exclusiveMaximum === true ? value >= maximum : value > maximum))
    wrong(`should be less than${schema.exclusiveMaximum === true ? '' : ' or equal to'} ${maximum}`);
  if (multipleOf !== undefined && multipleOf > 0 && value % multipleOf !== 0)
    wrong(`should be a multiple of ${multipleOf}`);
  if (schema.format === 'int32' && (value > 2147483647 || value < -2147483648))
    wrong('must be of type int32');
}

function checkList(
  value: Json[],
  schema: Schema,
  path: string,
  old: Json | undefined,
  causes: Cause[],
  add: (reason: string, message: string) => void,
): void {
  const { maxItems, minItems, items } = schema;
  if (maxItems !== undefined && value.length > maxItems) {
    add('FieldValueTooMany', `Too many: ${value.length}: must have at most ${maxItems} items`);
    return;
  }
  if (minItems !== undefined && value.length < minItems)
    add(
      'FieldValueInvalid',
      `Invalid value: ${value.length}: ${path} in body should have at least ${minItems} items`,
    );
  const listType = schema['x-kubernetes-list-type'];
  const keys = schema['x-kubernetes-list-map-keys'] ?? [];
  const idOf = (entry: Json): string => {
    if (listType !== 'map') return JSON.stringify(entry);
    const id: JsonObject = {};
    for (const key of keys) {
      const found = isObject(entry) ? (entry[key] ?? items?.properties?.[key]?.default) : undefined;
      if (found !== undefined) id[key] = found;
    }
    return JSON.stringify(id);
  };
  if (listType === 'map' || listType === 'set' || schema.uniqueItems === true) {
    const seen = new Set<string>();
    value.forEach((entry, i) => {
      const id = idOf(entry);
      if (seen.has(id))
        causes.push({
          reason: 'FieldValueDuplicate',
          message: `Duplicate value: ${id}`,
          field: `${path}[${i}]`,
        });
      seen.add(id);
    });
  }
  if (items === undefined) return;
  // Only entries of a map can be told to be the same one as before.
  const before = new Map<string, Json>();
  if (listType === 'map' && Array.isArray(old)) for (const entry of old) before.set(idOf(entry), entry);
  value.forEach((entry, i) => check(entry, items, `${path}[${i}]`, before.get(idOf(entry)), causes));
}

function checkObject(
  value: JsonObject,
  schema: Schema,
  path: string,
  old: Json | undefined,
  causes: Cause[],
  add: (reason: string, message: string) => void,
): void {
  const names = Object.keys(value);
  const { maxProperties, minProperties } = schema;
  if (maxProperties !== undefined && names.length > maxProperties)
    add('FieldValueTooMany', `Too many: ${names.length}: must have at most ${maxProperties} items`);
  if (minProperties !== undefined && names.length < minProperties)
    add(
      'FieldValueInvalid',
      `Invalid value: ${names.length}: ${path} in body should have at least ${minProperties} properties`,
    );
  for (const key of schema.required ?? [])
    if (!Object.hasOwn(value, key)) causes.push(causeRequired(`${path}.${key}`));
  const before = isObject(old) ? old : undefined;
  for (const key of names) {
    const own =
      schema.properties !== undefined && Object.hasOwn(schema.properties, key)
        ? schema.properties[key]
        : undefined;
    const field =
      own ?? (typeof schema.additionalProperties === 'object' ? schema.additionalProperties : undefined);
    if (field === undefined) continue;
    const was = before !== undefined && Object.hasOwn(before, key) ? before[key] : undefined;
    check(value[key] as Json, field, own === undefined ? `${path}[${key}]` : `${path}.${key}`, was, causes);
  }
}

function checkCombinations(value: Json, schema: Schema, path: string, causes: Cause[]): void {
  const passes = (part: Schema): Cause[] => {
    const found: Cause[] = [];
    check(value, part, path, undefined, found);
    return found;
  };
  for (const part of schema.allOf ?? []) causes.push(...passes(part));
  if (schema.anyOf !== undefined && schema['x-kubernetes-int-or-string'] !== true) {
    const results = schema.anyOf.map(passes);
    if (!results.some((found) => found.length === 0))
      causes.push(
        {
          reason: 'FieldValueInvalid',
          message: `Invalid value: ${quoteValue(value)}: ${path} in body must validate at least one schema (anyOf)`,
          field: path,
        },
        ...(results[0] ?? []),
      );
  }
  if (schema.oneOf !== undefined) {
    const good = schema.oneOf.filter((part) => passes(part).length === 0).length;
    if (good !== 1)
      causes.push({
        reason: 'FieldValueInvalid',
        message: `Invalid value: ${quoteValue(value)}: ${path} in body must validate one and only one schema (oneOf). Found ${good === 0 ? 'none' : String(good)} valid alternatives`,
        field: path,
      });
  }
  if (schema.not !== undefined && passes(schema.not).length === 0)
    causes.push({
      reason: 'FieldValueInvalid',
      message: `Invalid value: ${quoteValue(value)}: ${path} in body must not validate the schema (not)`,
      field: path,
    });
}
