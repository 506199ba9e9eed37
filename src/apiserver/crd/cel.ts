// The rules in CEL that schemas carry (x-kubernetes-validations): compiled once, run on what has been written.
// @marcbachmann/cel-js reads and runs the language; here are the types that Kubernetes gives to values, and the
// functions it adds (URLs, addresses, regular expressions, quantities).
import type { Environment } from '@marcbachmann/cel-js';
import { quoteValue, type Cause } from '../api-error.ts';
import { equal, isObject, setField, type Item, type Json, type JsonObject } from '../json.ts';
import { makeEnvironment } from './cel-functions.ts';
import { rewriteHas } from './cel-text.ts';
import type { Schema, ValidationRule } from '../schema/schema.ts';

/** Rules may compare every entry of a list with every other: a list of more entries than this is refused. */
const maxEntries = 5_000;
const maxText = 65_536;

let shared: Environment | undefined;

type Program = (context: Record<string, unknown>) => unknown;
const programs = new Map<string, Program>();

/** Throws an Error with the position of what is wrong. */
export function compileRule(rule: string): Program {
  let found = programs.get(rule);
  if (found === undefined) {
    shared ??= makeEnvironment();
    const parsed = shared.parse(rewriteHas(rule));
    // What is not known of a value is settled when it is there; a function that does not exist is an error now.
    const { valid, error } = parsed.check();
    if (!valid) throw error;
    found = parsed as unknown as Program;
    if (programs.size > 10_000) programs.clear();
    programs.set(rule, found);
  }
  return found;
}

const reserved = new Set([
  'true',
  'false',
  'null',
  'in',
  'as',
  'break',
  'const',
  'continue',
  'else',
  'for',
  'function',
  'if',
  'import',
  'let',
  'loop',
  'package',
  'namespace',
  'return',
  'var',
  'void',
  'while',
]);

/** Names that CEL cannot write are written in another way, as Kubernetes has it. */
function escapeName(name: string): string {
  if (reserved.has(name)) return `__${name}__`;
  return /^[A-Za-z_][A-Za-z0-9_]*$/.test(name) && !name.includes('__')
    ? name
    : name
        .replaceAll('__', '__underscores__')
        .replaceAll('.', '__dot__')
        .replaceAll('-', '__dash__')
        .replaceAll('/', '__slash__');
}

/** A JSON value as CEL sees it, by its schema: integers are whole, times are times. */
function toCel(value: Json | undefined, schema: Schema | undefined): unknown {
  if (value === null || value === undefined) return null;
  if (typeof value === 'number') {
    if (schema?.type === 'number') return value;
    if (
      schema?.type === 'integer' ||
      schema?.['x-kubernetes-int-or-string'] === true ||
      Number.isInteger(value)
    )
      return BigInt(value);
    return value;
  }
  if (typeof value === 'string') {
    if (schema?.format === 'date-time' && !Number.isNaN(Date.parse(value))) return new Date(value);
    return value;
  }
  if (Array.isArray(value)) return value.map((entry) => toCel(entry, schema?.items));
  if (!isObject(value)) return value;
  const out: Record<string, unknown> = {};
  const properties = schema?.properties;
  const inner = typeof schema?.additionalProperties === 'object' ? schema.additionalProperties : undefined;
  for (const key of Object.keys(value)) {
    const own = properties !== undefined && Object.hasOwn(properties, key) ? properties[key] : undefined;
    // A map's keys are data, an object's keys are names.
    setField(out, own === undefined ? key : escapeName(key), toCel(value[key], own ?? inner));
  }
  return out;
}

const ruleCache = new WeakMap<Schema, boolean>();

/** Whether there is a rule at or below a schema, so that the walk leaves out the rest. */
function hasRules(schema: Schema | undefined): boolean {
  if (schema === undefined) return false;
  const known = ruleCache.get(schema);
  if (known !== undefined) return known;
  const below = (value: Schema | boolean | undefined): boolean =>
    typeof value === 'object' && hasRules(value);
  const found =
    (schema['x-kubernetes-validations'] ?? []).length > 0 ||
    below(schema.items) ||
    below(schema.additionalProperties) ||
    Object.values(schema.properties ?? {}).some(below);
  ruleCache.set(schema, found);
  return found;
}

/** Runs all rules of a schema. To be called when the object has the right shape: rules rely on it. */
export function runRules(item: Item, schema: Schema, old: Item | undefined): Cause[] {
  if (!hasRules(schema)) return [];
  const causes: Cause[] = [];
  walk(item as unknown as JsonObject, schema, '', old as unknown as JsonObject | undefined, causes);
  return causes;
}

function walk(value: Json, schema: Schema, path: string, old: Json | undefined, causes: Cause[]): void {
  if (causes.length >= 25 || !hasRules(schema)) return;
  const rules = schema['x-kubernetes-validations'] ?? [];
  if (rules.length > 0) {
    const size = Array.isArray(value)
      ? value.length
      : isObject(value)
        ? Object.keys(value).length
        : typeof value === 'string'
          ? value.length
          : 0;
    if (size > (typeof value === 'string' ? maxText : maxEntries))
      causes.push({
        reason: 'FieldValueInvalid',
        message: `Invalid value: ${size} entries are more than the rules of this field can be run on (${maxEntries})`,
        field: path,
      });
    else {
      const self = toCel(value, schema);
      const oldSelf = old === undefined ? undefined : toCel(old, schema);
      for (const rule of rules) run(rule, self, oldSelf, value, old, path, causes);
    }
  }
  if (Array.isArray(value)) {
    const { items } = schema;
    if (!hasRules(items) || items === undefined) return;
    const keys = schema['x-kubernetes-list-map-keys'];
    value.forEach((entry, i) => {
      const before =
        keys !== undefined && Array.isArray(old)
          ? old.find(
              (other) =>
                isObject(other) && isObject(entry) && keys.every((key) => equal(other[key], entry[key])),
            )
          : undefined;
      walk(entry, items, `${path}[${i}]`, before, causes);
    });
    return;
  }
  if (!isObject(value)) return;
  const before = isObject(old) ? old : undefined;
  for (const key of Object.keys(value)) {
    const own =
      schema.properties !== undefined && Object.hasOwn(schema.properties, key)
        ? schema.properties[key]
        : undefined;
    const inner =
      own ?? (typeof schema.additionalProperties === 'object' ? schema.additionalProperties : undefined);
    if (
      inner === undefined ||
      (path === '' && (key === 'metadata' || key === 'kind' || key === 'apiVersion'))
    )
      continue;
    const at = own === undefined ? `${path}[${key}]` : path === '' ? key : `${path}.${key}`;
    walk(value[key] as Json, inner, at, before?.[key], causes);
  }
}

function run(
  rule: ValidationRule,
  self: unknown,
  oldSelf: unknown,
  value: Json,
  old: Json | undefined,
  path: string,
  causes: Cause[],
): void {
  const transition = /\boldSelf\b/.test(rule.rule);
  // A rule about a change has nothing to say about what is new or what has not changed.
  if (transition && rule.optionalOldSelf !== true && old === undefined) return;
  const field = `${path}${rule.fieldPath ?? ''}`;
  const context = { self, oldSelf: oldSelf ?? null };
  try {
    if (compileRule(rule.rule)(context) === true) return;
    let message = rule.message ?? `failed rule: ${rule.rule.trim()}`;
    if (rule.messageExpression !== undefined) {
      try {
        const said = compileRule(rule.messageExpression)(context);
        if (typeof said === 'string' && said !== '') message = said;
      } catch {
        // The plain message will do.
      }
    }
    const reason = rule.reason ?? 'FieldValueInvalid';
    causes.push({
      reason,
      message:
        reason === 'FieldValueForbidden'
          ? `Forbidden: ${message}`
          : reason === 'FieldValueRequired'
            ? `Required value: ${message}`
            : `Invalid value: ${typeof value === 'object' && value !== null ? (Array.isArray(value) ? '"array"' : '"object"') : quoteValue(value)}: ${message}`,
      field: field === '' ? '<nil>' : field,
    });
  } catch (error) {
    // Fail closed: a rule that cannot be run has not been met.
    causes.push({
      reason: 'FieldValueInvalid',
      message: `Invalid value: the rule "${rule.rule.trim()}" could not be run: ${error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error)}`,
      field: field === '' ? '<nil>' : field,
    });
  }
}
