// Label and field selectors: text or object to a predicate.
import { badRequest } from '../api-error.ts';
import { isObject } from '../json.ts';
import type { Stored } from './collection.ts';

export interface Requirement {
  readonly key: string;
  readonly operator: 'in' | 'notin' | 'exists' | '!' | 'gt' | 'lt';
  readonly values: readonly string[];
}

export type Labels = Readonly<Record<string, string>> | undefined;

export function matches(requirements: readonly Requirement[], labels: Labels): boolean {
  for (const { key, operator, values } of requirements) {
    const value = labels !== undefined && Object.hasOwn(labels, key) ? labels[key] : undefined;
    let good: boolean;
    switch (operator) {
      case 'in':
        good = value !== undefined && values.includes(value);
        break;
      case 'notin':
        good = value === undefined || !values.includes(value);
        break;
      case 'exists':
        good = value !== undefined;
        break;
      case '!':
        good = value === undefined;
        break;
      case 'gt':
        good = value !== undefined && Number(value) > Number(values[0]);
        break;
      case 'lt':
        good = value !== undefined && Number(value) < Number(values[0]);
        break;
    }
    if (!good) return false;
  }
  return true;
}

const keyPattern = /^([a-zA-Z0-9]([-a-zA-Z0-9.]*[a-zA-Z0-9])?\/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$/;
const valuePattern = /^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$/;

/** `a=b, c!=d, e in (f,g), h notin (i), j, !k`. Throws 400. */
export function parseLabelSelector(text: string): Requirement[] {
  const bad = (why: string): Error =>
    badRequest(`unable to parse requirement: ${why} in label selector "${text}"`);
  const out: Requirement[] = [];
  const part =
    /\s*(?:(!)\s*([^\s,()=!<>]+)|([^\s,()=!<>]+)\s*(?:(==|=|!=|>|<)\s*([^\s,()=!<>]*)|(in|notin)\s*\(([^()]*)\))?)\s*(,|$)/y;
  if (text.trim() === '') return out;
  let at = 0;
  while (at < text.length) {
    part.lastIndex = at;
    const match = part.exec(text);
    if (match === null) throw bad(`found '${text.slice(at, at + 40)}'`);
    at = part.lastIndex;
    const [, not, notKey, key, operator, value, set, values, end] = match;
    const name = notKey ?? key ?? '';
    if (!keyPattern.test(name)) throw bad(`"${name}" is not a label's name`);
    if (not !== undefined) out.push({ key: name, operator: '!', values: [] });
    else if (set !== undefined)
      out.push({
        key: name,
        operator: set as 'in' | 'notin',
        values: (values ?? '').split(',').map((entry) => entry.trim()),
      });
    else if (operator === undefined) out.push({ key: name, operator: 'exists', values: [] });
    else if (operator === '>' || operator === '<')
      out.push({ key: name, operator: operator === '>' ? 'gt' : 'lt', values: [value ?? ''] });
    else out.push({ key: name, operator: operator === '!=' ? 'notin' : 'in', values: [value ?? ''] });
    for (const entry of out[out.length - 1]?.values ?? [])
      if (!valuePattern.test(entry)) throw bad(`"${entry}" is not a label's value`);
    if (end === ',' && text.slice(at).trim() === '') throw bad('nothing stands after the last comma');
  }
  return out;
}

/** A metav1.LabelSelector. An empty one matches everything; callers decide what an absent one means. */
export function parseSelectorObject(selector: unknown): Requirement[] {
  const out: Requirement[] = [];
  if (!isObject(selector)) return out;
  if (isObject(selector['matchLabels']))
    for (const [key, value] of Object.entries(selector['matchLabels']))
      out.push({ key, operator: 'in', values: [String(value)] });
  if (Array.isArray(selector['matchExpressions']))
    for (const entry of selector['matchExpressions']) {
      if (!isObject(entry)) continue;
      const values = Array.isArray(entry['values']) ? entry['values'].map(String) : [];
      const key = String(entry['key']);
      switch (entry['operator']) {
        case 'In':
          out.push({ key, operator: 'in', values });
          break;
        case 'NotIn':
          out.push({ key, operator: 'notin', values });
          break;
        case 'Exists':
          out.push({ key, operator: 'exists', values: [] });
          break;
        case 'DoesNotExist':
          out.push({ key, operator: '!', values: [] });
          break;
        default:
          // An operator that is not known matches nothing.
          out.push({ key, operator: 'in', values: [] });
      }
    }
  return out;
}

/** The text form of a metav1.LabelSelector, as status.selector of a scale has it. */
export function formatSelector(requirements: readonly Requirement[]): string {
  return requirements
    .map(({ key, operator, values }) => {
      if (operator === 'exists') return key;
      if (operator === '!') return `!${key}`;
      if (values.length === 1) return `${key}${operator === 'in' ? '=' : '!='}${values[0]}`;
      return `${key} ${operator} (${values.join(',')})`;
    })
    .sort()
    .join(',');
}

export interface FieldRequirement {
  readonly path: string;
  readonly equals: boolean;
  readonly value: string;
}

/** `spec.nodeName=a,status.phase!=Failed`. `known` says which paths the kind supports. Throws 400. */
export function parseFieldSelector(text: string, known: (path: string) => boolean): FieldRequirement[] {
  const out: FieldRequirement[] = [];
  // A backslash keeps a comma or an equals sign in the value.
  for (const part of text.split(/(?<!\\),/)) {
    if (part.trim() === '') continue;
    const match = /^\s*([^=!]+?)\s*(==|=|!=)((?:\\.|[^\\])*)$/s.exec(part);
    if (match === null) throw badRequest(`invalid field selector: '${part}'; can't understand '${part}'`);
    const [, path = '', operator = '', raw = ''] = match;
    if (path !== 'metadata.name' && path !== 'metadata.namespace' && !known(path))
      throw badRequest(`field label not supported: ${path}`);
    out.push({ path, equals: operator !== '!=', value: raw.trim().replace(/\\(.)/g, '$1') });
  }
  return out;
}

export function matchesFields(requirements: readonly FieldRequirement[], stored: Stored): boolean {
  for (const { path, equals, value } of requirements) {
    const actual =
      path === 'metadata.name'
        ? stored.name
        : path === 'metadata.namespace'
          ? stored.namespace
          : (stored.fields[path] ?? '');
    if ((actual === value) !== equals) return false;
  }
  return true;
}
