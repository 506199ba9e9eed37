// Reads mesh-types.txt, the short form in which our own CustomResourceDefinitions are written down.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Json } from '../json.ts';
import type { Schema } from '../schema/schema.ts';

const subdomain = '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*';
const patterns: Readonly<Record<string, string>> = {
  subdomain: `^$|^${subdomain}$`,
  kind: '^$|^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$',
  preciseHost: `^${subdomain}$`,
  wildcardHost: `^(\\*\\.)?${subdomain}$`,
  headerName: "^[A-Za-z0-9!#$%&'*+\\-.^_`|~]+$",
  headerToken: '^[-_A-Za-z0-9]+$',
  httpUrl: '^https?://',
  gatewayDuration: '^([0-9]{1,5}(h|m|s|ms)){1,4}$',
};

const scalar = (letter: string): Schema | undefined => {
  switch (letter) {
    case 's':
      return { type: 'string' };
    case 'i':
      return { type: 'integer' };
    case 'u':
      return { type: 'integer', minimum: 0, maximum: 4294967295 };
    case 'p':
      return { type: 'integer', minimum: 1, maximum: 65535 };
    case 'n':
      return { type: 'number' };
    case 'b':
      return { type: 'boolean' };
    case 't':
      return { type: 'string', format: 'date-time' };
    case 'y':
      return { type: 'string', format: 'byte' };
    case 'd':
      return {
        type: 'string',
        'x-kubernetes-validations': [
          { rule: "duration(self) >= duration('1ms')", message: 'must be a valid duration greater than 1ms' },
        ],
      };
    case 'x':
      return { 'x-kubernetes-int-or-string': true, anyOf: [{ type: 'integer' }, { type: 'string' }] };
    case 'o':
      return { type: 'object', 'x-kubernetes-preserve-unknown-fields': true };
    default:
      return undefined;
  }
};

/** Reads one shape from the front of `text`; gives what is left. */
function parseShape(text: string, types: ReadonlyMap<string, Schema>): { schema: Schema; rest: string } {
  let schema: Schema;
  let rest: string;
  if (text.startsWith('[')) {
    const inner = parseShape(text.slice(1), types);
    schema = { type: 'array', items: inner.schema };
    rest = inner.rest.slice(1);
  } else if (text.startsWith('{')) {
    const inner = parseShape(text.slice(1), types);
    schema = { type: 'object', additionalProperties: inner.schema };
    rest = inner.rest.slice(1);
  } else if (text.startsWith('<')) {
    const end = text.indexOf('>');
    schema = { type: 'string', enum: text.slice(1, end).split('|') };
    rest = text.slice(end + 1);
  } else {
    const name = /^[A-Za-z0-9]+/.exec(text)?.[0] ?? '';
    const found = scalar(name) ?? types.get(name);
    if (found === undefined) throw new Error(`mesh-types.txt: no type "${name}" in "${text}"`);
    schema = { ...found };
    rest = text.slice(name.length);
  }
  const limits = /^\(([0-9]*)\.\.([0-9]*)\)/.exec(rest);
  if (limits !== null) {
    const [whole, min, max] = limits;
    limit(schema, min === '' ? undefined : Number(min), max === '' ? undefined : Number(max));
    rest = rest.slice(whole.length);
  }
  const pattern = /^~([A-Za-z]+)/.exec(rest);
  if (pattern !== null) {
    const found = patterns[pattern[1] as string];
    if (found === undefined) throw new Error(`mesh-types.txt: no pattern "${pattern[1]}"`);
    schema.pattern = found;
    rest = rest.slice(pattern[0].length);
  }
  const keys = /^#([A-Za-z,]*)/.exec(rest);
  if (keys !== null) {
    const list = keys[1] as string;
    schema['x-kubernetes-list-type'] = list === '' ? 'set' : 'map';
    if (list !== '') schema['x-kubernetes-list-map-keys'] = list.split(',');
    rest = rest.slice(keys[0].length);
  } else if (schema.type === 'array') schema['x-kubernetes-list-type'] ??= 'atomic';
  if (rest.startsWith('?')) {
    schema.nullable = true;
    rest = rest.slice(1);
  }
  return { schema, rest };
}

function limit(schema: Schema, min: number | undefined, max: number | undefined): void {
  const [low, high] =
    schema.type === 'string'
      ? (['minLength', 'maxLength'] as const)
      : schema.type === 'array'
        ? (['minItems', 'maxItems'] as const)
        : schema.type === 'object'
          ? (['minProperties', 'maxProperties'] as const)
          : (['minimum', 'maximum'] as const);
  if (min !== undefined) schema[low] = min;
  if (max !== undefined) schema[high] = max;
}

/** The types by name. A type refers to others by value, so none may contain itself. */
export function loadMeshTypes(): ReadonlyMap<string, Schema> {
  const text = readFileSync(fileURLToPath(new URL('./mesh-types.txt', import.meta.url)), 'utf8');
  const types = new Map<string, Schema>();
  const waiting: [string, string][] = [];
  const rules: [string, { rule: string; message: string }][] = [];
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('#')) continue;
    const one = /^one (\S+) (.*)$/.exec(line);
    const rule = /^rule (\S+) (.*) ## (.*)$/.exec(line);
    if (one !== null) {
      const fields = (one[2] as string).split(' ');
      rules.push([
        one[1] as string,
        {
          rule: `${fields.map((field) => `(has(self.${field}) ? 1 : 0)`).join(' + ')} <= 1`,
          message: `only one of ${fields.join(', ')} can be set`,
        },
      ]);
    } else if (rule !== null)
      rules.push([rule[1] as string, { rule: rule[2] as string, message: rule[3] as string }]);
    else {
      const colon = line.indexOf(':');
      waiting.push([line.slice(0, colon), line.slice(colon + 1).trim()]);
    }
  }
  const definitions = new Map(waiting);
  const rulesOf = (name: string): { rule: string; message: string }[] =>
    rules.filter(([type]) => type === name).map(([, found]) => found);
  const build = (name: string): void => {
    const body = definitions.get(name);
    if (body === undefined || types.has(name)) return;
    for (const word of body.matchAll(/[A-Z][A-Za-z0-9]+/g)) if (word[0] !== name) buildIfType(word[0]);
    types.set(name, parseType(body, types, rulesOf(name)));
  };
  const buildIfType = (name: string): void => {
    if (definitions.has(name)) build(name);
  };
  for (const [name] of waiting) build(name);
  return types;
}

function parseType(
  body: string,
  types: ReadonlyMap<string, Schema>,
  rules: readonly { rule: string; message: string }[],
): Schema {
  const properties: Record<string, Schema> = {};
  const required: string[] = [];
  const schema: Schema = { type: 'object', properties };
  for (const field of body.split(' ')) {
    if (field === '*') {
      schema['x-kubernetes-preserve-unknown-fields'] = true;
      continue;
    }
    const equals = field.indexOf('=');
    const name = field.slice(0, equals);
    const { schema: parsed, rest } = parseShape(field.slice(equals + 1), types);
    if (rest.startsWith('=')) parsed.default = JSON.parse(rest.slice(1)) as Json;
    else if (rest === '!') required.push(name);
    else if (rest !== '') throw new Error(`mesh-types.txt: "${rest}" in "${field}" is not understood`);
    properties[name] = parsed;
  }
  if (required.length > 0) schema.required = required;
  if (rules.length > 0) schema['x-kubernetes-validations'] = [...rules];
  return schema;
}
