// Sets of field paths in the form of managedFields.fieldsV1: a tree whose keys are path elements (`f:name`,
// `k:{"name":"x"}`, `v:"x"`). A node without children is in the set; one with children is if it has the key `.`.
import { isObject, type Json, type JsonObject } from '../json.ts';

export type FieldSet = JsonObject;

export const self = '.';

const child = (set: FieldSet, key: string): FieldSet | undefined => {
  const found = Object.hasOwn(set, key) ? set[key] : undefined;
  return isObject(found) ? found : undefined;
};

/** A node that stands in its parent. Not for roots: an empty root is an empty set. */
export const isMember = (node: FieldSet): boolean => {
  for (const key in node) return key === self || Object.hasOwn(node, self);
  return true;
};

export const isEmpty = (set: FieldSet): boolean => {
  for (const _key in set) return false;
  return true;
};

export const elements = (node: FieldSet): string[] => Object.keys(node).filter((key) => key !== self);

function node(member: boolean, children: FieldSet): FieldSet | undefined {
  if (isEmpty(children)) return member ? {} : undefined;
  return member ? { [self]: {}, ...children } : children;
}

export function union(a: FieldSet, b: FieldSet): FieldSet {
  const out: FieldSet = { ...a };
  for (const key of elements(b)) {
    const mine = child(a, key);
    const other = child(b, key) as FieldSet;
    out[key] =
      mine === undefined
        ? other
        : (node(
            isMember(mine) || isMember(other),
            withoutSelf(union(withoutSelf(mine), withoutSelf(other))),
          ) as Json);
  }
  return out;
}

function withoutSelf(set: FieldSet): FieldSet {
  if (!Object.hasOwn(set, self)) return set;
  const { [self]: _self, ...rest } = set;
  return rest;
}

/** What is in `a` and not in `b`. */
export function difference(a: FieldSet, b: FieldSet): FieldSet {
  const out: FieldSet = {};
  for (const key of elements(a)) {
    const mine = child(a, key) as FieldSet;
    const other = child(b, key);
    if (other === undefined) {
      out[key] = mine;
      continue;
    }
    const rest = node(isMember(mine) && !isMember(other), difference(withoutSelf(mine), withoutSelf(other)));
    if (rest !== undefined) out[key] = rest;
  }
  return out;
}

export function intersection(a: FieldSet, b: FieldSet): FieldSet {
  const out: FieldSet = {};
  for (const key of elements(a)) {
    const mine = child(a, key) as FieldSet;
    const other = child(b, key);
    if (other === undefined) continue;
    const both = node(isMember(mine) && isMember(other), intersection(withoutSelf(mine), withoutSelf(other)));
    if (both !== undefined) out[key] = both;
  }
  return out;
}

/** The node at a path element; undefined if nothing at or below it is in the set. */
export const at = (set: FieldSet | undefined, key: string): FieldSet | undefined =>
  set === undefined ? undefined : child(set, key);

/** All paths in words, as messages print them: `.spec.containers[name="x"].image`. */
export function paths(set: FieldSet, prefix = ''): string[] {
  const out: string[] = [];
  for (const key of elements(set)) {
    const inner = child(set, key) as FieldSet;
    const path = prefix + inWords(key);
    if (isMember(inner)) out.push(path);
    out.push(...paths(withoutSelf(inner), path));
  }
  return out;
}

function inWords(element: string): string {
  const rest = element.slice(2);
  switch (element.slice(0, 2)) {
    case 'f:':
      return `.${rest}`;
    case 'k:': {
      const keys = JSON.parse(rest) as JsonObject;
      return `[${Object.entries(keys)
        .map(([key, value]) => `${key}=${JSON.stringify(value)}`)
        .join(',')}]`;
    }
    case 'v:':
      return `[=${rest}]`;
    default:
      return `[${rest}]`;
  }
}
