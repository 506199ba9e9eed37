// JSON values, and an object as the server holds it while it works on it: mutable, unlike what clients share.

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type JsonObject = { [key: string]: Json };

export interface Meta {
  name: string;
  namespace?: string;
  generateName?: string;
  uid?: string;
  resourceVersion?: string;
  generation?: number;
  creationTimestamp?: string;
  deletionTimestamp?: string;
  deletionGracePeriodSeconds?: number;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  ownerReferences?: {
    apiVersion: string;
    kind: string;
    name: string;
    uid: string;
    controller?: boolean;
    blockOwnerDeletion?: boolean;
  }[];
  finalizers?: string[];
  managedFields?: ManagedFields[];
}

export interface ManagedFields {
  manager?: string;
  operation?: 'Apply' | 'Update';
  apiVersion?: string;
  time?: string;
  fieldsType?: string;
  fieldsV1?: JsonObject;
  subresource?: string;
}

/** An object of any kind. */
export interface Item {
  kind: string;
  apiVersion: string;
  metadata: Meta;
  spec?: JsonObject;
  status?: JsonObject;
  [field: string]: unknown;
}

export const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

export function clone<T>(value: T): T {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(clone) as T;
  const out: Record<string, unknown> = {};
  for (const key in value) setField(out, key, clone((value as Record<string, unknown>)[key]));
  return out as T;
}

/** Sets a field even if it is called `__proto__`: keys come from clients. */
export function setField(target: object, key: string, value: unknown): void {
  if (key === '__proto__')
    Object.defineProperty(target, key, { value, enumerable: true, configurable: true, writable: true });
  else (target as Record<string, unknown>)[key] = value;
}

/** The order of keys does not count. */
export function equal(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Array.isArray(a)) {
    if (!Array.isArray(b) || a.length !== b.length) return false;
    for (let i = 0; i < a.length; i++) if (!equal(a[i], b[i])) return false;
    return true;
  }
  if (Array.isArray(b)) return false;
  const keys = Object.keys(a);
  if (keys.length !== Object.keys(b).length) return false;
  for (const key of keys)
    if (!Object.hasOwn(b, key) || !equal((a as JsonObject)[key], (b as JsonObject)[key])) return false;
  return true;
}

/** The value at a path of field names; undefined if a part is missing. */
export function dig(value: unknown, ...path: readonly string[]): Json | undefined {
  let at: unknown = value;
  for (const key of path) {
    if (!isObject(at) || !Object.hasOwn(at, key)) return undefined;
    at = at[key];
  }
  return at as Json | undefined;
}

export const digText = (value: unknown, ...path: readonly string[]): string => {
  const found = dig(value, ...path);
  return typeof found === 'string' ? found : '';
};

export const digNumber = (value: unknown, ...path: readonly string[]): number => {
  const found = dig(value, ...path);
  return typeof found === 'number' ? found : 0;
};

export const digList = (value: unknown, ...path: readonly string[]): Json[] => {
  const found = dig(value, ...path);
  return Array.isArray(found) ? found : [];
};

/** RFC 3339 without fraction, as metav1.Time. */
export const formatTime = (ms: number): string => `${new Date(ms).toISOString().slice(0, 19)}Z`;
