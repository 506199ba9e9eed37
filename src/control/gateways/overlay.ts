// Changes to a waypoint's objects that a ConfigMap makes: strategic merge patches, as kubectl's, for the few kinds that
// there are. Pure.
import { parse } from 'yaml';
import { errorText } from '#/errors/index.ts';
import { equalJson } from '#/kube/index.ts';

export type Json = string | number | boolean | null | readonly Json[] | JsonObject;
export interface JsonObject {
  readonly [field: string]: Json;
}

export const overlayKeys = [
  'deployment',
  'service',
  'serviceAccount',
  'horizontalPodAutoscaler',
  'podDisruptionBudget',
] as const;
export type OverlayKey = (typeof overlayKeys)[number];

/** The ConfigMap cannot be applied; the message names it, and what is wrong. */
export class OverlayError extends Error {
  override readonly name = 'OverlayError';
}

/** A ConfigMap: `ConfigMap ns/name` and its data. */
export interface Overlay {
  readonly title: string;
  readonly data: Readonly<Record<string, string>>;
}

/**
 * Lists that merge by a key, by the name of their field; of the field alone where it is the same everywhere. The rest
 * is replaced as a whole (RFC 7386). From the patch marks of the Kubernetes types.
 */
const mergeKeys: Readonly<Record<string, string>> = {
  containers: 'name',
  initContainers: 'name',
  volumes: 'name',
  env: 'name',
  volumeMounts: 'mountPath',
  volumeDevices: 'devicePath',
  imagePullSecrets: 'name',
  hostAliases: 'ip',
  topologySpreadConstraints: 'topologyKey',
  schedulingGates: 'name',
  resourceClaims: 'name',
  secrets: 'name',
  ownerReferences: 'uid',
  conditions: 'type',
};

const isObject = (value: Json | undefined): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const isList = (value: Json | undefined): value is readonly Json[] => Array.isArray(value);

function mergeKey(field: string, list: readonly Json[]): string | undefined {
  if (field !== 'ports') return mergeKeys[field];
  // Containers and Services have lists of this name, with keys of their own.
  return list.some((item) => isObject(item) && item['containerPort'] !== undefined)
    ? 'containerPort'
    : 'port';
}

function mergeLists(field: string, base: readonly Json[], patch: readonly Json[]): readonly Json[] {
  const entries = patch.filter((item) => !(isObject(item) && item['$patch'] === 'replace'));
  const key = mergeKey(field, [...base, ...patch]);
  if (field === 'finalizers') return [...new Set([...base, ...patch])];
  if (key === undefined || entries.length < patch.length) return entries.map(withoutDirectives);
  const merged = [...base];
  for (const entry of entries) {
    if (!isObject(entry) || entry[key] === undefined)
      throw new TypeError(`an entry of ${field} has no ${key}, by which such entries are told apart`);
    const at = merged.findIndex((item) => isObject(item) && item[key] === entry[key]);
    if (entry['$patch'] === 'delete') {
      if (at >= 0) merged.splice(at, 1);
    } else if (at >= 0) merged[at] = mergeObjects(merged[at] as JsonObject, entry);
    else merged.push(withoutDirectives(entry));
  }
  return merged;
}

function withoutDirectives(value: Json): Json {
  if (isList(value)) return value.map(withoutDirectives);
  if (!isObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([field, item]) => !field.startsWith('$') && item !== null)
      .map(([field, item]) => [field, withoutDirectives(item)]),
  );
}

function mergeObjects(base: JsonObject, patch: JsonObject): JsonObject {
  if (patch['$patch'] === 'replace') return withoutDirectives(patch) as JsonObject;
  if (patch['$patch'] === 'delete') return {};
  const retained = patch['$retainKeys'];
  const kept = isList(retained)
    ? Object.entries(base).filter(([field]) => retained.includes(field))
    : Object.entries(base);
  // A Map, for a patch may have a field of any name.
  const result = new Map<string, Json>(kept);
  for (const [field, value] of Object.entries(patch)) {
    if (field.startsWith('$')) continue;
    const old = result.get(field);
    if (value === null) result.delete(field);
    else if (isObject(value))
      result.set(field, isObject(old) ? mergeObjects(old, value) : withoutDirectives(value));
    else if (isList(value)) result.set(field, mergeLists(field, isList(old) ? old : [], value));
    else result.set(field, value);
  }
  return Object.fromEntries(result);
}

/** Labels and annotations may be changed; what makes it this object may not. */
function sameIdentity(base: JsonObject, merged: JsonObject): boolean {
  const identity = (object: JsonObject): Json => {
    const {
      labels: _labels,
      annotations: _annotations,
      ...rest
    } = object['metadata'] as Record<string, Json>;
    return { apiVersion: object['apiVersion'] ?? '', kind: object['kind'] ?? '', metadata: rest };
  };
  return isObject(merged['metadata']) && equalJson(identity(base), identity(merged));
}

/** Throws OverlayError. Overlays are applied in order; gives the object, and whether any of them named it. */
export function applyOverlays(
  object: JsonObject,
  key: OverlayKey,
  overlays: readonly Overlay[],
): { readonly object: JsonObject; readonly applied: boolean } {
  let result = object;
  let applied = false;
  for (const { title, data } of overlays) {
    const unknown = Object.keys(data).find((field) => !(overlayKeys as readonly string[]).includes(field));
    if (unknown !== undefined)
      throw new OverlayError(
        `${title} has the key "${unknown}"; a waypoint can be changed by ${overlayKeys.join(', ')}`,
      );
    const text = data[key];
    if (text === undefined) continue;
    let merged: JsonObject;
    try {
      const patch = (parse(text, { maxAliasCount: 100 }) ?? {}) as Json;
      if (!isObject(patch)) throw new TypeError('it is not an object in YAML');
      merged = mergeObjects(result, patch);
    } catch (error) {
      throw new OverlayError(`${title}, key ${key}: ${errorText(error)}`, { cause: error });
    }
    if (!sameIdentity(object, merged))
      throw new OverlayError(
        `${title}, key ${key}: of metadata, only labels and annotations may be changed, and apiVersion and kind stay`,
      );
    result = merged;
    applied = true;
  }
  return { object: result, applied };
}
