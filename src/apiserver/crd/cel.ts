// The rules in CEL that schemas carry (x-kubernetes-validations): compiled once, run on what has been written.
// @marcbachmann/cel-js reads and runs the language; here are the types that Kubernetes gives to values, and the
// functions it adds (URLs, addresses, regular expressions, quantities).
import { Environment } from '@marcbachmann/cel-js';
import { parseCidr, parseIp, parseIpBytes, cidrContains, cidr } from '#/kit/index.ts';
import { quoteValue, type Cause } from '../api-error.ts';
import { equal, isObject, setField, type Item, type Json, type JsonObject } from '../json.ts';
import type { Schema, ValidationRule } from '../schema/schema.ts';

/** Rules may compare every entry of a list with every other: a list of more entries than this is refused. */
const maxEntries = 5_000;
const maxText = 65_536;

class CelUrl {
  readonly url: URL;
  readonly text: string;
  constructor(text: string) {
    this.text = text;
    // A path alone is a URL too.
    this.url = new URL(text, 'none://');
  }
}
class CelIp {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}
class CelCidr {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}
class CelQuantity {
  readonly value: number;
  constructor(text: string) {
    this.value = quantity(text) ?? Number.NaN;
  }
}

const suffixes: Readonly<Record<string, number>> = {
  '': 1,
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
};

function quantity(text: string): number | undefined {
  const match =
    /^([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))(?:([eE][+-]?[0-9]+)|([numkMGTPE]|[KMGTPE]i))?$/.exec(text);
  return match === null
    ? undefined
    : Number(`${match[1]}${match[2] ?? ''}`) * (suffixes[match[3] ?? ''] as number);
}

const absolute = (text: string): boolean =>
  (URL.canParse(text) && text.includes(':')) || text.startsWith('/');
/** What a URL has that its text does not show is "none". */
const part = (url: CelUrl, value: string): string => (url.url.protocol === 'none:' ? '' : value);

function regex(pattern: string): RegExp {
  return new RegExp(pattern, 'u');
}

function makeEnvironment(): Environment {
  const environment = new Environment({
    unlistedVariablesAreDyn: true,
    enableOptionalTypes: true,
    homogeneousAggregateLiterals: false,
  });
  environment
    .registerType('kubernetes.URL', CelUrl)
    .registerType('net.IP', CelIp)
    .registerType('net.CIDR', CelCidr)
    .registerType('kubernetes.Quantity', CelQuantity);
  const f = (signature: string, handler: (...args: never[]) => unknown): void => {
    environment.registerFunction(signature, handler as (...args: unknown[]) => unknown);
  };
  f('isURL(string): bool', (text: string) => absolute(text));
  f('url(string): kubernetes.URL', (text: string) => {
    if (!absolute(text)) throw new Error(`not a URL: ${text}`);
    return new CelUrl(text);
  });
  f('kubernetes.URL.getScheme(): string', (url: CelUrl) => part(url, url.url.protocol.replace(/:$/, '')));
  f('kubernetes.URL.getHost(): string', (url: CelUrl) => part(url, url.url.host));
  f('kubernetes.URL.getHostname(): string', (url: CelUrl) =>
    part(url, url.url.hostname.replace(/^\[|\]$/g, '')),
  );
  f('kubernetes.URL.getPort(): string', (url: CelUrl) => part(url, url.url.port));
  f('kubernetes.URL.getEscapedPath(): string', (url: CelUrl) =>
    url.url.pathname === '/' && !/\/\/[^/]*\/|^\//.test(url.text) ? '' : url.url.pathname,
  );
  f('kubernetes.URL.getQuery(): map', (url: CelUrl) => {
    const out = new Map<string, string[]>();
    for (const key of url.url.searchParams.keys()) out.set(key, url.url.searchParams.getAll(key));
    return out;
  });
  f('isIP(string): bool', (text: string) => parseIp(text) !== undefined);
  f('ip(string): net.IP', (text: string) => {
    const found = parseIp(text);
    if (found === undefined) throw new Error(`not an IP address: ${text}`);
    return new CelIp(found);
  });
  f('net.IP.family(): int', (ip: CelIp) => (ip.text.includes(':') ? 6n : 4n));
  f('net.IP.isLoopback(): bool', (ip: CelIp) => ip.text.startsWith('127.') || ip.text === '::1');
  f('net.IP.isUnspecified(): bool', (ip: CelIp) => ip.text === '0.0.0.0' || ip.text === '::');
  f(
    'net.IP.isLinkLocalMulticast(): bool',
    (ip: CelIp) => ip.text.startsWith('224.0.0.') || /^ff.2:/.test(ip.text),
  );
  f(
    'net.IP.isLinkLocalUnicast(): bool',
    (ip: CelIp) => ip.text.startsWith('169.254.') || /^fe[89ab]/.test(ip.text),
  );
  f(
    'net.IP.isGlobalUnicast(): bool',
    (ip: CelIp) => !/^(127\.|169\.254\.|22[4-9]\.|23\d\.|255\.|0\.0\.0\.0$|::1?$|ff|fe[89ab])/.test(ip.text),
  );
  f('isCIDR(string): bool', (text: string) => text.includes('/') && parseCidr(text) !== undefined);
  f('cidr(string): net.CIDR', (text: string) => {
    if (!text.includes('/') || parseCidr(text) === undefined) throw new Error(`not a CIDR range: ${text}`);
    return new CelCidr(text);
  });
  const contains = (range: CelCidr, text: string): boolean => {
    const base = parseCidr(range.text);
    const bytes = parseIpBytes(text);
    return base !== undefined && bytes !== undefined && cidrContains(base, bytes);
  };
  f('net.CIDR.containsIP(string): bool', contains);
  f('net.CIDR.containsIP(net.IP): bool', (range: CelCidr, ip: CelIp) => contains(range, ip.text));
  f('net.CIDR.prefixLength(): int', (range: CelCidr) => BigInt(parseCidr(range.text)?.length ?? 0));
  f('net.CIDR.ip(): net.IP', (range: CelCidr) => new CelIp(range.text.split('/')[0] as string));
  f('net.CIDR.containsCIDR(string): bool', (range: CelCidr, text: string) => {
    const outer = parseCidr(range.text);
    const inner = parseCidr(text);
    return (
      outer !== undefined &&
      inner !== undefined &&
      inner.length >= outer.length &&
      cidrContains(outer, cidr(inner.base, inner.length).base)
    );
  });
  f('isQuantity(string): bool', (text: string) => quantity(text) !== undefined);
  f('quantity(string): kubernetes.Quantity', (text: string) => {
    if (quantity(text) === undefined) throw new Error(`not a quantity: ${text}`);
    return new CelQuantity(text);
  });
  f(
    'kubernetes.Quantity.isGreaterThan(kubernetes.Quantity): bool',
    (a: CelQuantity, b: CelQuantity) => a.value > b.value,
  );
  f(
    'kubernetes.Quantity.isLessThan(kubernetes.Quantity): bool',
    (a: CelQuantity, b: CelQuantity) => a.value < b.value,
  );
  f('kubernetes.Quantity.compareTo(kubernetes.Quantity): int', (a: CelQuantity, b: CelQuantity) =>
    BigInt(Math.sign(a.value - b.value)),
  );
  f('kubernetes.Quantity.sign(): int', (a: CelQuantity) => BigInt(Math.sign(a.value)));
  f('kubernetes.Quantity.isInteger(): bool', (a: CelQuantity) => Number.isInteger(a.value));
  f('kubernetes.Quantity.asInteger(): int', (a: CelQuantity) => BigInt(Math.trunc(a.value)));
  f('kubernetes.Quantity.asApproximateFloat(): double', (a: CelQuantity) => a.value);
  f('string.find(string): string', (text: string, pattern: string) => regex(pattern).exec(text)?.[0] ?? '');
  f('string.findAll(string): list', (text: string, pattern: string) =>
    [...text.matchAll(new RegExp(pattern, 'gu'))].map((match) => match[0]),
  );
  f('hasField(dyn, string): bool', (value: unknown, name: string) =>
    value instanceof Map
      ? value.has(name)
      : isObject(value) && Object.hasOwn(value, name) && value[name] !== undefined,
  );
  f('list.isSorted(): bool', (list: unknown[]) =>
    list.every((entry, i) => i === 0 || (list[i - 1] as string) <= (entry as string)),
  );
  f('list.sum(): dyn', (list: (bigint | number)[]) =>
    list.reduce(
      (sum: bigint | number, entry) =>
        typeof entry === 'bigint' ? BigInt(sum) + entry : Number(sum) + entry,
      typeof list[0] === 'number' ? 0 : 0n,
    ),
  );
  f('list.min(): dyn', (list: unknown[]) => list.reduce((a, b) => ((a as number) < (b as number) ? a : b)));
  f('list.max(): dyn', (list: unknown[]) => list.reduce((a, b) => ((a as number) > (b as number) ? a : b)));
  return environment;
}

let shared: Environment | undefined;

/** The library's `has` takes only names and dots: `has(self.a[0].b)` is asked in another way. */
export function rewriteHas(rule: string): string {
  let out = '';
  for (let i = 0; i < rule.length;) {
    const quote = rule[i];
    if (quote === '"' || quote === "'") {
      const end = endOfText(rule, i);
      out += rule.slice(i, end);
      i = end;
      continue;
    }
    if (!rule.startsWith('has(', i) || /[A-Za-z0-9_.]/.test(rule[i - 1] ?? ' ')) {
      out += rule[i++];
      continue;
    }
    const close = closing(rule, i + 3);
    const inner = rule.slice(i + 4, close);
    const dot = inner.lastIndexOf('.');
    const base = inner.slice(0, dot);
    const field = inner.slice(dot + 1).trim();
    out +=
      dot > 0 && /[[(]/.test(base) && /^[A-Za-z_][A-Za-z0-9_]*$/.test(field)
        ? `hasField(${rewriteHas(base)}, "${field}")`
        : `has(${inner})`;
    i = close + 1;
  }
  return out;
}

/** The index after the string that begins at `start`; knows raw and triple-quoted ones. */
function endOfText(rule: string, start: number): number {
  const raw = /[rR]$/.test(rule.slice(Math.max(0, start - 1), start));
  const quote = rule[start] as string;
  const mark = rule.startsWith(quote.repeat(3), start) ? quote.repeat(3) : quote;
  for (let i = start + mark.length; i < rule.length; i++) {
    if (rule[i] === '\\' && !raw) i++;
    else if (rule.startsWith(mark, i)) return i + mark.length;
  }
  return rule.length;
}

/** The index of the parenthesis that closes the one at `open`. */
function closing(rule: string, open: number): number {
  let depth = 0;
  for (let i = open; i < rule.length; i++) {
    const char = rule[i];
    if (char === '"' || char === "'") i = endOfText(rule, i) - 1;
    else if (char === '(') depth++;
    else if (char === ')' && --depth === 0) return i;
  }
  return rule.length;
}

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
